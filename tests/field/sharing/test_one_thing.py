"""One bad file does not stop the rest."""

import errno
import os
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio

from p2p.control.protocol import GetRequest, ShareRequest
from p2p.core.shares import names
from p2p.core.shares.local_names import DiskRule, renames
from p2p.errors import StorageError
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire.link import Link, parse_link
from tests.field.sharing.refusing_disk import mounted
from tests.support.world import World, asked, hint_of


async def published(origin: Node, folder: Path, files: dict[str, bytes]) -> str:
    """A new version of the folder. Returns its link."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = await origin.sharing.share([folder], None, Progress(), unlisted=False)
    return origin.discovery.links.to(done.share_id, done.name, done.bytes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_an_update_leaves_what_the_user_edited_and_updates_the_rest(world: World) -> None:
    """Source: syncthing#220."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder, top = world.folder / "news", world.out(reader) / "news"

    async def update(files: dict[str, bytes]) -> list[str]:
        link = parse_link(await published(origin, folder, files))
        follows = (origin.peer_id, "news")
        done = await world.get(reader, link, [hint_of(origin)], follows=follows, keep_serving=True)
        assert done.skipped == ()
        return [str(path.relative_to(top)) for _, path in done.mapped]

    assert await update({"a": b"a1", "notes.txt": b"notes 1", "empty": b"", "z": b"z1"}) == []
    (top / "notes.txt").write_bytes(b"mine")
    (top / "empty").write_bytes(b"mine too")
    assert await update({"a": b"a2", "notes.txt": b"notes 2", "z": b"z2"}) == ["empty (newest)", "notes (newest).txt"]
    expected = {"a": b"a2", "z": b"z2", "empty": b"mine too", "notes.txt": b"mine"}
    newest = {"notes (newest).txt": b"notes 2", "empty (newest)": b""}
    assert contents(top) == expected | newest

    # The next one replaces the copy, and does not make another.
    await update({"notes.txt": b"notes 3"})
    assert contents(top) == expected | newest | {"notes (newest).txt": b"notes 3"}
    (row,) = reader.library.shares()
    assert row.stale is None

    # A third peer is served the newest from that copy.
    third = await world.peer("third")
    await world.get(third, parse_link(await published(origin, folder, {})), [hint_of(reader)])
    assert (world.out(third) / "news/notes.txt").read_bytes() == b"notes 3"


@pytest.mark.parametrize("by_link", [False, True])
async def test_an_update_goes_beside_what_is_in_the_place_of_a_folder(world: World, by_link: bool) -> None:
    """A file or a link there ended all updates."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder, top = world.folder / "news", world.out(reader) / "news"

    async def update(files: dict[str, bytes]) -> None:
        link = parse_link(await published(origin, folder, files))
        await world.get(reader, link, [hint_of(origin)], follows=(origin.peer_id, "news"), keep_serving=True)

    await update({"a": b"a1", "deep/er/b": b"b1", "deep/c": b"c1"})
    (top / "deep").rename(world.folder / "elsewhere")
    if by_link:
        (top / "deep").symlink_to(world.folder / "elsewhere")
    else:
        (top / "deep").write_bytes(b"mine")
    await update({"a": b"a2", "deep/er/b": b"b2"})
    assert (top / "a").read_bytes() == b"a2"
    assert contents(top / "deep (newest)") == {"er/b": b"b2", "c": b"c1"}
    assert contents(world.folder / "elsewhere") == {"er/b": b"b1", "c": b"c1"}

    # The next one goes there too; whoever asks for the share gets it from there.
    await update({"deep/er/b": b"b3"})
    assert contents(top / "deep (newest)") == {"er/b": b"b3", "c": b"c1"}
    assert sorted(path.name for path in top.iterdir()) == ["a", "deep", "deep (newest)"]
    third = await world.peer("third")
    await world.get(third, parse_link(await published(origin, folder, {})), [hint_of(reader)])
    assert (world.out(third) / "news/deep/er/b").read_bytes() == b"b3"


async def test_an_update_goes_beside_a_file_that_is_held_fast(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is immutable, or a program on another machine has it open; this ended the update of all others."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder, top = world.folder / "news", world.out(reader) / "news"
    rename = os.rename

    def refusing(before: str, after: str, **folders: int) -> None:
        if after == "held":
            raise PermissionError(errno.EPERM, "Operation not permitted", before, None, after)
        rename(before, after, **folders)

    for number, files in enumerate(({"held": b"1", "z": b"1"}, {"held": b"2", "z": b"2"}, {"held": b"3"})):
        link = parse_link(await published(origin, folder, files))
        monkeypatch.setattr(os, "rename", refusing if number else rename)
        await world.get(reader, link, [hint_of(origin)], follows=(origin.peer_id, "news"))
    assert contents(top) == {"held": b"1", "held (newest)": b"3", "z": b"2"}


async def test_a_part_that_is_fetched_elsewhere_is_not_served_in_place_of_the_whole(world: World) -> None:
    origin, reader, third = [await world.peer(name) for name in ("origin", "reader", "third")]
    link = parse_link(await published(origin, world.folder / "data", {"a": b"a", "b": b"b"}))
    await world.get(reader, link, [hint_of(origin)], keep_serving=True)
    await world.get(reader, link, [hint_of(origin)], folder=world.folder / "part", select=("a",), keep_serving=True)
    (row,) = reader.library.shares()
    assert row.paths == (str(world.out(reader) / "data"),)
    await world.get(third, link, [hint_of(reader)])
    assert contents(world.out(third) / "data") == {"a": b"a", "b": b"b"}


async def test_a_copy_beside_an_edited_file_takes_no_other_files_name(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder, top = world.folder / "news", world.out(reader) / "news"
    files = {"a.txt": b"1", "a (newest).txt": b"theirs"}
    (top).mkdir(parents=True)
    (top / "a.txt").write_bytes(b"mine")
    (top / "a (newest 2).txt").write_bytes(b"mine too")
    link = parse_link(await published(origin, folder, files))
    follows = (origin.peer_id, "news")
    await world.get(reader, link, [hint_of(origin)], follows=follows, into_existing=True)
    assert contents(top) == files | {
        "a.txt": b"mine",
        "a (newest 2).txt": b"mine too",
        "a (newest 3).txt": b"1",
    }


async def test_a_file_that_is_at_work_does_not_keep_the_rest_from_being_shared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources: jannskiee/floe#424, croc#221."""
    origin = await world.peer("origin")
    folder = world.folder / "logs"
    folder.mkdir()
    (folder / "done").write_bytes(b"x" * 1000)
    growing = folder / "growing"
    growing.write_bytes(b"y")
    os.mkfifo(folder / "pipe")

    check = trio.from_thread.check_cancelled

    def check_and_grow() -> None:
        """What indexing calls before it reads each chunk."""
        with growing.open("ab") as file:
            file.write(b"y")
        check()

    monkeypatch.setattr(trio.from_thread, "check_cancelled", check_and_grow)
    answer = await asked(origin, ShareRequest(paths=(str(folder),)))
    monkeypatch.undo()
    assert answer.files == 1
    assert answer.skipped_count == 2
    assert {Path(skipped.path).name: skipped.why for skipped in answer.skipped} == {
        "growing": "it keeps changing while it is read",
        "pipe": "it is not a regular file",
    }


ODD = {"a?b.txt": b"one", "a_b.txt": b"two", "deep: er/x|y": b"three", "deep: er/plain": b"four", "empty*": b""}


def as_a_windows_disk_would(reader: Node, link: Link, out: Path, paths: list[names.Path]) -> None:
    """Notes for a fetch what the names become on such a disk, as if the disk had been asked."""
    reader.records.remember(link.share_id, out)
    with closing(reader.records.begin(link.share_id, out, 1)) as record:
        record.keep_names(renames(paths, DiskRule(refused='?:*"<>|', folds_case=True)))


async def test_files_whose_names_a_disk_refuses_get_others_and_are_served(world: World) -> None:
    """Sources: localsend#1101, syncthing-android#1886, botocore#2084."""
    origin, reader, third = [await world.peer(name) for name in ("origin", "reader", "third")]
    link = await published(origin, world.folder / "odd", ODD)
    out = world.out(reader)
    paths = [("odd", *path.split("/")) for path in sorted(ODD)]
    as_a_windows_disk_would(reader, parse_link(link), out, paths)
    request = GetRequest(link=link, out=str(out), peers=(str(hint_of(origin).address),))
    answer = await asked(reader, request)
    assert (answer.mapped_count, answer.skipped_count) == (4, 0)
    local = {one.path: Path(one.local) for one in answer.mapped}
    assert {path: (local.get(path) or out / "odd" / path).read_bytes() for path in ODD} == ODD
    assert {str(path.relative_to(out / "odd")) for path in local.values()} > {
        "deep_ er/x_y",
        "deep_ er/plain",
        "empty_",
    }
    assert not [path for path in out.rglob("*") if set("?:*|") & set(path.name)]

    # Whoever fetches from this peer gets the names of the share.
    await world.get(third, parse_link(link), [hint_of(reader)])
    assert contents(world.out(third) / "odd") == ODD

    # The same command finds everything in place, and one with a printed path selects that file.
    as_a_windows_disk_would(reader, parse_link(link), out, paths)
    assert (await asked(reader, request)).received == 0
    as_a_windows_disk_would(reader, parse_link(link), out, paths)
    one = await asked(reader, GetRequest(link=link, out=str(out), select=(str(local["deep: er/x|y"]),)))
    assert one.paths == (str(local["deep: er/x|y"]),)


async def test_a_disk_that_refuses_names_gets_every_file(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    files = ODD | {"A?B.txt": b"five", "end.": b"six", "Case": b"seven", "case": b"eight", "l" * 100: b"nine" * 100_000}
    link = await published(origin, world.folder / "odd", files)
    request = GetRequest(link=link, out="", peers=(str(hint_of(origin).address),))
    with mounted(world.folder / "stick") as disk:
        answer = await asked(reader, msgspec.structs.replace(request, out=str(disk)))
        assert (answer.mapped_count, answer.skipped_count) == (8, 0)
        local = {one.path: Path(one.local) for one in answer.mapped}
        assert {path: (local.get(path) or disk / "odd" / path).read_bytes() for path in files} == files
        again = await asked(reader, msgspec.structs.replace(request, out=str(disk)))
        assert (again.received, again.mapped) == (0, answer.mapped)
        with pytest.raises(StorageError, match="cannot hold 8 of the names"):
            await asked(reader, msgspec.structs.replace(request, out=str(disk), names="fail"))


async def test_files_whose_names_a_disk_refuses_are_left_out_or_refused_on_demand(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    link = await published(origin, world.folder / "odd", ODD)
    paths = [("odd", *path.split("/")) for path in sorted(ODD)]
    peers = (str(hint_of(origin).address),)
    out = world.out(reader)
    as_a_windows_disk_would(reader, parse_link(link), out, paths)
    with pytest.raises(StorageError, match=r"cannot hold 4 of the names, for example: a\?b.txt"):
        await asked(reader, GetRequest(link=link, out=str(out), peers=peers, names="fail"))
    assert contents(out) == {}
    answer = await asked(reader, GetRequest(link=link, out=str(out), peers=peers, names="skip"))
    assert (answer.mapped_count, answer.skipped_count) == (0, 4)
    assert {one.path for one in answer.skipped} == ODD.keys() - {"a_b.txt"}
    assert contents(out / "odd") == {"a_b.txt": b"two"}


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a disk")
async def test_a_folder_that_the_user_may_not_write_in_does_not_stop_the_rest(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    files = {"a": b"a", "closed/b": b"b", "closed/below/c": b"c", "open/d": b"d"}
    link = await published(origin, world.folder / "some", files)
    closed = world.out(reader) / "some/closed"
    closed.mkdir(parents=True)
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "ro", "shoal-test", str(closed)])
    try:
        request = GetRequest(
            link=link, out=str(world.out(reader)), peers=(str(hint_of(origin).address),), into_existing=True
        )
        answer = await asked(reader, request)
        why = f"you may not write in {closed}"
        assert {one.path: one.why for one in answer.skipped} == {"closed/b": why, "closed/below/c": why}
        assert contents(world.out(reader) / "some") == {"a": b"a", "open/d": b"d"}
    finally:
        await trio.run_process(["umount", str(closed)])
    assert (await asked(reader, request)).skipped_count == 0
    assert contents(world.out(reader) / "some") == files


async def test_an_update_finds_the_files_that_have_other_names(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    out, follows = world.out(reader), (origin.peer_id, "odd")
    for version in (b"1", b"2"):
        link = parse_link(await published(origin, world.folder / "odd", {"a?": version * 400_000, "b": version}))
        as_a_windows_disk_would(reader, link, out, [("odd", "a?"), ("odd", "b")])
        done = await world.get(reader, link, [hint_of(origin)], follows=follows, keep_serving=True)
        assert [path.name for _, path in done.mapped] == ["a_"]
    assert contents(out / "odd") == {"a_": b"2" * 400_000, "b": b"2"}
    assert [row.stale for row in reader.library.shares()] == [None]
