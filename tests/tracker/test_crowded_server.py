"""Crowds that hold a tracker's connections and say nothing: others are answered all the same."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio

from p2p.net.http_server import connections, serving
from p2p.wire.address import Address
from tests.support.announces import NETWORK
from tests.support.constants import Shorten
from tests.support.rogues.crowds import connect_from
from tracker.proxies import NO_PROXIES, Proxies
from tracker.server import open_tracker

MOST = 24


@asynccontextmanager
async def tracker(folder: Path, proxies: Proxies = NO_PROXIES) -> AsyncIterator[Address]:
    home = folder / "home"
    home.mkdir()
    anywhere = [Address("127.0.0.1", 0)]
    async with open_tracker(
        folder / "t.db", home, anywhere, network=NETWORK, proxies=proxies, most_connections=MOST
    ) as running:
        yield running.addresses[0]


async def is_answered(host: str, at: Address) -> bool:
    with await connect_from(host, at) as asking, trio.fail_after(5):
        try:
            await asking.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            return (await asking.recv(12)).startswith(b"HTTP/1.1 200")
        except ConnectionResetError:
            return False


async def test_silent_connections_of_a_few_networks_keep_nobody_out(tmp_path: Path) -> None:
    """Sixteen addresses held all connections, and everybody else was hung up on."""
    async with tracker(tmp_path) as at:
        with ExitStack() as silent:
            for number in range(2 * MOST):
                silent.enter_context(await connect_from(f"127.{20 + number % 2}.0.{1 + number % 4}", at))
            for host in ("127.9.9.1", "127.20.1.1", "127.20.0.200"):
                assert await is_answered(host, at), host
            for number in range(2 * MOST):  # again, while somebody of another network is connected
                silent.enter_context(await connect_from(f"127.20.0.{1 + number % 4}", at))
            assert await is_answered("127.9.9.1", at)


async def test_a_silent_connection_ends_soon(tmp_path: Path, shorten: Shorten) -> None:
    shorten(connections, "FIRST_WORD_TIMEOUT_S", 0.1)
    async with tracker(tmp_path) as at:
        with await connect_from("127.9.9.1", at) as silent, trio.fail_after(5):
            assert await silent.recv(1) == b""


async def test_a_tracker_does_not_wait_for_the_silent_when_it_stops(tmp_path: Path) -> None:
    began = trio.current_time()
    with ExitStack() as silent:
        async with tracker(tmp_path) as at:
            silent.enter_context(await connect_from("127.9.9.1", at))
            assert await is_answered("127.9.9.2", at)
            began = trio.current_time()
        assert trio.current_time() - began < serving.GRACE_TIMEOUT_S


async def test_a_crowd_leaves_proxies_their_connections(tmp_path: Path) -> None:
    async with tracker(tmp_path, Proxies(frozenset({"127.5.5.5"}))) as at:
        with ExitStack() as silent:
            for number in range(2 * MOST):
                silent.enter_context(await connect_from(f"127.{20 + number}.0.1", at))
            assert await is_answered("127.5.5.5", at)
            for _ in range(MOST // 2 - 2):
                silent.enter_context(await connect_from("127.5.5.5", at))
            assert await is_answered("127.5.5.5", at)
