"""Admission: caps on proven connections, and floods of half-open ones that starve only themselves."""

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio._socket import _SocketType

from p2p.concurrency import accepting
from p2p.errors import ConfigError, PeerGone
from p2p.net import listener
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer, wrap
from p2p.net.listener import Admission, Unproven
from p2p.wire.address import Address
from p2p.wire.messages import BUSY, Failed, Want
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, make_dialer
from tests.support.world import World, bare, same_tree

WELCOME = Want(first=1, count=1)


@asynccontextmanager
async def listening(at: Dialer, admission: Admission) -> AsyncIterator[Address]:
    async def welcome(connection: Connection) -> None:
        await connection.send(WELCOME)
        await connection.receive()

    async with trio.open_nursery() as nursery:
        listeners = await listener.open_listeners([Address("127.0.0.1", 0)])
        await nursery.start(listener.run, listeners, at, admission, welcome)
        yield listener.bound_address(listeners[0])
        nursery.cancel_scope.cancel()


async def connect_from(host: str, address: Address) -> trio.socket.SocketType:
    """A TCP connection that comes from a certain host of the loopback network."""
    connecting = trio.socket.socket()
    try:
        await connecting.bind((host, 0))
        await connecting.connect(tuple(address))
    except BaseException:
        connecting.close()
        raise
    return connecting


async def dial_from(dialer: Dialer, host: str, address: Address) -> Connection:
    """A proven connection that comes from a certain host."""
    stream = wrap(await connect_from(host, address), dialer.contexts, server=False)
    peer = await stream.handshake(NETWORK)
    assert peer is not None
    connection = Connection(stream)
    await connection.greet_listener(dialer.identity, dialer.network, peer, stream.remote_host, dialer.hello(stream))
    return connection


@pytest.mark.parametrize(
    ("admission", "welcome"),
    [
        # From which of the hosts, and with which of the identities, a connection comes; and how many are let in.
        (Admission(total=100, per_prefix=100, per_peer=3), 3),
        (Admission(total=3, per_prefix=100, per_peer=100), 3),
        (Admission(total=100, per_prefix=3, per_peer=100), 3),
    ],
)
async def test_what_is_past_a_cap_is_told_so_and_closed(tmp_path: Path, admission: Admission, welcome: int) -> None:
    at, one = make_dialer(tmp_path / "at"), make_dialer(tmp_path / "one")
    async with listening(at, admission) as address:
        open_connections = []
        for _ in range(welcome):
            connection = await one.dial(address)
            assert await connection.receive() == WELCOME
            open_connections.append(connection)
        late = await one.dial(address)
        assert await late.receive() == Failed(reason=BUSY)
        with pytest.raises(PeerGone):
            await late.receive()
        late.close()
        # A place falls free as soon as one leaves.
        open_connections.pop().close()
        with trio.fail_after(5):
            while True:
                again = await one.dial(address)
                if await again.receive() == WELCOME:
                    break
                again.close()
        for connection in [*open_connections, again]:
            connection.close()


async def test_one_peer_and_one_prefix_leave_room_for_others(tmp_path: Path) -> None:
    at = make_dialer(tmp_path / "at")
    greedy, neighbour, other = (make_dialer(tmp_path / name) for name in ("greedy", "neighbour", "other"))
    async with listening(at, Admission(total=6, per_prefix=4, per_peer=2)) as address:
        heard: Counter[str] = Counter()
        connections = []

        async def dial(dialer: Dialer, host: str, name: str) -> None:
            connection = await dial_from(dialer, host, address)
            connections.append(connection)
            heard[name] += await connection.receive() == WELCOME

        for _ in range(5):
            await dial(greedy, "127.9.9.1", "greedy")
        for _ in range(5):
            await dial(neighbour, "127.9.9.2", "neighbour")
        # A new identity does not help where the prefix is full.
        await dial(other, "127.9.9.77", "same prefix")
        await dial(other, "127.0.0.1", "elsewhere")
        assert heard == {"greedy": 2, "neighbour": 2, "same prefix": 0, "elsewhere": 1}
        for connection in connections:
            connection.close()


async def test_the_oldest_unproven_of_the_same_prefix_gives_way() -> None:
    unproven = Unproven(listener.MAX_UNPROVEN)
    scopes = [trio.CancelScope() for _ in range(listener.MAX_UNPROVEN_PER_PREFIX + 2)]
    elsewhere = trio.CancelScope()
    unproven.enter(elsewhere, "there")
    for scope in scopes:
        unproven.enter(scope, "here")
    assert [scope.cancel_called for scope in scopes] == [True, True] + [False] * listener.MAX_UNPROVEN_PER_PREFIX
    assert not elsewhere.cancel_called


async def test_the_oldest_of_all_gives_way_where_many_prefixes_flood() -> None:
    unproven = Unproven(listener.MAX_UNPROVEN)
    scopes = [trio.CancelScope() for _ in range(listener.MAX_UNPROVEN + 3)]
    for number, scope in enumerate(scopes):
        unproven.enter(scope, f"prefix {number}")
    assert sum(scope.cancel_called for scope in scopes) == 3
    assert all(scope.cancel_called for scope in scopes[:3])
    assert len(unproven) == listener.MAX_UNPROVEN


async def test_a_half_open_connection_ends_by_itself(tmp_path: Path, shorten: Shorten) -> None:
    shorten(listener, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with listening(make_dialer(tmp_path / "at"), Admission(9, 9, 9)) as address:
        with await connect_from("127.0.0.1", address) as half_open, trio.fail_after(5):
            assert await half_open.recv(100) == b""


async def test_thousands_of_half_open_connections_do_not_starve_others(world: World) -> None:
    """From one prefix, some silent, some stuck in the middle of TLS, while an honest peer fetches."""
    origin = await world.peer("origin")
    published = await world.publish(origin, {"a.bin": 2_000_000, "b.txt": 10})
    fetcher = await world.peer("fetcher")
    address = origin.addresses[0]
    flood: list[trio.socket.SocketType] = []
    half = trio.Event()

    async def attack(number: int) -> None:
        for at in range(300):
            try:
                connecting = await connect_from(f"127.9.9.{1 + (number + at) % 250}", address)
                flood.append(connecting)
                if at % 3 == 0:
                    await connecting.send(b"\x16\x03\x01\x02\x00\x01")
            except OSError:
                continue
            if len(flood) > 400:
                half.set()

    try:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(attack, number)
            await half.wait()
            await world.get(fetcher, bare(published.link), [published.hint])
        assert len(flood) > 1400
        # And once more with all of them there.
        late = await world.peer("late")
        with trio.fail_after(5):
            await world.get(late, bare(published.link), [published.hint])
    finally:
        for connecting in flood:
            connecting.close()
    assert same_tree(published.path, world.out(fetcher) / "data")
    assert same_tree(published.path, world.out(late) / "data")


async def test_a_listener_out_of_file_descriptors_waits_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorten: Shorten
) -> None:
    shorten(accepting, "OUT_OF_FILES_PAUSE_S", 0.01)
    at, one = make_dialer(tmp_path / "at"), make_dialer(tmp_path / "one")
    real_accept = _SocketType.accept
    left = 3

    async def accept(self: _SocketType) -> tuple[trio.socket.SocketType, object]:
        nonlocal left
        if left:
            left -= 1
            raise OSError(24, "Too many open files")
        return await real_accept(self)

    monkeypatch.setattr(_SocketType, "accept", accept)
    async with listening(at, Admission(9, 9, 9)) as address:
        connection = await one.dial(address)
        assert await connection.receive() == WELCOME
        connection.close()
    assert left == 0


async def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address(*taken.getsockname())
        with pytest.raises(ConfigError, match=r"Cannot listen on 127\.0\.0\.1"):
            await listener.open_listeners([Address("127.0.0.1", 0), address])
