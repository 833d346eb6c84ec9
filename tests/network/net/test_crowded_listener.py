"""A crowd in four networks that holds all connections of a peer and asks for little: others are served all the same."""

from contextlib import ExitStack, closing
from pathlib import Path

import trio

from p2p.net.connection import Connection
from p2p.sharing import upload_slots
from p2p.wire.frames import DataHeader
from p2p.wire.messages import Choked, GetPointer, Have, Open, Want
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.rogue_sources import Truth
from tests.support.rogues.crowds import Crowd, dial_from
from tests.support.world import NETWORK, World, bare, same_tree, until

MOST = 24
CROWD = 32
NEWCOMERS = 8


async def asks_a_small_thing(connection: Connection) -> None:
    """Once, and then stays for as long as that counts for something."""
    await connection.send(GetPointer(publisher=connection.ends.own_id, name="news"))
    while True:
        await connection.receive()


async def test_a_newcomer_is_served_though_idle_identities_hold_all_connections(world: World, tmp_path: Path) -> None:
    """They asked for a pointer every 50 s, and everybody else was told `busy` for as long as that lasted."""
    origin = await world.peer("origin", network={"max_connections": MOST, "max_connections_per_prefix": MOST // 3})
    published = await world.publish(origin, {"a.bin": 3_000_000, "b.txt": 10})
    crowd = Crowd(tmp_path, origin, asks_a_small_thing)
    async with trio.open_nursery() as nursery:
        for number in range(CROWD):
            nursery.start_soon(crowd.one, f"127.{20 + number % 4}.0.{number + 1}")
        await until(lambda: crowd.came > CROWD)  # those that were sent away came back
        fetcher = await world.peer("fetcher")
        with trio.fail_after(5):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_newcomers_get_in_at_once_though_a_crowd_waits_in_line_over_all_connections(
    world: World, tmp_path: Path, shorten: Shorten
) -> None:
    """To wait for a slot counted as work: only the few places on trial were left for everybody else."""
    shorten(upload_slots, "POSITION_INTERVAL_S", 0.1)
    limits = {"max_connections": MOST, "max_connections_per_prefix": MOST // 3}
    origin = await world.peer("origin", upload_slots=1, upload_limit_bytes_per_s=256 * 1024, network=limits)
    share = (await world.publish(origin, {"a.bin": 8_000_000})).link.share_id
    chunks = Truth.of(origin, share).layout.chunks
    answered = 0

    async def waits_in_line(connection: Connection) -> None:
        nonlocal answered
        await connection.send(Open(share=share), Want(first=0, count=chunks))
        while True:
            message = await connection.receive()
            if isinstance(message, DataHeader):
                await connection.receive_body(memoryview(bytearray(message.size)))
            elif isinstance(message, Choked) and message.position:
                await connection.send(Have())
                answered += 1

    crowd = Crowd(tmp_path, origin, waits_in_line)
    async with trio.open_nursery() as nursery:
        for number in range(MOST):
            nursery.start_soon(crowd.one, f"127.{20 + number % 4}.0.{number + 1}")
        await until(lambda: answered > 4 * MOST)
        with ExitStack() as honest:
            for number in range(NEWCOMERS):
                dialer = make_dialer(tmp_path / f"honest{number}", NETWORK)
                connection = await dial_from(dialer, f"127.{40 + number}.0.1", origin.addresses[0])
                honest.enter_context(closing(connection))
                await connection.send(Open(share=share))
                assert await connection.receive() == Have(ranges=((0, chunks),))
        nursery.cancel_scope.cancel()
