"""The lobby: connections that wait in it have no task, and leave it in every way that there is."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio

from p2p.concurrency.accepting import accept_each
from p2p.net import listener
from p2p.net.handshakes import ALL_BURST
from p2p.net.lobby import Lobby, Newcomer
from p2p.wire.address import Address
from tests.support.pipes import make_dialer
from tests.support.rogues.crowds import connect_from
from tests.support.rogues.strangers import client_hello
from tests.support.world import until

MOST = 100


@asynccontextmanager
async def opened(begun: list[Newcomer], timeout_s: float = 60.0) -> AsyncIterator[tuple[Lobby, Address]]:
    """A lobby, and where it is. What begins a handshake stays in it."""
    with ExitStack() as sockets, Lobby(MOST, timeout_s) as lobby:

        def begin(newcomer: Newcomer) -> None:
            begun.append(newcomer)
            sockets.enter_context(newcomer.socket)

        [listening] = await listener.open_listeners([Address("127.0.0.1", 0)])
        async with trio.open_nursery() as nursery, listening:
            nursery.start_soon(lobby.listen)
            nursery.start_soon(lobby.give_turns, begin)
            nursery.start_soon(accept_each, listening.socket, lobby.enter)
            yield lobby, listener.bound_address(listening)
            nursery.cancel_scope.cancel()


async def test_newcomers_have_no_tasks() -> None:
    begun: list[Newcomer] = []
    async with opened(begun) as (lobby, address):
        with ExitStack() as silent:
            before = trio.lowlevel.current_statistics().tasks_living
            for number in range(MOST):
                silent.enter_context(await connect_from(f"127.9.9.{number + 1}", address))
            await until(lambda: len(lobby) == MOST)
            assert trio.lowlevel.current_statistics().tasks_living == before
    assert not begun


async def test_those_that_hang_up_leave_before_their_turn(tmp_path: Path) -> None:
    """Silent ones, and ones that wait for their turns, which are then others'."""
    begun: list[Newcomer] = []
    words = client_hello(make_dialer(tmp_path / "one"))
    async with opened(begun) as (lobby, address):
        with ExitStack() as strangers:
            for number in range(MOST):
                stranger = strangers.enter_context(await connect_from(f"127.9.{number // 50}.{number + 1}", address))
                await stranger.send(words if number % 2 else b"")
            await until(lambda: len(begun) >= ALL_BURST)
        await until(lambda: not len(lobby))
        assert len(begun) < MOST // 2


async def test_whoever_is_displaced_in_a_handshake_is_cancelled(tmp_path: Path) -> None:
    begun: list[Newcomer] = []
    words = client_hello(make_dialer(tmp_path / "one"))
    async with opened(begun) as (lobby, address):
        with ExitStack() as strangers:
            first = strangers.enter_context(await connect_from("127.9.9.1", address))
            await first.send(words)
            await until(lambda: begun)
            for _ in range(MOST):
                strangers.enter_context(await connect_from("127.9.9.1", address))
            await until(lambda: begun[0].scope.cancel_called)
            assert len(lobby) == MOST
            assert len(begun) == 1


async def test_time_in_the_lobby_is_bounded() -> None:
    async with opened([], timeout_s=0.05) as (lobby, address):
        with await connect_from("127.9.9.1", address) as silent, trio.fail_after(5):
            assert await silent.recv(1) == b""
        assert not len(lobby)
