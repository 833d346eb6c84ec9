"""Neighbours: who is there by their beacons, who is not any more, and what strangers can do to that."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from p2p.discovery.neighbours import FORGET_AFTER_S, MAX_NEIGHBOURS, MAX_PER_HOST, MAX_PER_PEER, Neighbours
from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.wire.address import Address
from p2p.wire.beacon import Beacon, BeaconCodec, BeaconKind
from p2p.wire.link import PeerHint

pytestmark = pytest.mark.usefixtures("clean")

HOST = "192.168.7.7"
MINE = Identity.generate()


def started(number: int = 0) -> Callable[[BeaconKind, int], Beacon]:
    """One start of a peer: makes its beacons, in the order in which it says them."""
    codec = BeaconCodec(MINE, "tests", number.to_bytes(8, "big"))
    return lambda kind, port: codec.read(codec.write(kind, port))


def stranger(number: int, port: int = 7474) -> Beacon:
    """Of a peer that nobody has heard before."""
    return Beacon(PeerId(number.to_bytes(32, "big")), bytes(8), 1, BeaconKind.HERE, port, b"", b"")


def at(host: str = HOST, port: int = 7474, peer: PeerId = MINE.peer_id) -> PeerHint:
    return PeerHint(Address(host, port), peer)


async def test_who_is_heard_is_there(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    assert (len(neighbours), neighbours.hints()) == (0, [])
    assert neighbours.heard(say(BeaconKind.HELLO, 7474), HOST)
    assert (len(neighbours), neighbours.hints()) == (1, [at()])


async def test_who_moves_is_where_it_said_last(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    assert neighbours.heard(say(BeaconKind.HERE, 1), HOST)
    assert neighbours.heard(say(BeaconKind.HERE, 2), HOST)
    assert neighbours.hints() == [at(port=2)]


async def test_a_peer_is_one_at_several_addresses_the_last_heard_first(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    hosts = [HOST, "fe80::7%eth0", "10.0.0.7"]
    for host in hosts:
        assert neighbours.heard(say(BeaconKind.HERE, 7474), host)
    assert neighbours.heard(say(BeaconKind.HERE, 7474), HOST)
    assert neighbours.hints() == [at(HOST), at("10.0.0.7"), at("fe80::7%eth0")]
    assert len(neighbours) == 1


async def test_who_cannot_be_dialled_counts_and_is_nowhere(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    assert neighbours.heard(say(BeaconKind.HERE, 0), HOST)
    assert (len(neighbours), neighbours.hints()) == (1, [])
    assert neighbours.heard(say(BeaconKind.HERE, 9), HOST)
    assert neighbours.hints() == [at(port=9)]


async def test_who_leaves_leaves_all_addresses(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    neighbours.heard(say(BeaconKind.HERE, 7474), HOST)
    neighbours.heard(say(BeaconKind.HERE, 7474), "10.0.0.7")
    neighbours.heard(stranger(5), HOST)
    neighbours.heard(say(BeaconKind.LEAVING, 7474), "10.0.0.7")
    assert neighbours.hints() == [at(peer=stranger(5).peer)]


async def test_who_is_silent_is_forgotten(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    neighbours.heard(say(BeaconKind.HERE, 7474), HOST)
    await trio.sleep(FORGET_AFTER_S - 1)
    neighbours.heard(stranger(5), HOST)
    assert len(neighbours) == 2
    await trio.sleep(2)
    assert neighbours.hints() == [at(peer=stranger(5).peer)]
    await trio.sleep(FORGET_AFTER_S)
    assert (len(neighbours), neighbours.hints()) == (0, [])


async def test_changes_are_told(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    told: list[int] = []

    async def follow() -> None:
        while True:
            await neighbours.changed()
            told.append(len(neighbours.hints()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        for step, beacon in enumerate(
            [say(BeaconKind.HELLO, 1), say(BeaconKind.HERE, 1), say(BeaconKind.HERE, 2), say(BeaconKind.LEAVING, 2)]
        ):
            await trio.testing.wait_all_tasks_blocked()
            neighbours.heard(beacon, HOST)
            await trio.sleep(1)
            assert told == [[1], [1], [1, 1], [1, 1, 0]][step]
        nursery.cancel_scope.cancel()


async def test_many_changes_at_once_are_told_once(autojump_clock: MockClock) -> None:
    neighbours = Neighbours()
    rounds = 0

    async def follow() -> None:
        nonlocal rounds
        while True:
            await neighbours.changed()
            rounds += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(50):
            neighbours.heard(stranger(number), HOST)
        await trio.sleep(1)
        assert (rounds, len(neighbours.hints())) == (1, 50)
        nursery.cancel_scope.cancel()


async def test_what_is_played_back_is_no_news(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    first, second = say(BeaconKind.HELLO, 1), say(BeaconKind.HERE, 2)
    assert neighbours.heard(second, HOST)
    assert not neighbours.heard(second, HOST)
    assert not neighbours.heard(first, HOST)
    assert neighbours.hints() == [at(port=2)]
    await trio.sleep(FORGET_AFTER_S - 1)
    assert not neighbours.heard(first, HOST)
    await trio.sleep(2)
    assert len(neighbours) == 0


async def test_a_leaving_of_an_earlier_start_hides_nobody(autojump_clock: MockClock) -> None:
    neighbours, before, now = Neighbours(), started(1), started(2)
    recorded = [before(BeaconKind.HELLO, 7474), before(BeaconKind.HERE, 7474), before(BeaconKind.LEAVING, 7474)]
    assert neighbours.heard(now(BeaconKind.HELLO, 7474), HOST)
    for beacon in recorded:
        neighbours.heard(beacon, HOST)
        assert at() in neighbours.hints()


async def test_a_leaving_of_nobody_is_no_news(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    assert not neighbours.heard(say(BeaconKind.LEAVING, 7474), HOST)
    assert len(neighbours) == 0


recordings = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from([HOST, "10.0.0.7"])), max_size=40)


@given(recordings, st.integers(0, 39))
def test_no_replay_hides_a_peer_that_is_there(replayed: list[tuple[int, int, str]], when: int) -> None:
    """Whatever somebody recorded of earlier starts, or of this one from elsewhere, and plays back from anywhere."""
    script = [BeaconKind.HELLO, BeaconKind.HERE, BeaconKind.HERE, BeaconKind.HERE, BeaconKind.HERE, BeaconKind.LEAVING]
    says = [started(number) for number in range(3)]
    recorded = [[say(kind, 7474) for kind in script] for say in says]
    recorded[2].pop()  # this start has not said good-bye

    async def play() -> None:
        neighbours = Neighbours()
        for step, (start, number, host) in enumerate(replayed):
            neighbours.heard(recorded[start][min(number, len(recorded[start]) - 1)], host)
            if step == when:
                neighbours.heard(says[2](BeaconKind.HERE, 7474), HOST)
        neighbours.heard(says[2](BeaconKind.HERE, 7474), HOST)
        assert neighbours.hints()[0] == at()
        for start, number, host in replayed:
            neighbours.heard(recorded[start][min(number, len(recorded[start]) - 1)], host)
            assert at() in neighbours.hints()

    trio.run(play, clock=MockClock())


async def test_one_host_has_so_many_peers(autojump_clock: MockClock) -> None:
    neighbours = Neighbours()
    taken = [neighbours.heard(stranger(number), HOST) for number in range(MAX_PER_HOST + 10)]
    assert taken == [True] * MAX_PER_HOST + [False] * 10
    assert neighbours.heard(stranger(999), "192.168.7.8")
    assert len(neighbours) == MAX_PER_HOST + 1


async def test_one_peer_has_so_many_addresses_the_newest(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    for number in range(MAX_PER_PEER + 3):
        assert neighbours.heard(say(BeaconKind.HERE, 7474), f"10.0.0.{number}")
    assert neighbours.hints() == [at(f"10.0.0.{number}") for number in range(MAX_PER_PEER + 2, 2, -1)]


async def test_inventing_neighbours_drives_none_out(autojump_clock: MockClock) -> None:
    neighbours, say = Neighbours(), started()
    neighbours.heard(say(BeaconKind.HERE, 7474), HOST)
    for number in range(3 * MAX_NEIGHBOURS):
        neighbours.heard(stranger(number), f"10.0.{number // 200}.{number % 200}")
    assert len(neighbours) == MAX_NEIGHBOURS
    assert at() in neighbours.hints()
    await trio.sleep(FORGET_AFTER_S - 1)
    assert neighbours.heard(say(BeaconKind.HERE, 7474), HOST)
    await trio.sleep(2)
    assert neighbours.hints() == [at()]


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "240.0.0.1"])
async def test_a_host_of_nobody_is_not_taken(autojump_clock: MockClock, host: str) -> None:
    neighbours = Neighbours()
    assert not neighbours.heard(stranger(1), host)
    assert len(neighbours) == 0
