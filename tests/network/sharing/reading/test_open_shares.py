"""Inputs of jobs: only the chunks that are read come, from whoever has them, and are kept up to a bound."""

import os
import random
import resource
from collections.abc import Sequence

import pytest
import trio

from p2p.control.protocol import SharesRequest
from p2p.errors import JobError, NotFound, StorageError, Unacceptable
from p2p.ids import ShareId, to_text
from p2p.jobs.cutting import Piece, at_lines, driven
from p2p.node import Node
from p2p.sharing.reading.open_share import OpenShare
from p2p.wire.link import PeerHint
from tests.support.rogue_sources import Truth, behaviours
from tests.support.world import PATIENCE_S, World, asked, bare, hint_of, same_tree, start_rogue, until, using

KIB, MIB = 1024, 1024 * 1024
CHUNK = 256 * KIB
MOST = 16 * MIB


def cached(local: Node) -> list[str]:
    root = local.home / "volunteer" / "inputs"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


async def test_only_the_chunks_that_are_read_are_fetched(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 64 * MIB, "empty": 0})
    reader = await world.peer("reader")
    truth = (published.path / "large.bin").read_bytes()
    async with using(reader, published.link.share_id, [published.hint]) as held:
        assert await held.read("large.bin", 10 * MIB + 5, MIB) == truth[10 * MIB + 5 : 11 * MIB + 5]
        assert reader.traffic.bytes_downloaded == 5 * CHUNK
        assert await held.read("large.bin", 64 * MIB - 7, 7) == truth[-7:]
        assert reader.traffic.bytes_downloaded == 6 * CHUNK
        # Nothing is fetched twice, and nothing for nothing.
        assert await held.read("large.bin", 10 * MIB, CHUNK) == truth[10 * MIB : 10 * MIB + CHUNK]
        assert await held.read("large.bin", 5, 0) == b""
        assert await held.read("empty", 0, 0) == b""
        assert reader.traffic.bytes_downloaded == 6 * CHUNK
        assert not await reader.open_shares.holds(published.link.share_id)


async def test_what_the_share_does_not_have_is_not_found(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"some.bin": CHUNK, "other.bin": 5})
    reader = await world.peer("reader")
    for local in (reader, origin):
        async with using(local, published.link.share_id, [published.hint]) as held:
            with pytest.raises(NotFound, match=r"no\.bin"):
                await held.read("no.bin", 0, 1)
            with pytest.raises(NotFound, match=r"no\.bin"):
                await held.lines("no.bin", 0, 1, MOST)
            with pytest.raises(NotFound, match="5 bytes"):
                await held.read("some.bin", CHUNK - 4, 5)
            await held.expect("some.bin", CHUNK, 5)
    assert reader.traffic.bytes_downloaded == 0


def text_of(size: int) -> bytes:
    """Lines of all lengths, some over several chunks; the last without an end."""
    chance = random.Random(7)
    text = bytearray()
    while len(text) < size:
        length = chance.choice([0, 1, 30, 5000, CHUNK - 1, 2 * CHUNK + 9])
        text += chance.randbytes(length).replace(b"\n", b" ") + b"\n"
    return bytes(text) + b"the end"


async def test_lines_over_the_ends_of_ranges_and_chunks_are_those_of_a_plain_cut(world: World) -> None:
    text = text_of(4 * MIB)
    path = world.folder / "text"
    path.mkdir()
    (path / "lines.txt").write_bytes(text)
    origin = await world.peer("origin")
    published = await world.publish_path(origin, path)
    reader = await world.peer("reader")
    each = 3 * CHUNK // 2 + 11
    for local in (reader, origin):
        async with using(local, published.link.share_id, [published.hint]) as held:
            for offset in range(0, len(text), each):
                cut = at_lines(Piece(0, offset, each), len(text))
                plain = driven(cut, lambda at, size: text[at : at + size])
                found = await held.lines("lines.txt", offset, each, MOST)
                assert found == text[plain.offset : plain.offset + plain.size]


async def test_lines_are_followed_no_further_than_they_go(world: World) -> None:
    """Three chunks of two are asked for where a line goes on into the third; two where it ends with the second."""
    line = b"x" * 1023 + b"\n"
    path = world.folder / "text"
    path.mkdir()
    (path / "even.txt").write_bytes(line * 4096)
    (path / "odd.txt").write_bytes(b"y" + line * 4096)
    origin = await world.peer("origin")
    published = await world.publish_path(origin, path)
    for name, start, count in (("even.txt", 0, 2), ("odd.txt", 1, 3)):
        reader = await world.peer(name)
        async with using(reader, published.link.share_id, [published.hint]) as held:
            found = await held.lines(name, 0, 2 * CHUNK, MOST)
            assert found == (b"y" if start else b"") + line * (2 * CHUNK // 1024)
            assert reader.traffic.bytes_downloaded == count * CHUNK


async def test_a_line_that_is_too_long_is_refused_before_all_of_it_is_here(world: World) -> None:
    path = world.folder / "text"
    path.mkdir()
    (path / "one.txt").write_bytes(b"a" * 8 * MIB)
    origin = await world.peer("origin")
    published = await world.publish_path(origin, path)
    reader = await world.peer("reader")
    async with using(reader, published.link.share_id, [published.hint]) as held:
        for offset, size in ((0, 1000), (0, 8 * MIB), (MIB, 7 * MIB)):
            with pytest.raises(JobError, match="bytes in its lines; 262144 are allowed"):
                await held.lines("one.txt", offset, size, CHUNK)
        assert reader.traffic.bytes_downloaded <= 12 * CHUNK
        assert await held.lines("one.txt", MIB, 1000, CHUNK) == b""


async def test_jobs_that_read_the_same_share_fetch_it_once(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"a.bin": 4 * MIB, "b.bin": 4 * MIB})
    reader = await world.peer("reader")
    share = published.link.share_id
    read: dict[tuple[str, int], bytes] = {}

    async def job(hints: Sequence[PeerHint]) -> None:
        async with using(reader, share, hints) as held, trio.open_nursery() as nursery:
            for name in ("a.bin", "b.bin"):
                for offset in range(0, 2 * MIB, MIB):
                    nursery.start_soon(unit, held, name, offset)

    async def unit(held: OpenShare, name: str, offset: int) -> None:
        read[name, offset] = await held.read(name, offset, MIB)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job, [])  # this one would find nobody by itself
        nursery.start_soon(job, [published.hint])
    for (name, offset), body in read.items():
        assert body == (published.path / name).read_bytes()[offset : offset + MIB]
    assert reader.traffic.bytes_downloaded == 4 * MIB
    assert not reader.swarms.fetches
    assert reader.swarms.get(share) is None


async def test_readers_feed_each_other(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 8 * MIB})
    share = published.link.share_id
    first, second = await world.peer("first"), await world.peer("second")
    async with using(first, share, [published.hint]) as held:
        body = await held.read("large.bin", MIB, 2 * MIB)
        await world.stop("origin")
        async with using(second, share, [hint_of(first)]) as other:
            assert await other.read("large.bin", MIB, 2 * MIB) == body
    assert first.traffic.bytes_uploaded == 2 * MIB


async def test_another_source_takes_over(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=2 * MIB)
    published = await world.publish(origin, {"large.bin": 8 * MIB})
    other = await world.peer("other")
    await world.publish_path(other, published.path)
    reader = await world.peer("reader")
    share = published.link.share_id
    async with using(reader, share, [published.hint]) as held, trio.open_nursery() as nursery:

        async def read() -> None:
            assert await held.read("large.bin", 0, 6 * MIB) == (published.path / "large.bin").read_bytes()[: 6 * MIB]

        nursery.start_soon(read)
        await until(lambda: reader.traffic.bytes_downloaded >= MIB)
        await world.stop("origin")
        again = reader.open_shares.open(share, [hint_of(other)])  # another job knows another source
        await reader.open_shares.release(again)
    assert other.traffic.bytes_uploaded >= 3 * MIB


@pytest.mark.parametrize("name", ["wrong_bytes", "one_wrong_bit", "closes", "gone", "floods", "wrong_part", "garbage"])
async def test_rogues_are_survived(world: World, name: str) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=6 * MIB)
    published = await world.publish(origin, {"large.bin": 8 * MIB})
    reader = await world.peer("reader")
    truth = Truth.of(origin, published.link.share_id)
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behaviours(truth)[name])
        async with using(reader, published.link.share_id, [rogue.hint, published.hint]) as held:
            for offset in (5 * MIB, 0):
                whole = (published.path / "large.bin").read_bytes()
                assert await held.read("large.bin", offset, 2 * MIB) == whole[offset : offset + 2 * MIB]
        nursery.cancel_scope.cancel()


async def test_what_was_fetched_is_there_after_a_restart(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 8 * MIB})
    truth = (published.path / "large.bin").read_bytes()
    share = published.link.share_id
    reader = await world.peer("reader")
    async with using(reader, share, [published.hint]) as held:
        await held.read("large.bin", 2 * MIB, MIB)
    await world.stop("reader")
    reader = await world.peer("reader")
    async with using(reader, share, [published.hint]) as held:
        assert await held.read("large.bin", 2 * MIB, 2 * MIB) == truth[2 * MIB : 4 * MIB]
        assert reader.traffic.bytes_downloaded == MIB
        await world.stop("origin")
        assert await held.read("large.bin", 3 * MIB, 5) == truth[3 * MIB : 3 * MIB + 5]


async def test_what_nobody_has_is_waited_for_only_so_long(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": MIB})
    reader = await world.peer("reader")
    reader.open_shares.patience_s = 0.3
    nobody = ShareId(b"n" * 32)
    async with using(reader, nobody, [published.hint]) as held:
        with pytest.raises(NotFound, match="Nobody had the input"):
            await held.read("large.bin", 0, 1)
    reader.open_shares.patience_s = 2.0  # enough for the read that succeeds
    async with using(reader, published.link.share_id, [published.hint]) as held:
        await held.read("large.bin", 0, 1)
        await world.stop("origin")
        with pytest.raises(NotFound, match="Nobody had the input"):
            await held.read("large.bin", MIB - 1, 1)
        assert await held.read("large.bin", 1, 1)


async def test_what_is_larger_than_this_peer_accepts_is_waited_for_by_nobody(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": MIB})
    reader = await world.peer("reader", limits={"share_bytes": MIB - 1})
    for _ in range(2):
        async with using(reader, published.link.share_id, [published.hint]) as held:
            with pytest.raises(Unacceptable, match="see share_bytes of"):
                await held.read("large.bin", 0, 1)
        with trio.fail_after(PATIENCE_S), pytest.raises(Unacceptable, match="see share_bytes of"):
            await reader.fetching.fetch_manifest(published.link, None)


async def test_what_is_whole_joins_the_library_and_is_served(world: World) -> None:
    origin = await world.peer("origin")
    files = {"a.bin": MIB, "b/again.bin": MIB, "empty": 0, "small": 5}
    published = await world.publish(origin, files)
    (published.path / "b" / "again.bin").write_bytes((published.path / "a.bin").read_bytes())
    published = await world.publish_path(origin, published.path)
    share = published.link.share_id
    reader = await world.peer("reader")
    async with using(reader, share, [published.hint]) as held:
        # Of equal files one is fetched.
        assert await held.read("b/again.bin", 5, 100) == (published.path / "a.bin").read_bytes()[5:105]
        assert reader.traffic.bytes_downloaded == CHUNK
        for name, size in files.items():
            await held.read(name, 0, size)
    assert reader.traffic.bytes_downloaded == MIB + 5
    assert await reader.open_shares.holds(share)
    # It is of the bounded cache, and none that the reader's user shares.
    assert reader.library.share(share) is not None
    assert await asked(reader, SharesRequest()) == []
    assert 2 * MIB + 5 <= reader.open_shares.taken_bytes < 3 * MIB < reader.open_shares.most_bytes
    assert same_tree(published.path, reader.home / "volunteer" / "inputs" / to_text(share) / "data")
    await world.stop("origin")
    other = await world.peer("other")
    await world.get(other, bare(published.link), [hint_of(reader)])
    async with using(reader, share) as held:
        assert await held.read("small", 1, 3) == (published.path / "small").read_bytes()[1:4]


async def test_the_longest_unused_make_room(world: World) -> None:
    origin = await world.peer("origin")
    made = [await world.publish(origin, {"some.bin": 2 * MIB}, f"data{n}", seed=n) for n in range(4)]
    reader = await world.peer("reader", volunteer={"cache_bytes": 13 * MIB // 4})

    async def read(number: int, size: int) -> None:
        async with using(reader, made[number].link.share_id, [made[number].hint]) as held:
            await held.read("some.bin", 0, size)

    def kept(*numbers: int) -> list[str]:
        return sorted(to_text(made[number].link.share_id) for number in numbers)

    await read(0, 2 * MIB)  # whole
    await read(1, MIB // 2)  # in part
    assert cached(reader) == kept(0, 1)
    await read(0, 5)
    await read(2, MIB)
    assert cached(reader) == kept(0, 2)
    assert not await reader.open_shares.holds(made[1].link.share_id)
    async with using(reader, made[0].link.share_id) as held:
        await read(3, 2 * MIB)
        # What is in use stays, however long ago it came.
        assert cached(reader) == kept(0)
        assert await held.read("some.bin", 5, 5)
    await read(2, MIB)
    await world.stop("reader")
    reader = await world.peer("reader", volunteer={"cache_bytes": 3 * MIB // 2})
    await until(lambda: cached(reader) == kept(2))
    assert reader.library.share(made[0].link.share_id) is None
    assert await trio.to_thread.run_sync(reader.records.sources, made[1].link.share_id) == []


async def test_a_cached_file_that_changed_is_fetched_again(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"some.bin": MIB})
    truth = (published.path / "some.bin").read_bytes()
    share = published.link.share_id
    reader = await world.peer("reader")
    async with using(reader, share, [published.hint]) as held:
        await held.read("some.bin", 0, MIB)
    [file] = (reader.home / "volunteer" / "inputs").rglob("some.bin")
    file.write_bytes(bytes(MIB))
    async with using(reader, share, [published.hint]) as held:
        with pytest.raises(StorageError, match="fetched again"):
            await held.read("some.bin", 5, 5)
        assert await held.read("some.bin", 5, 5) == truth[5:10]
        await held.read("some.bin", 0, MIB)
    assert file.read_bytes() == truth
    assert await reader.open_shares.holds(share)


async def test_a_part_that_somebody_removed_fails_the_unit_and_is_fetched_again(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"some.bin": 2 * MIB})
    reader = await world.peer("reader")
    share = published.link.share_id
    async with using(reader, share, [published.hint]) as held:
        assert await held.read("some.bin", 0, 5)
        [part] = (reader.home / "volunteer" / "inputs").rglob("*.part")
        part.unlink()
        with pytest.raises(StorageError, match="removed or cut short"):
            await held.read("some.bin", MIB, 5)
        whole = (published.path / "some.bin").read_bytes()
        assert await held.read("some.bin", 0, 2 * MIB) == whole


async def test_what_changes_while_it_is_used_is_fetched_again(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 2 * MIB, "small.bin": 9, "other.bin": MIB})
    large = (published.path / "large.bin").read_bytes()
    small = (published.path / "small.bin").read_bytes()
    reader = await world.peer("reader")
    async with using(reader, published.link.share_id, [published.hint]) as held:
        await held.read("large.bin", 0, MIB)
        await held.read("small.bin", 0, 9)
        [part] = (reader.home / "volunteer" / "inputs").rglob("large.bin*.part")
        os.truncate(part, 100)
        with pytest.raises(StorageError, match="fetched again"):
            await held.read("large.bin", CHUNK, 5)
        assert await held.read("large.bin", CHUNK, 5) == large[CHUNK : CHUNK + 5]
        # Others of the share are still believed.
        before = reader.traffic.bytes_downloaded
        assert await held.read("small.bin", 0, 9) == small
        assert reader.traffic.bytes_downloaded == before
        root = reader.home / "volunteer" / "inputs"
        await until(lambda: list(root.rglob("small.bin")))  # it has its name
        [file] = root.rglob("small.bin")
        file.write_bytes(b"meddled")
        with pytest.raises(StorageError, match="fetched again"):
            await held.read("small.bin", 0, 9)
        assert await held.read("small.bin", 0, 9) == small


async def test_a_disk_that_takes_no_more_fails_the_unit_and_not_the_peer(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"some.bin": 4 * MIB})
    whole = (published.path / "some.bin").read_bytes()
    reader = await world.peer("reader")
    async with using(reader, published.link.share_id, [published.hint]) as held:
        assert await held.read("some.bin", 0, 5) == whole[:5]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
        try:
            for _ in range(2):
                with pytest.raises(StorageError, match="No file may be that large"):
                    await held.read("some.bin", 3 * MIB, 5)
            assert await held.read("some.bin", MIB, 5) == whole[MIB : MIB + 5]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert await held.read("some.bin", 0, 4 * MIB) == whole
    assert reader.traffic.bytes_downloaded <= 4 * MIB + 2 * CHUNK


async def test_a_job_that_ends_in_the_middle_leaves_nothing_behind(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=MIB)
    published = await world.publish(origin, {"some.bin": 8 * MIB})
    share = published.link.share_id
    reader = await world.peer("reader")

    async def job() -> None:
        async with using(reader, share, [published.hint]) as held:
            await held.read("some.bin", 0, 8 * MIB)

    for begun in (lambda: reader.swarms.progress_of(share), lambda: reader.traffic.bytes_downloaded >= MIB):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job)
            await until(begun)
            nursery.cancel_scope.cancel()
        assert not reader.swarms.fetches
        assert reader.swarms.get(share) is None


async def test_who_releases_an_input_when_it_is_cancelled_releases_it(world: World) -> None:
    """As an owner whose job is cancelled while it runs a unit of it itself."""
    origin = await world.peer("origin")
    published = await world.publish(origin, {"some.bin": MIB})
    share = published.link.share_id
    reader = await world.peer("reader")
    held = reader.open_shares.open(share, [published.hint])
    await held.read("some.bin", 0, 1)
    assert reader.swarms.progress_of(share)
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.open_shares.release(held)
    assert not reader.swarms.fetches
    assert reader.swarms.get(share) is None
