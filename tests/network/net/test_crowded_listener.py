"""A crowd in four networks that holds all connections of a peer and asks for little: others are served all the same."""

from pathlib import Path

import trio

from p2p.net.connection import Connection
from p2p.wire.messages import GetPointer
from tests.support.rogues.crowds import Crowd
from tests.support.world import World, bare, same_tree, until

MOST = 24
CROWD = 32


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
