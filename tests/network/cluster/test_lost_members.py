"""Members that fall silent, come back in time, or come back too late: what programs in the sandboxes see of it."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import trio

from p2p.cluster.network import link, namespace_helper, network
from p2p.core.cluster import membership
from p2p.core.cluster.membership import Standing
from p2p.errors import PeerGone, SandboxFailed
from tests.support.clusters.boxes import Box, boxes
from tests.support.clusters.members import Member, members
from tests.support.clusters.programs import PING
from tests.support.world import until

IDLE = """
import socket, sys, time
def said(call, *arguments):
    try:
        return repr(call(*arguments))
    except OSError as error:
        return type(error).__name__
if sys.argv[1] == "listen":
    # As Java and gRPC do: to the kernel, the connection is one of IPv6.
    both = socket.has_dualstack_ipv6()
    server = socket.create_server(("", 5300), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both)
    connection, _ = server.accept()
    connection.sendall(b"hello")
else:
    for _ in range(1000):
        try:
            connection = socket.create_connection((sys.argv[1], 5300))
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    connection.recv(5)
    open("/box/connected", "w").close()
connection.settimeout(30)
print(said(connection.recv, 1))
if sys.argv[1] != "listen":
    print(said(socket.create_connection, (sys.argv[1], 5300), 10))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(10)
        datagrams.connect((sys.argv[1], 53))
        datagrams.send(b"anybody")
        print(said(datagrams.recv, 1))
"""
FLOW = """
import socket, sys, time
if sys.argv[1] == "listen":
    connection, _ = socket.create_server(("", 5300)).accept()
    total = 0
    while data := connection.recv(1 << 20):
        total += len(data)
    print(total)
else:
    for _ in range(1000):
        try:
            connection = socket.create_connection((sys.argv[1], 5300))
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    for _ in range(40):
        connection.sendall(bytes(1 << 18))
        time.sleep(0.02)
"""


@pytest.fixture
def quick(shorten: Callable[..., None]) -> None:
    """Members are given up in a second or so."""
    shorten(membership, "AWAY_AFTER_S", 0.8)
    shorten(membership, "GONE_AFTER_S", 0.4)
    shorten(link, "WORD_INTERVAL_S", 0.2)
    shorten(network, "TICK_S", 0.05)
    shorten(network, "DIAL_TIMEOUT_S", 0.5)
    shorten(network, "REDIAL_INTERVAL_S", 0.1)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[list[Box], list[Member]]]:
    with boxes(2) as made:
        async with members(tmp_path, made) as joined:
            yield made, joined


async def test_a_silent_member_is_refused_and_its_idle_connections_end(
    quick: None, two: tuple[list[Box], list[Member]]
) -> None:
    (box, other_box), (zero, one) = two
    assert zero.wire is not None
    assert zero.network.ends_connections
    told: list[str] = []

    async def listen() -> None:
        told.append(await other_box.python(IDLE, "listen"))

    async def connect() -> None:
        told.extend((await box.python(IDLE, "10.77.0.2")).split("\n"))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(connect)
            await until((box.folder / "connected").exists)
            zero.wire.hush()
            await until(lambda: zero.network.members.standing(1) is Standing.GONE)
    assert sorted(told) == sorted(
        [
            "ConnectionAbortedError",
            "ConnectionRefusedError",
            "ConnectionRefusedError",
            "ConnectionAbortedError",
        ]
    )
    assert one.network.members.standing(0) is Standing.GONE


async def test_a_connection_that_breaks_is_made_again_and_nothing_is_lost(two: tuple[list[Box], list[Member]]) -> None:
    (box, other_box), (zero, one) = two
    assert zero.wire is not None
    received = ""

    async def listen() -> None:
        nonlocal received
        received = await other_box.python(FLOW, "listen")

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(box.python, FLOW, "10.77.0.2")
            await until(lambda: one.network._tun.packets_in > 10)
            zero.wire.cut()
            await until(lambda: len(one.connections) == 2)
    assert received == str(40 << 18)
    assert zero.network.members.standing(1) is Standing.HERE


async def test_a_member_that_was_given_up_begins_again_in_a_later_epoch(
    quick: None, two: tuple[list[Box], list[Member]]
) -> None:
    _, (zero, one) = two
    assert zero.wire is not None
    zero.wire.hush()
    with boxes(1) as [another], trio.fail_after(20):
        await until(lambda: zero.network.members.standing(1) is Standing.GONE)
        zero.wire.speak()
        await one.network.outlived.wait()
        assert zero.network.members.standing(1) is Standing.GONE
        async with one.joined(another, epoch=1) as network:
            await zero.network.meet([one.at])
            await network.meet([zero.at])
            await network.complete()
            assert (zero.network.members.standing(1), zero.network.members.epoch(1)) == (Standing.HERE, 1)
            assert await another.python(PING, "10.77.0.1") == "0"


async def test_time_in_which_this_peer_was_stopped_is_no_silence_of_others(
    quick: None, two: tuple[list[Box], list[Member]]
) -> None:
    (box, _), joined = two
    stop(1.5)
    for _ in range(4):  # ticks
        await trio.sleep(network.TICK_S)
    assert await box.python(PING, "10.77.0.2") == "0"
    assert [member.network.changes.count for member in joined] == [1, 1]


def stop(seconds: float) -> None:
    """Keeps the whole process from doing anything."""
    time.sleep(seconds)


async def test_packets_go_on_without_the_helper(two: tuple[list[Box], list[Member]]) -> None:
    (box, _), (zero, _) = two
    for helper in psutil.Process().children():
        if namespace_helper.__file__ in helper.cmdline():
            helper.kill()
    with pytest.raises(SandboxFailed):
        await zero.network.connect("m1", 5300)
    assert await box.python(PING, "10.77.0.2") == "0"


async def test_a_member_that_leaves_is_gone_at_once(two: tuple[list[Box], list[Member]]) -> None:
    _, (zero, _) = two
    await zero.network.meet([])
    assert zero.network.members.standing(1) is Standing.GONE
    with pytest.raises(ConnectionRefusedError):
        await zero.network.connect("m1", 5300)


async def test_a_member_that_leaves_in_the_moment_in_which_it_is_dialled_ends_nothing(
    two: tuple[list[Box], list[Member]],
) -> None:
    _, (_, one) = two
    await one.network.meet([])
    with pytest.raises(PeerGone):
        await one.network._carry_dialled(0, 0)
