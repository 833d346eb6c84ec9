"""The memory of answers: however many clients do not read theirs, it is bounded, and the others have some of it."""

from contextlib import AsyncExitStack

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p import ids
from p2p.control.path import socket_path
from p2p.gateway import memory
from p2p.gateway.memory import LEAST_BYTES, UNREAD_S, Lent, Memory
from p2p.node import Node
from tests.network.gateway.asking import PATIENCE_S, http_client
from tests.support.constants import Shorten
from tests.support.world import Published, World

KIB, MIB = 1024, 1024 * 1024
SIZE = 3 * MIB


@pytest.fixture
def small(shorten: Shorten) -> Memory:
    shorten(memory, "MOST_BYTES", 4 * LEAST_BYTES)
    return Memory()


async def test_it_is_shared_out_and_given_back(small: Memory) -> None:
    first = await small.borrow(10 * LEAST_BYTES)
    assert (first.size, small.lent) == (4 * LEAST_BYTES, 4 * LEAST_BYTES)
    first.give_back()
    first.give_back()
    lent = [await small.borrow(wanted) for wanted in (10, 10 * LEAST_BYTES, LEAST_BYTES)]
    assert [one.size for one in lent] == [10, 2 * LEAST_BYTES, LEAST_BYTES]


async def test_whoever_asked_first_has_it_first(small: Memory, autojump_clock: MockClock) -> None:
    held = await small.borrow(4 * LEAST_BYTES)
    had: list[int] = []

    async def ask(number: int) -> None:
        lent = await small.borrow(3 * LEAST_BYTES)
        had.append(number)
        await trio.sleep(UNREAD_S / 8)
        lent.give_back()

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        held.give_back()
    assert had == [0, 1, 2, 3]
    assert small.lent == 0


async def test_those_whose_clients_take_nothing_lose_theirs(small: Memory, autojump_clock: MockClock) -> None:
    lost: list[str] = []

    async def hold(name: str, lent: Lent, takes: bool) -> None:
        with lent.until_needed():
            while True:
                await trio.sleep(UNREAD_S / 4)
                if takes:
                    lent.is_used()
        lost.append(name)
        lent.give_back()

    async with trio.open_nursery() as nursery:
        for name in ("read", "unread", "read too"):
            nursery.start_soon(hold, name, await small.borrow(LEAST_BYTES), name != "unread")
        await small.borrow(LEAST_BYTES)
        await trio.sleep(10 * UNREAD_S)
        assert lost == []  # nobody needs it
        began = trio.current_time()
        await small.borrow(LEAST_BYTES)
        assert (lost, trio.current_time() - began <= UNREAD_S) == (["unread"], True)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def peer(world: World, shorten: Shorten) -> Node:
    shorten(memory, "MOST_BYTES", 8 * LEAST_BYTES)
    shorten(memory, "UNREAD_S", 0.05)
    return await world.peer("peer")


async def test_many_answers_that_nobody_reads_take_bounded_memory_and_end_nobody_elses(
    world: World, peer: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 of them took 113 MiB."""
    most: list[int] = []
    borrow = Memory.borrow

    async def watched(self: Memory, wanted: int) -> Lent:
        lent = await borrow(self, wanted)
        most.append(self.lent)
        return lent

    monkeypatch.setattr(Memory, "borrow", watched)
    published = await world.publish(peer, {"large.bin": SIZE})
    truth = (published.path / "large.bin").read_bytes()
    request = f"GET {at(published, 'large.bin')} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    async with AsyncExitStack() as crowd, http_client(peer) as client:
        unread = [
            await crowd.enter_async_context(await trio.open_unix_socket(socket_path(peer.home))) for _ in range(40)
        ]
        for stream in unread:
            await stream.send_all(request)
        for _ in range(3):
            assert (await client.get(at(published, "large.bin"))).content == truth
        assert max(most) <= 8 * LEAST_BYTES
        for stream in unread[::13]:  # those that lost theirs go on where they were
            with trio.fail_after(PATIENCE_S):
                heard = b"".join([piece async for piece in stream])
            assert heard.partition(b"\r\n\r\n")[2] == truth


async def test_listings_that_nobody_reads_are_hung_up_on(world: World, peer: Node) -> None:
    published = await world.publish(peer, {f"{number:04} {'x' * 200}": 0 for number in range(1500)}, "many")
    request = f"GET {at(published)} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    async with AsyncExitStack() as crowd, http_client(peer) as client:
        for _ in range(3):
            stream = await crowd.enter_async_context(await trio.open_unix_socket(socket_path(peer.home)))
            await stream.send_all(request)
            await stream.receive_some(1)
        listing: httpx2.Response = await client.get(at(published))
        assert len(listing.json()["rows"]) == 1500


def at(published: Published, path: str = "") -> str:
    return f"/s/{ids.to_text(published.link.share_id)}/{path}"
