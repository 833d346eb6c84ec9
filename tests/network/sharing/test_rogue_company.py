"""Rogues that take, and rogues that talk of others: honest peers are served and find each other all the same."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from p2p.errors import PeerError
from p2p.ids import PeerId
from p2p.net import tls
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.wire import messages
from p2p.wire.frames import DataHeader
from p2p.wire.messages import Cancel, Have, Open, Want
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.rogue_sources import Truth
from tests.support.world import NETWORK, Published, World, bare, hint_of, same_tree, start_rogue

MIB = 1024 * 1024
PAUSE_S = 0.02
SMALL = {f"{n}.txt": 10 + n % 50 for n in range(1000)}
LARGE = {"large.bin": 4 * MIB + 17, "small.txt": 999}

Misuse = Callable[[Connection, int], Awaitable[None]]


async def drain(connection: Connection) -> None:
    while True:
        message = await connection.receive()
        if isinstance(message, DataHeader):
            await connection.receive_body(memoryview(bytearray(message.size)))


async def wants_all_and_never_reads(connection: Connection, chunks: int) -> None:
    await connection.send(Want(first=0, count=chunks))
    await trio.sleep_forever()


async def wants_and_hangs_up(connection: Connection, chunks: int) -> None:
    await connection.send(Want(first=0, count=chunks))
    connection.close()


async def wants_and_cancels(connection: Connection, chunks: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, connection)
        at = 0
        while True:
            storm = [Want(first=(at + n) % chunks, count=1) for n in range(50)]
            await connection.send(*storm, Cancel(first=0, count=chunks))
            at += 50


async def piles_up_wants_and_cancels_none(connection: Connection, chunks: int) -> None:
    """Each cancellation looks through all the wants, and matches none."""
    await connection.send(*[Want(first=n % (chunks - 1), count=1) for n in range(8000)])
    while True:
        await connection.send(*[Cancel(first=chunks - 1, count=1)] * 500)


async def claims_odd_chunks(connection: Connection, chunks: int) -> None:
    """Maps as long as they may be."""
    every_other = tuple((n, 1) for n in range(0, chunks, 2))[:4096]
    while True:
        await connection.send(*[Have(ranges=every_other)] * 20)


async def sends_half_a_message(connection: Connection, chunks: int) -> None:
    await connection._stream.send_all(b"\x00\x0f\xff\xff\x00\x00\x00abc")
    await trio.sleep_forever()


MISUSES: list[Misuse] = [
    wants_all_and_never_reads,
    wants_and_hangs_up,
    wants_and_cancels,
    piles_up_wants_and_cancels_none,
    claims_odd_chunks,
    sends_half_a_message,
]


async def misuse(
    folder: Path,
    published: Published,
    function: Misuse,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A fetcher that behaves like that, and begins again whenever it is thrown out."""
    said = False
    dialer = make_dialer(folder / "home", NETWORK)
    layout = Truth.of(published.origin, published.link.share_id).layout
    while True:
        try:
            connection = await dialer.dial(published.hint.address)
            try:
                await connection.send(Open(share=published.link.share_id))
                if not said:
                    said = True
                    task_status.started()
                await function(connection, layout.chunks)
            finally:
                connection.close()
        except* PeerError:
            pass
        await trio.sleep(0.01)


@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("function", MISUSES, ids=lambda function: function.__name__)
async def test_an_honest_fetch_beside_a_rogue_fetcher(
    world: World, function: Misuse, files: dict[str, int], tmp_path: Path
) -> None:
    origin, fetcher = await world.peer("origin"), await world.peer("fetcher")
    published = await world.publish(origin, files)
    async with trio.open_nursery() as nursery:
        for number in range(2):
            await nursery.start(misuse, tmp_path / f"rogue{number}", published, function)
        with trio.fail_after(10):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_all_rogue_fetchers_at_once(world: World, tmp_path: Path) -> None:
    origin, fetcher = await world.peer("origin"), await world.peer("fetcher")
    published = await world.publish(origin, LARGE)
    async with trio.open_nursery() as nursery:
        for number, function in enumerate(MISUSES * 2):
            await nursery.start(misuse, tmp_path / f"rogue{number}", published, function)
        with trio.fail_after(15):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_who_holds_the_only_slot_and_never_reads_loses_it(world: World, tmp_path: Path, shorten: Shorten) -> None:
    shorten(tls, "STALL_TIMEOUT_S", 0.5)
    origin, fetcher = await world.peer("origin", upload_slots=1), await world.peer("fetcher")
    # More than the buffers of a socket take.
    published = await world.publish(origin, {"large.bin": 16 * MIB})
    async with trio.open_nursery() as nursery:
        await nursery.start(misuse, tmp_path / "rogue", published, wants_all_and_never_reads)
        await trio.testing.wait_all_tasks_blocked(0.1)
        with trio.fail_after(15):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


# What rogues say of others.


async def fetch_by_word_of(world: World, told: Callable[[Node], list[messages.Peers]]) -> bool:
    """Fetches with a rogue as the only known source, which has nothing and says these things of the good one."""
    good = await world.peer("good")
    published = await world.publish(good, LARGE)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(good, published.link.share_id)

    async def behave(connection: Connection) -> None:
        """Manifest and an empty map, then the tales."""
        while True:
            message = await connection.receive()
            match message:
                case messages.GetRoot():
                    await connection.send(messages.Root(truth.root))
                case messages.GetPart(index=index):
                    await connection.send(messages.Part(index, truth.parts[index]))
                case Open():
                    await connection.send(Have())
                    for message in told(good):
                        await connection.send(message)
                        await trio.sleep(PAUSE_S)
                case _:
                    pass

    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, good, behave)
        with trio.fail_after(20):
            await world.get(fetcher, bare(published.link), [rogue.hint], wait_s=15.0)
        nursery.cancel_scope.cancel()
    return same_tree(published.path, world.out(fetcher) / "data")


def about(local: Node, peer: PeerId | bytes | None = None) -> tuple[bytes, str, int]:
    address = hint_of(local).address
    return (local.peer_id if peer is None else peer, address.host, address.port)


async def test_a_peer_is_found_by_word_of_another(world: World) -> None:
    assert await fetch_by_word_of(world, lambda good: [messages.Peers(peers=(about(good),))])


async def test_a_wrong_identity_told_first_hides_nobody(world: World) -> None:
    """A rogue names a good peer's address with a made-up identity before anybody tells the true one."""
    assert await fetch_by_word_of(
        world,
        lambda good: [messages.Peers(peers=(about(good, bytes([9]) * 32),)), messages.Peers(peers=(about(good),))],
    )


async def test_endless_tales_hide_nobody_for_long(world: World) -> None:
    """More addresses where nobody is than are ever remembered, and only then, now and then, a good one."""

    def tales(good: Node) -> list[messages.Peers]:
        made_up = [(bytes([n]) * 32, f"127.66.{n}.1", 1 + m) for n in range(10) for m in range(60)]
        return [
            *[messages.Peers(peers=tuple(made_up[at : at + 60])) for at in range(0, len(made_up), 60)],
            *[messages.Peers(peers=(about(good),))] * 500,
        ]

    assert await fetch_by_word_of(world, tales)
