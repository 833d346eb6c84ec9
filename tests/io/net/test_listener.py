"""Admission: caps on proven connections, and floods of half-open ones that starve only themselves."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.concurrency import accepting
from p2p.errors import ConfigError, PeerGone
from p2p.ids import PeerId
from p2p.net import listener
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.net.listener import Admission
from p2p.wire.address import Address
from p2p.wire.messages import BUSY, Cancel, Failed, Want
from tests.support.constants import Shorten
from tests.support.pipes import connections, make_dialer
from tests.support.rogues.crowds import connect_from, dial_from
from tests.support.rogues.strangers import client_hello
from tests.support.world import World, bare, same_tree

WELCOME = Want(first=1, count=1)


@asynccontextmanager
async def listening(at: Dialer, admission: Admission) -> AsyncIterator[Address]:
    """Welcomes every connection, and counts each of its messages as work."""

    async def welcome(connection: Connection) -> None:
        await connection.send(WELCOME)
        while True:
            await connection.receive()
            connection.use.got(1)
            await connection.send(WELCOME)

    async with trio.open_nursery() as nursery:
        listeners = await listener.open_listeners([Address("127.0.0.1", 0)])
        await nursery.start(listener.run, listeners, at, admission, welcome)
        yield listener.bound_address(listeners[0])
        nursery.cancel_scope.cancel()


async def works(connection: Connection) -> None:
    """Has something done, which makes the connection useful."""
    await connection.send(Cancel(first=1, count=1))
    assert await connection.receive() == WELCOME


async def test_a_peer_past_its_cap_is_told_so_and_closed(tmp_path: Path) -> None:
    at, one = make_dialer(tmp_path / "at"), make_dialer(tmp_path / "one")
    async with listening(at, Admission(total=100, per_prefix=100, per_peer=3)) as address:
        open_connections = []
        for _ in range(3):
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


@pytest.mark.parametrize(
    "admission", [Admission(total=100, per_prefix=3, per_peer=100), Admission(total=4, per_prefix=3, per_peer=100)]
)
async def test_a_full_network_keeps_those_of_its_connections_that_are_of_use(
    tmp_path: Path, admission: Admission
) -> None:
    at, one, other = (make_dialer(tmp_path / name) for name in ("at", "one", "other"))
    async with listening(at, admission) as address:
        with ExitStack() as connections:

            async def dial(dialer: Dialer, host: str) -> Connection:
                return connections.enter_context(closing(await dial_from(dialer, host, address)))

            useful, idle, last = [await dial(one, f"127.9.9.{number}") for number in range(1, 4)]
            for connection in (useful, idle, last):
                assert await connection.receive() == WELCOME
            await works(useful)
            late = await dial(other, "127.9.9.77")
            assert await late.receive() == WELCOME
            with pytest.raises(PeerGone):
                await idle.receive()
            for connection in (useful, late, last):
                await works(connection)
            refused = await dial(other, "127.9.9.78")
            assert await refused.receive() == Failed(reason=BUSY)
            assert await (await dial(other, "127.9.8.1")).receive() == WELCOME


async def test_a_newcomer_of_another_network_gets_in_and_whoever_is_of_use_stays(tmp_path: Path) -> None:
    """Four networks held all connections, asked a small thing each now and then, and everybody else was told `busy`."""
    at, rogue, honest = (make_dialer(tmp_path / name) for name in ("at", "rogue", "honest"))
    async with listening(at, Admission(total=16, per_prefix=8, per_peer=100)) as address:
        heard: list[object] = []
        with ExitStack() as connections:

            async def dial(dialer: Dialer, host: str) -> Connection:
                connection = connections.enter_context(closing(await dial_from(dialer, host, address)))
                heard.append(await connection.receive())
                return connection

            for number in range(1, 17):
                await dial(rogue, f"127.9.{number % 4}.{number}")
            useful = [await dial(honest, "127.8.1.1"), await dial(honest, "127.8.1.2")]
            assert heard == [WELCOME] * len(heard)
            for connection in useful:
                await works(connection)
            for number in range(64):
                await dial(rogue, f"127.{10 + number}.0.1")
                for connection in useful:
                    await works(connection)


def waiter(host: str) -> Connection:
    """A proven connection from a host, of a peer that waits for an upload slot."""
    connection, _ = connections()
    connection.ends = replace(connection.ends, remote_host=host, peer_id=PeerId(os.urandom(32)))
    return connection


def answers(connection: Connection) -> None:
    """Says that it is there, in answer to its place in the line."""
    connection.use.told_to_wait()
    connection.use.heard()


def test_a_crowd_that_waits_in_a_line_shares_its_places_by_network() -> None:
    """Each word about its place in the line counted as work: two networks that only waited held all places for good."""
    admission = Admission(total=32, per_prefix=16, per_peer=1)
    crowd = [waiter(f"127.{20 + number % 2}.0.{number + 1}") for number in range(32)]
    honest = [waiter(f"127.{40 + number}.0.1") for number in range(12)]
    now = 0.0
    for connection in crowd:
        assert admission.admit(connection, now)
    for _ in range(2):
        now += listener.PERIOD_S
        for connection in crowd:
            answers(connection)
        admission.review(now)
    for connection in honest:
        assert admission.admit(connection, now)
        answers(connection)
    late = [waiter(f"127.{60 + number}.0.1") for number in range(40)]
    for connection in late:
        now += listener.PERIOD_S / 4
        for other in (*crowd, *honest):
            answers(other)
        if admission.admit(connection, now):
            answers(connection)
    gone = [connection for connection in honest if connection._stream.closed]  # type: ignore[attr-defined]
    assert len(gone) <= 4, "those on trial, of which one in eight is"
    left = [connection for connection in crowd if not connection._stream.closed]  # type: ignore[attr-defined]
    assert len(left) <= 32 - len(honest), "it made room for each of them"


def test_a_host_that_waits_makes_room_for_its_neighbours() -> None:
    """128 connections of one address shut its whole /24 out."""
    admission = Admission(total=100, per_prefix=8, per_peer=1)
    crowd = [waiter("127.9.9.1") for _ in range(8)]
    for connection in crowd:
        assert admission.admit(connection, 0.0)
        answers(connection)
    neighbours = [waiter(f"127.9.9.{number}") for number in range(2, 9)]
    for connection in neighbours:
        assert admission.admit(connection, 1.0)
        answers(connection)
    assert not admission.admit(waiter("127.9.9.9"), 1.0), "as many hosts as places"
    assert not admission.admit(waiter("127.9.9.1"), 1.0)
    assert admission.admit(waiter("127.9.8.1"), 1.0)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"], ids=["nothing", "part of its first words"])
async def test_a_half_open_connection_ends_by_itself(tmp_path: Path, shorten: Shorten, said: bytes) -> None:
    shorten(listener, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with listening(make_dialer(tmp_path / "at"), Admission(9, 9, 9)) as address:
        with await connect_from("127.0.0.1", address) as half_open, trio.fail_after(5), suppress(ConnectionResetError):
            await half_open.send(said)
            assert await half_open.recv(100) == b""


async def test_first_words_in_pieces_begin_a_handshake(tmp_path: Path) -> None:
    one = make_dialer(tmp_path / "one")
    words = client_hello(one)
    async with listening(make_dialer(tmp_path / "at"), Admission(9, 9, 9)) as address:
        with await connect_from("127.0.0.1", address) as dialling, trio.fail_after(5):
            await dialling.send(words[:4])
            await dialling.send(words[4:100])
            await trio.testing.wait_all_tasks_blocked(0.001)
            await dialling.send(words[100:])
            assert await dialling.recv(1) == b"\x16"


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", bytes(5000)], ids=["HTTP", "zeros"])
async def test_other_first_words_end_a_connection_at_once(tmp_path: Path, said: bytes) -> None:
    async with listening(make_dialer(tmp_path / "at"), Admission(9, 9, 9)) as address:
        with await connect_from("127.0.0.1", address) as stranger, trio.fail_after(5), suppress(ConnectionResetError):
            await stranger.send(said)
            assert await stranger.recv(100) == b""


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
    real_accept = socket.socket.accept
    left = 3

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        nonlocal left
        if left:
            left -= 1
            raise OSError(24, "Too many open files")
        return real_accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
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
