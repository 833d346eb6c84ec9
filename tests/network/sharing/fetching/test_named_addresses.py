"""A source that names hundreds of addresses where nobody answers: a source that is named later is dialled at once."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import trio

from p2p.net.connection import Connection
from p2p.progress import Progress
from p2p.wire.messages import MAX_PEERS, Have, Open, Peers, Want
from tests.support.pipes import make_dialer
from tests.support.rogue_sources import Truth, play
from tests.support.rogues.crowds import dial_from
from tests.support.world import NETWORK, World, bare, hint_of, start_rogue, until

NAMED = 300


@contextmanager
def silent_ports(host: str, count: int) -> Iterator[list[int]]:
    """Ports at which connections are made, but nobody says anything."""
    with ExitStack() as opened:
        ports = []
        for _ in range(count):
            waiting = opened.enter_context(closing(socket.create_server((host, 0))))
            ports.append(waiting.getsockname()[1])
        yield ports


async def test_an_address_named_after_hundreds_of_silent_ones_is_dialled(world: World) -> None:
    """It was not dialled within a minute, since all places for addresses were taken."""
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 3_000_000})
    share = published.link.share_id
    truth = Truth.of(origin, share)
    fetcher = await world.peer("fetcher", max_sources=8)
    progress = Progress()
    with silent_ports("127.40.0.1", NAMED) as ports:

        async def name_many(connection: Connection, truth: Truth, want: Want) -> None:
            named = [(bytes([number % 256]) * 32, "127.40.0.1", port) for number, port in enumerate(ports)]
            for at in range(0, NAMED, MAX_PEERS):
                await connection.send(Peers(peers=tuple(named[at : at + MAX_PEERS])))
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            rogue = await start_rogue(nursery, fetcher, lambda connection: play(connection, truth, name_many))
            nursery.start_soon(lambda: world.get(fetcher, bare(published.link), [rogue.hint], progress=progress))
            await until(lambda: progress.known > NAMED // 2)
            dialer, address = make_dialer(world.folder / "namer", NETWORK), hint_of(origin).address
            with closing(await dial_from(dialer, "127.41.0.1", fetcher.addresses[0])) as namer:
                named = Peers(peers=((origin.peer_id, address.host, address.port),))
                await namer.send(Open(share=share), Have(), named)
                with trio.fail_after(5):
                    await until(lambda: origin.swarms.connections)
            nursery.cancel_scope.cancel()
