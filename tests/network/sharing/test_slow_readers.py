"""Many identities of one address that take all upload slots and read very little: others are served all the same, and
those that wait take no memory.
"""

import tracemalloc
from pathlib import Path

import trio

from p2p.net.connection import Connection
from p2p.wire.frames import MAX_DATA_BYTES, DataHeader
from p2p.wire.messages import Choked, Open, Want
from tests.support.rogue_sources import Truth
from tests.support.rogues.crowds import Crowd, read_slowly
from tests.support.world import World, bare, same_tree, until

MIB = 1024 * 1024
SLOTS = 4


async def test_slow_readers_of_one_address_do_not_keep_others_waiting(world: World, tmp_path: Path) -> None:
    """Sixteen that read 30 kB/s each held all slots for as long as their chunks took, and then again."""
    origin = await world.peer("origin", upload_slots=SLOTS)
    published = await world.publish(origin, {"large.bin": 12 * MIB})
    chunks = Truth.of(origin, published.link.share_id).layout.chunks

    async def reads_slowly(connection: Connection) -> None:
        await connection.send(Open(share=published.link.share_id), Want(first=0, count=chunks))
        await read_slowly(connection, 30_000)

    crowd = Crowd(tmp_path, origin, reads_slowly)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * SLOTS):
            nursery.start_soon(crowd.one, "127.30.0.1")
        await until(lambda: crowd.came == 3 * SLOTS and origin.traffic.bytes_uploaded > MIB)
        fetcher = await world.peer("fetcher")
        with trio.fail_after(5):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_only_those_that_are_served_have_memory_for_frames(world: World, tmp_path: Path) -> None:
    """Each of hundreds that waited for a slot had the memory of a frame, which it did not use."""
    crowd_size = 6 * SLOTS
    origin = await world.peer("origin", upload_slots=SLOTS)
    published = await world.publish(origin, {"large.bin": 12 * MIB})
    chunks = Truth.of(origin, published.link.share_id).layout.chunks
    waiting = 0

    async def wants_and_reads_nothing(connection: Connection) -> None:
        nonlocal waiting
        await connection.send(Open(share=published.link.share_id), Want(first=0, count=chunks))
        while not isinstance(message := await connection.receive(), Choked | DataHeader):
            pass
        waiting += isinstance(message, Choked)
        await trio.sleep_forever()

    crowd = Crowd(tmp_path, origin, wants_and_reads_nothing)
    async with trio.open_nursery() as nursery:
        tracemalloc.start()
        try:
            for number in range(crowd_size):
                nursery.start_soon(crowd.one, f"127.30.0.{number + 1}")
            await until(lambda: waiting == crowd_size - SLOTS)
            taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/p2p/sharing/*")])
        finally:
            tracemalloc.stop()
        assert sum(trace.size for trace in taken.traces) < (SLOTS + 1) * MAX_DATA_BYTES
        nursery.cancel_scope.cancel()
