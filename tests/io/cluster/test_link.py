"""Packets with one member over a connection: words, bounds, limits, and what ends it. The devices are sockets."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from p2p.cluster.network.link import Link
from p2p.cluster.network.tun import TURN_PACKETS, Tun
from p2p.concurrency.throttle import Throttle
from p2p.core.cluster.backlog import MOST_BYTES
from p2p.core.cluster.membership import WORD_INTERVAL_S, Membership
from p2p.core.cluster.switch import Switch
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net.connection import Connection
from p2p.wire.cluster import StillThere
from p2p.wire.messages import Browse
from tests.support.clusters.packets import tcp_packet, udp_packet
from tests.support.pipes import connections


class End:
    """One member's end: a device whose other side the test holds, and a link to member 1 - index."""

    def __init__(self, index: int, connection: Connection, device: socket.socket) -> None:
        self.switch = Switch(index, Membership([1 - index]))
        self.connection = connection
        self.tun = Tun(device.fileno())
        self.link = Link(1 - index, connection, self.switch.open(1 - index))
        self.upload, self.download = Throttle(0), Throttle(0)

    def send(self, packet: bytes) -> None:
        self.switch.dispatch(packet, trio.current_time())
        self.link.ring()

    async def run(self) -> None:
        await self.link.run(self.switch, self.tun, self.upload, self.download)


@pytest.fixture
def devices() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@asynccontextmanager
async def running(end: End) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.run)
        yield
        nursery.cancel_scope.cancel()


async def violation(end: End) -> PeerError:
    """What ends the link."""
    with pytest.raises(ExceptionGroup) as caught:
        await end.run()
    [error] = caught.value.exceptions
    assert isinstance(error, PeerError)
    return error


async def test_packets_go_from_device_to_device(devices: tuple[socket.socket, socket.socket]) -> None:
    one, other = connections(lambda: 700)
    sender, receiver = End(0, one, devices[0]), End(1, other, devices[0])
    packets = [tcp_packet(0, 1, bytes(size)) for size in (4, 60_000, 9, 300, 60_000)]
    async with running(sender), running(receiver):
        for packet in packets:
            sender.send(packet)
        came = []
        for _ in packets:
            await trio.lowlevel.wait_readable(devices[1])
            came.append(devices[1].recv(70_000))
    assert sorted(came) == sorted(packets)
    assert one._stream.unsent == MOST_BYTES  # type: ignore[attr-defined]


async def test_a_word_is_said_while_there_is_nothing_else(
    devices: tuple[socket.socket, socket.socket], autojump_clock: MockClock
) -> None:
    one, other = connections()
    async with running(end := End(0, one, devices[0])):
        start = trio.current_time()
        for number in (1, 2, 3):
            assert await other.receive() == StillThere()
            assert trio.current_time() - start == pytest.approx(number * WORD_INTERVAL_S)
        assert end.link.has_spoken() is False
        await other.send(StillThere())
        await trio.testing.wait_all_tasks_blocked()
        assert end.link.has_spoken()
        assert end.link.has_spoken() is False
        assert one.use.bytes > 0, "it keeps its place in the listener"


async def test_what_is_no_packet_ends_the_link(devices: tuple[socket.socket, socket.socket]) -> None:
    one, other = connections()
    await other.send(Browse())
    assert isinstance(await violation(End(0, one, devices[0])), ProtocolViolation)
    one, other = connections()
    await other.send_data(0, 0, tcp_packet(1, 0)[:-1])
    await other.flush()
    assert isinstance(await violation(End(0, one, devices[0])), ProtocolViolation)
    one, other = connections()
    other.close()
    assert isinstance(await violation(End(0, one, devices[0])), PeerGone)


async def test_packets_count_in_the_limits_of_the_user(
    devices: tuple[socket.socket, socket.socket], autojump_clock: MockClock
) -> None:
    one, other = connections()
    sender, receiver = End(0, one, devices[0]), End(1, other, devices[0])
    sender.upload.change(100_000)
    start = trio.current_time()
    async with running(sender), running(receiver):
        for number in range(3):
            sender.send(udp_packet(0, 1, bytes(60_000), ports=(number, 1)))
        for _ in range(3):
            await trio.lowlevel.wait_readable(devices[1])
            devices[1].recv(70_000)
    assert trio.current_time() - start == pytest.approx(1.15, abs=0.1), "180,000 bytes, of which 64 KiB go at once"


async def test_what_waits_while_nothing_can_be_sent_is_bounded_and_young(
    devices: tuple[socket.socket, socket.socket], autojump_clock: MockClock
) -> None:
    one, _ = connections()
    end = End(0, one, devices[0])
    end.upload.change(1000)
    async with running(end):
        for _ in range(200):
            end.send(udp_packet(0, 1, bytes(60_000)))
            await trio.sleep(0.01)
        assert end.link.line.bytes < 12 * 61_000
        assert end.link.line.dropped > 150


async def test_a_flood_of_small_packets_leaves_others_their_turns(
    devices: tuple[socket.socket, socket.socket],
) -> None:
    one, other = connections()
    turns, number = 0, 3000
    async with running(end := End(0, one, devices[0])):
        await other.send_data(0, 0, tcp_packet(1, 0) * number)
        await other.flush()
        while end.tun.packets_in + end.tun.refused < number:
            turns += 1
            await trio.lowlevel.checkpoint()
    assert turns > number / TURN_PACKETS


async def test_a_device_gives_others_their_turns(devices: tuple[socket.socket, socket.socket]) -> None:
    tun = Tun(devices[0].fileno())
    for number in range(TURN_PACKETS + 2):
        devices[1].send(bytes((number,)))
    assert [len(list(tun.packets())) for _ in range(3)] == [TURN_PACKETS, 2, 0]
    tun.shut()
    tun.write(b"packet")
    assert tun.refused == 1
