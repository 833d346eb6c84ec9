"""Manifests: what is encoded is decoded, and nothing hostile is."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from p2p.core.shares import manifest as manifests
from p2p.core.shares import names
from p2p.core.shares.manifest import MAX_TIME_NS, MIN_TIME_NS, Entry, EntryKind, Manifest, ShareLimits, TimedEntry
from p2p.errors import BadData
from p2p.ids import ShareId
from p2p.wire import messages
from tests.support.manifests import KIB, MIB, REFUSED_NAMES, cut, file, folder, hashes, manifest_of, mutations

LIMITS = ShareLimits()
part_names = st.text("aB.é文\U0001f41f -~", min_size=1, max_size=4).filter(lambda name: names.refusal(name) is None)
paths = st.lists(part_names, min_size=1, max_size=4).map(tuple)
some_files = st.builds(
    lambda path, size, executable: Entry(EntryKind.FILE, path, size, executable, hashes(size)),
    paths,
    st.integers(0, 3 * MIB) | st.sampled_from([0, 1, 256 * KIB, 256 * KIB + 1, 600 * MIB]),
    st.booleans(),
)
some_entries = some_files | paths.map(lambda path: folder(*path))


def sound(entries: list[Entry]) -> list[Entry]:
    """Those entries whose paths neither repeat nor lead through a file or folder listed before."""
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: entry.path):
        if not any(entry.path[: len(other.path)] == other.path for other in kept):
            kept.append(entry)
    return kept


shares = st.lists(some_entries, max_size=10).map(sound)


@given(shares, st.randoms(use_true_random=False))
def test_what_is_encoded_is_decoded(entries: list[Entry], random: Any) -> None:
    shuffled = entries[:]
    random.shuffle(shuffled)
    manifest = manifest_of(shuffled)
    assert list(manifest.entries) == entries
    root = manifest.root
    assert (root.name, root.single) == ("share", False)
    assert root.files + root.folders == len(entries)
    assert root.size == sum(entry.size for entry in entries)
    assert root.chunks == sum(entry.chunks for entry in entries)
    assert manifest_of(entries).share_id == manifest.share_id


@given(shares.filter(bool), st.integers(MIN_TIME_NS, MAX_TIME_NS))
@example([folder("d"), file("e")], MIN_TIME_NS)
@example([file("e")], MAX_TIME_NS)
def test_times_are_in_version_2_only(entries: list[Entry], time: int) -> None:
    timed = [TimedEntry(*msgspec.structs.astuple(entry), modified_ns=time) for entry in entries]
    manifest = manifest_of(timed)
    assert list(manifest.entries) == timed
    assert manifest.root.version == 2
    without = manifest_of(entries)
    assert without.root.version == 1
    assert [entry.file_id for entry in manifest.entries] == [entry.file_id for entry in without.entries]
    assert manifest.share_id != without.share_id


def test_all_entries_have_times_or_none() -> None:
    timed = TimedEntry(EntryKind.FILE, ("a",), modified_ns=1)
    with pytest.raises(ValueError, match="only some"):
        manifests.encode("share", [timed, file("b")], single=False)
    for time in ((), (None,), (1.5,), (MAX_TIME_NS + 1,), (MIN_TIME_NS, "more")):
        stream = entry(0, ("a",), 0, False, b"", *time)
        if len(time) == 2:
            assert read(root_of(stream, version=2, files=1), stream).entries[0].path == ("a",)
        else:
            with pytest.raises(BadData, match="broken entry"):
                read(root_of(stream, version=2, files=1), stream)


@given(shares, shares)
def test_different_shares_have_different_ids(one: list[Entry], two: list[Entry]) -> None:
    assert (manifest_of(one).share_id == manifest_of(two).share_id) == (one == two)


def test_the_share_id_is_pinned() -> None:
    """An id of an earlier version names the same share in this one."""
    entries = [file("b", "c.bin", size=600 * KIB), file("a.txt", size=3, executable=True), folder("d")]
    assert manifest_of(entries).share_id.hex() == PINNED


PINNED = "a28d32ceb6f14dba7062f7082f1729c2e680811038e0b131eaed2f6620269d0a"


def test_a_manifest_of_several_parts() -> None:
    entries = [file(f"{n:05}", size=600 * MIB) for n in range(12)]
    _, parts = manifests.encode("many", entries, single=False)
    assert len(parts) > 1
    assert {len(part) for part in parts[:-1]} == {messages.MAX_PART_BYTES}
    manifest = manifest_of(entries)
    assert list(manifest.entries) == entries
    root = manifest.root
    assert root.part_count == len(parts)
    for index, part in enumerate(parts):
        assert manifests.part_length(root, index) == len(part)
        for bad in (part[:-1], part + b"x", b"", parts[index - 1], part[:-1] + bytes([part[-1] ^ 1])):
            with pytest.raises(BadData):
                manifests.check_part(root, index, bad)
    for index in (-1, len(parts), 2**40):
        with pytest.raises(BadData):
            manifests.check_part(root, index, parts[0])


def test_an_empty_share() -> None:
    manifest = manifest_of([])
    assert manifest.entries == ()
    assert manifest.root.part_count == 0


def test_a_single_file() -> None:
    assert manifest_of([file("a", size=5)], single=True).root.single


@pytest.mark.parametrize(
    ("size", "chunk"),
    [
        (0, 256 * KIB),
        (1, 256 * KIB),
        (500 * MIB - 1, 256 * KIB),
        (500 * MIB, 512 * KIB),
        (1000 * MIB - 1, 512 * KIB),
        (1000 * MIB, MIB),
        (8000 * MIB, 8 * MIB),
        (16000 * MIB, 8 * MIB),
        (2**50, 8 * MIB),
    ],
)
def test_chunk_sizes(size: int, chunk: int) -> None:
    assert manifests.chunk_bytes(size) == chunk


@given(st.integers(0, 2**44))
def test_chunks_are_a_power_of_two_and_under_two_thousand(size: int) -> None:
    chunk = manifests.chunk_bytes(size)
    assert chunk in {2**power for power in range(18, 24)}
    count = manifests.chunk_count(size)
    assert (count - 1) * chunk < size <= count * chunk or (size == count == 0)
    assert count <= 2000 or chunk == 8 * MIB
    assert chunk == 256 * KIB or size >= chunk // 2 * 2000


def test_file_ids_depend_on_content_alone() -> None:
    assert file("a", size=5).file_id == file("b", "c", size=5, executable=True).file_id
    assert file("a", size=5).file_id != file("a", size=6).file_id
    assert (
        Entry(EntryKind.FILE, ("a",), 5, False, bytes(32)).file_id
        != Entry(EntryKind.FILE, ("a",), 5, False, b"x" * 32).file_id
    )


def test_hashes_of_different_things_differ() -> None:
    assert len({manifests.hash_chunk(b"x"), manifests.hash_part(b"x"), manifests.share_id_of(b"x")}) == 3


# What a hostile author may write: every hash is right, nothing else need be.


def root_of(stream: bytes, **changed: Any) -> bytes:
    """A root for this stream of entries with the totals of the largest share it could be, and changes."""
    fields: dict[str, Any] = {
        "version": 1,
        "name": "share",
        "single": False,
        "files": 0,
        "folders": 0,
        "size": 0,
        "chunks": 0,
        "length": len(stream),
        "parts": b"".join(map(manifests.hash_part, cut(stream))),
    }
    return msgspec.msgpack.encode(fields | changed)


def read(body: bytes, stream: bytes, limits: ShareLimits = LIMITS) -> Manifest:
    share_id = manifests.share_id_of(body)
    root = manifests.decode_root(share_id, body, limits)
    parts = cut(stream)
    for index, part in enumerate(parts):
        manifests.check_part(root, index, part)
    return manifests.decode(share_id, root, parts)


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def entry(*fields: Any) -> bytes:
    return framed(msgspec.msgpack.encode(fields))


def read_entries(*encoded: bytes, **changed: Any) -> Manifest:
    """A manifest of encoded files of a byte each, or what `changed` says."""
    stream = b"".join(encoded)
    count = len(encoded)
    return read(root_of(stream, **{"files": count, "size": count, "chunks": count, **changed}), stream)


def byte_file(*path: str) -> bytes:
    return entry(0, path, 1, False, bytes(32))


def test_the_hostile_authors_tools_make_good_manifests_too() -> None:
    manifest = read_entries(byte_file("a"), byte_file("b", "c"))
    assert [found.path for found in manifest.entries] == [("a",), ("b", "c")]


@pytest.mark.parametrize("name", [name for name in REFUSED_NAMES if name != "\ud800"])
def test_refused_names(name: str) -> None:
    for path in ((name,), ("a", name), (name, "a")):
        with pytest.raises(BadData):
            read_entries(byte_file(*path))
    with pytest.raises(BadData):
        read(root_of(b"", name=name), b"")


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xc0\xae"])
def test_names_that_are_not_utf8(text: bytes) -> None:
    """Lone surrogates and overlong forms of / and . included."""
    good = byte_file("x" * len(text))
    with pytest.raises(BadData):
        read_entries(good.replace(b"x" * len(text), text))
    body = root_of(b"", name="y" * len(text)).replace(b"y" * len(text), text)
    with pytest.raises(BadData):
        read(body, b"")


@pytest.mark.parametrize(
    "encoded",
    [
        [byte_file()],
        [byte_file(*("a",) * 257)],
        [byte_file(*("x" * 255,) * 17)],
        [byte_file("a"), byte_file("a")],
        [byte_file("b"), byte_file("a")],
        [byte_file("a", "b"), byte_file("a", "a")],
        [byte_file("a", "b"), byte_file("a")],
        [byte_file("a"), byte_file("a", "b")],
        [byte_file("a"), byte_file("a", "b"), byte_file("a.b")],
        [byte_file("a", "b"), byte_file("a", "b", "c", "d")],
    ],
)
def test_paths_that_are_wrong_or_clash(encoded: list[bytes]) -> None:
    with pytest.raises(BadData):
        read_entries(*encoded)


def test_a_listed_folder_is_empty() -> None:
    with pytest.raises(BadData):
        read_entries(entry(1, ("a",)), byte_file("a", "b"), files=1, folders=1, size=1, chunks=1)


@pytest.mark.parametrize("fields", [(5,), (0, True), (0, False, bytes(32)), (1, False, bytes(32))])
def test_a_folder_has_nothing_of_a_file(fields: tuple[Any, ...]) -> None:
    with pytest.raises(BadData):
        read_entries(entry(1, ("a",), *fields), files=0, folders=1, size=0, chunks=0)
    with pytest.raises(BadData):
        read_entries(entry(1, ("a",), *fields), files=0, folders=1)


@pytest.mark.parametrize("name", ["files", "folders", "size", "chunks"])
@pytest.mark.parametrize("by", [-1, 1])
def test_totals_are_those_of_the_entries(name: str, by: int) -> None:
    stream = byte_file("a") + byte_file("b") + entry(1, ("c",)) + entry(0, ("d",), 256 * KIB + 1, False, bytes(64))
    totals = {"files": 3, "folders": 1, "size": 256 * KIB + 3, "chunks": 4}
    assert len(read(root_of(stream, **totals), stream).entries) == 4
    with pytest.raises(BadData):
        read(root_of(stream, **(totals | {name: totals[name] + by})), stream)


def test_files_are_not_folders_in_the_totals() -> None:
    with pytest.raises(BadData):
        read_entries(byte_file("a"), files=0, folders=1)


@pytest.mark.parametrize(
    ("size", "length"),
    [(1, 0), (1, 31), (1, 33), (1, 64), (0, 32), (256 * KIB + 1, 32), (256 * KIB, 64), (2**53 - 1, 32)],
)
def test_a_file_has_a_hash_for_each_chunk(size: int, length: int) -> None:
    with pytest.raises(BadData):
        read_entries(entry(0, ("a",), size, False, bytes(length)), size=size, chunks=length // 32)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (0,),
        (2, ("a",)),
        ("0", ("a",)),
        (0, "a"),
        (0, (1,)),
        (0, (b"a",)),
        (0, ("a",), -1),
        (0, ("a",), 2**53),
        (0, ("a",), 1.0),
        (0, ("a",), 1, 1),
        (0, ("a",), 1, False, "x" * 32),
        (0, ("a",), 1, False, [0] * 32),
    ],
)
def test_entries_of_the_wrong_shape(fields: tuple[Any, ...]) -> None:
    with pytest.raises(BadData):
        read_entries(entry(*fields))


def test_entries_may_have_more_fields_one_day() -> None:
    manifest = read_entries(entry(0, ("a",), 1, False, bytes(32), {"later": 1}))
    assert manifest.entries[0].path == ("a",)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00",
        b"\x00\x00\x00",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        framed(b"\xdd\xff\xff\xff\xff"),
        framed(b"\x92\x00\xdd\xff\xff\xff\xff"),  # a path of four thousand million parts
        framed(b"\x92\x00\xdd\x00\x0f\xff\xff" + b"\xa0" * 0xFFFFF),  # a path of a million empty ones
        framed(b"\x92\x00\x91\xdb\xff\xff\xff\xffa"),
        framed(b"\x95\x00\x91\xa1a\x01\xc2\xc6\xff\xff\xff\xff"),
        framed(b"\x92\x00" + b"\x91" * 50_000),
        framed(msgspec.msgpack.encode((0, ("a",), 1, False, bytes(32))) + b"x"),
        struct.pack(">I", 1000) + byte_file("a"),
        byte_file("a")[:-1],
        byte_file("a") + b"\x00",
    ],
)
def test_streams_that_end_too_soon_or_claim_too_much(stream: bytes) -> None:
    with pytest.raises(BadData):
        read(root_of(stream, files=1, size=1, chunks=0), stream)


def test_reading_ends_with_the_first_entry_too_many() -> None:
    stream = b"".join(entry(0, (f"{n}",)) for n in range(3)) + b"\xff" * 8
    with pytest.raises(BadData, match="more entries"):
        read(root_of(stream, files=1), stream)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 0},
        {"version": 3},
        {"version": 4},
        {"links": 1},
        {"version": 3, "links": 20_001},
        {"times": True},
        {"version": 2**63},
        {"name": "x" * 256},
        {"name": b"share"},
        {"single": 1},
        {"files": -1},
        {"files": 2**53},
        {"size": "1"},
        {"length": 1},
        {"length": messages.MAX_PART_BYTES + 1},
        {"length": 2**53 - 1},
        {"parts": bytes(31)},
        {"parts": bytes(32)},
        {"parts": "x"},
        {"chunks": 1},
        {"chunks": 2**53 - 1, "size": 2**53 - 1},
        {"files": LIMITS.entries + 1},
        {"files": LIMITS.entries, "folders": 1},
        {"size": LIMITS.size + 1},
        {"length": LIMITS.length + 1},
    ],
)
def test_roots_that_are_wrong_or_too_large(changed: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        read(root_of(b"", **changed), b"")


def test_a_later_version_is_told_to_update() -> None:
    with pytest.raises(BadData, match="update Shoal"):
        read(root_of(b"", version=4), b"")


def test_a_share_may_be_as_large_as_the_limits() -> None:
    limits = ShareLimits(entries=3, length=LIMITS.length, size=3)
    stream = byte_file("a") + byte_file("b") + byte_file("c")
    assert read(root_of(stream, files=3, size=3, chunks=3), stream, limits)
    for smaller in (
        ShareLimits(2, LIMITS.length, 3),
        ShareLimits(3, len(stream) - 1, 3),
        ShareLimits(3, LIMITS.length, 2),
    ):
        with pytest.raises(BadData, match="larger than this peer accepts"):
            read(root_of(stream, files=3, size=3, chunks=3), stream, smaller)


def test_claimed_totals_are_bounded_by_the_bytes_to_fetch() -> None:
    """A root of a hundred bytes does not make a table for a million chunks."""
    stream = byte_file("a")
    with pytest.raises(BadData):
        read(root_of(stream, files=1, size=2**40, chunks=2**17), stream)


def test_a_root_of_another_share() -> None:
    body = root_of(b"")
    with pytest.raises(BadData, match="not the one the link names"):
        manifests.decode_root(ShareId(bytes(32)), body, LIMITS)


@pytest.mark.parametrize(
    "encoded",
    [[], [byte_file("a"), byte_file("b")], [byte_file("a", "b")]],
)
def test_a_single_file_is_one_file_and_no_folder(encoded: list[bytes]) -> None:
    with pytest.raises(BadData, match="single file"):
        read_entries(*encoded, single=True)


def test_a_single_folder_is_no_file() -> None:
    with pytest.raises(BadData, match="single file"):
        read_entries(entry(1, ("a",)), files=0, folders=1, size=0, chunks=0, single=True)


@pytest.mark.parametrize("missing", ["version", "name", "single", "files", "size", "chunks", "length", "parts"])
def test_a_root_says_everything(missing: str) -> None:
    fields = msgspec.msgpack.decode(root_of(b""))
    del fields[missing]
    with pytest.raises(BadData):
        read(msgspec.msgpack.encode(fields), b"")


def test_a_root_may_say_more_one_day() -> None:
    assert read(root_of(b"", later=[1, {"a": None}]), b"").entries == ()


GOOD = b"".join(
    [byte_file("a"), entry(1, ("b",)), byte_file("c", "d"), entry(0, ("e",), 256 * KIB + 1, True, bytes(64))]
)
GOOD_TOTALS = {"files": 3, "folders": 1, "size": 256 * KIB + 3, "chunks": 4}


def accepted(body: bytes, stream: bytes) -> None:
    """Whatever is accepted keeps the rules."""
    try:
        manifest = read(body, stream)
    except BadData:
        return
    found = [entry.path for entry in manifest.entries]
    assert found == sorted(set(found))
    assert not [a for a in found for b in found if a != b and a == b[: len(a)]]
    assert all(names.path_refusal(path) is None for path in found)
    assert manifest.root.chunks == sum(manifests.chunk_count(entry.size) for entry in manifest.entries)
    assert manifest.root.size == sum(entry.size for entry in manifest.entries)


@given(mutations(GOOD))
@example(GOOD)
def test_any_mutation_of_the_entries(stream: bytes) -> None:
    accepted(root_of(stream, **GOOD_TOTALS), stream)


@given(mutations(root_of(GOOD, **GOOD_TOTALS)))
def test_any_mutation_of_the_root(body: bytes) -> None:
    accepted(body, GOOD)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes(body: bytes, stream: bytes) -> None:
    accepted(body, stream)
    accepted(root_of(stream, **GOOD_TOTALS), stream)


@given(mutations(GOOD))
def test_a_changed_part_is_seen(stream: bytes) -> None:
    assume(stream != GOOD)
    body = root_of(GOOD, **GOOD_TOTALS)
    root = manifests.decode_root(manifests.share_id_of(body), body, LIMITS)
    with pytest.raises(BadData):
        manifests.check_part(root, 0, stream)


def test_the_largest_root_fits_a_message() -> None:
    """A share at the limits is one whose root can be sent."""
    parts = LIMITS.length // messages.MAX_PART_BYTES
    body = root_of(b"", name="x" * 255, length=LIMITS.length, parts=bytes(32 * parts))
    assert len(body) <= messages.MAX_ROOT_BYTES
