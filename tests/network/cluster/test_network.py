"""The network of a cluster: sandboxes of several peers reach each other, and nobody speaks for another."""

import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from p2p.cluster.network import network
from p2p.cluster.network.network import MemberAt, Network
from p2p.wire.address import Address
from p2p.wire.cluster import Packets
from p2p.wire.messages import NOT_FOUND, Failed
from tests.support.clusters.boxes import Box, boxes
from tests.support.clusters.members import CLUSTER, Member, members
from tests.support.clusters.packets import udp_packet
from tests.support.clusters.programs import PING, RECEIVE, SEND
from tests.support.pipes import make_dialer


@pytest.fixture(params=[None, 65534], ids=["own", "of another user"])
def two(request: pytest.FixtureRequest) -> Iterator[list[Box]]:
    """Two sandboxes: this user's own, or, for a root peer, those of an unprivileged user."""
    with boxes(2, request.param) as made:
        yield made


async def test_two_sandboxes_reach_each_other(tmp_path: Path, two: list[Box]) -> None:
    async with members(tmp_path, two) as (zero, one):
        assert await two[0].python(PING, "10.77.0.2") == "0"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two[1].python, RECEIVE)
            assert await two[0].python(SEND, "10.77.0.2") == "True"
        assert zero.network._tun.refused == one.network._tun.refused == 0


HEAR = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("", 5353))
    server.settimeout(20)
    print(server.recvfrom(100))
"""


async def test_nobody_speaks_for_another_or_with_a_broken_head(tmp_path: Path) -> None:
    with boxes(2) as two:
        async with members(tmp_path, two) as (zero, one):
            good = udp_packet(1, 0, b"own words")
            bad = [
                udp_packet(2, 0, b"another's words"),
                udp_packet(0, 0, b"its own words"),
                udp_packet(1, 2, b"not for it"),
                b"\x01\x04" + good[2:],
                b"\x03" + good[1:],
            ]
            async with trio.open_nursery() as nursery:

                async def say() -> None:
                    while True:
                        await one.connections[0].send_data(0, 0, b"".join([*bad, good]))
                        await one.connections[0].flush()
                        await trio.sleep(0.05)

                nursery.start_soon(say)
                assert "own words', ('10.77.0.2', 40000)" in await two[0].python(HEAR)
                nursery.cancel_scope.cancel()
            assert zero.network.unsound >= len(bad)
            assert zero.network.unsound % len(bad) == 0


async def test_the_peer_itself_connects_from_within(tmp_path: Path) -> None:
    with boxes(2) as two:
        async with members(tmp_path, two) as (zero, _), trio.open_nursery() as nursery:
            nursery.start_soon(two[1].python, RECEIVE)
            async with await connected(zero.network, "m1") as stream:
                await stream.send_all(b"data")
                await stream.send_eof()
                assert await stream.receive_some() == hashlib.sha256(b"data").digest()


async def connected(within: Network, host: str) -> trio.SocketStream:
    """A connection to a program that is about to listen."""
    with trio.fail_after(20):
        while True:
            try:
                return await within.connect(host, 5300)
            except ConnectionRefusedError:
                await trio.sleep(0.02)


async def test_an_address_that_says_nothing_does_not_keep_a_member_out(
    tmp_path: Path, shorten: Callable[..., None]
) -> None:
    shorten(network, "DIAL_TIMEOUT_S", 0.3)
    shorten(network, "REDIAL_INTERVAL_S", 0.05)
    with boxes(3) as made, socket.create_server(("127.0.0.1", 0)) as silent:
        async with members(tmp_path, made[:2]) as (zero, one), trio.open_nursery() as nursery:
            other = Member(2, make_dialer(tmp_path / "m2"))
            await nursery.start(other.serve)
            for member in (zero, one):
                await member.network.meet([zero.at, one.at, other.at])
            at = MemberAt(0, zero.peer, 0, (Address("127.0.0.1", silent.getsockname()[1]), *zero.at.addresses))
            async with other.joined(made[2]) as joined:
                await joined.meet([at, one.at])
                with trio.fail_after(20):
                    await joined.complete()
            nursery.cancel_scope.cancel()


async def test_a_peer_that_is_no_member_is_not_heard(tmp_path: Path) -> None:
    with boxes(2) as two:
        async with members(tmp_path, two) as (zero, one):
            stranger = make_dialer(tmp_path / "stranger")
            for dialer, index, cluster, reason in (
                (stranger, 1, CLUSTER, NOT_FOUND),
                (one.dialer, 2, CLUSTER, NOT_FOUND),
                (one.dialer, 0, CLUSTER, NOT_FOUND),
                (one.dialer, 1, bytes(16), NOT_FOUND),
            ):
                connection = await dialer.dial(zero.at.addresses[0], zero.peer)
                await connection.send(Packets(cluster=cluster, index=index, epoch=0))
                assert await connection.receive() == Failed(reason=reason)
                connection.close()
            connection = await one.dialer.dial(zero.at.addresses[0], zero.peer)
            await connection.send(Packets(cluster=CLUSTER, index=1, epoch=2**52))
            assert await connection.receive() == Failed(reason=NOT_FOUND)
            connection.close()
            assert zero.network.missing() == []
            assert zero.network.members.epoch(1) == 0
