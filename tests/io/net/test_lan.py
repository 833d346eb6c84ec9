"""The local network, by real multicast on loopback: who is there is heard, whatever strangers send."""

import random
import socket
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import trio

from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.net.lan import BEACON_BURST, BEACONS_PER_S, GROUP, MAX_HOSTS, Lan
from p2p.net.multicast import MAX_SEGMENTS, Channel, Group, Segment, segments
from p2p.wire.address import Address
from p2p.wire.beacon import BEACON_BYTES, START_BYTES, Beacon, BeaconCodec, BeaconKind
from tests.support.world import until

pytestmark = pytest.mark.usefixtures("clean")

PATIENCE_S = 30.0


@pytest.fixture
def group() -> Group:
    """A port of the test's own: nothing else is heard there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return Group(GROUP.v4, GROUP.v6, free.getsockname()[1])


class Station:
    """A peer that keeps what it hears."""

    def __init__(
        self, group: Group, *listening: Address, network: str = "tests", seed: int = 1, credulous: bool = True
    ) -> None:
        self._credulous = credulous
        self.identity = Identity.generate()
        self.heard: list[tuple[Beacon, str]] = []
        self._more = trio.Event()
        codec = BeaconCodec(self.identity, network, random.Random(seed).randbytes(START_BYTES))
        self.lan = Lan(
            codec, listening, self._take, random.Random(seed), group=group, is_dialable=lambda a: a.port != 999
        )
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    def _take(self, beacon: Beacon, host: str) -> bool:
        self.heard.append((beacon, host))
        self._more.set()
        self._more = trio.Event()
        return self._credulous

    async def more(self) -> None:
        await self._more.wait()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                await self.lan.run(task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    async def hears(self, peer: PeerId, kind: BeaconKind) -> tuple[str, int]:
        """Waits for such a beacon; returns where the peer is."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for beacon, host in self.heard:
                    if (beacon.peer, beacon.kind) == (peer, kind):
                        return host, beacon.port
                await self.more()

    async def counts(self, **figures: int) -> None:
        """Waits until so many were counted; underscores stand for blanks."""
        await until(lambda: all(self.lan.counts[name.replace("_", " ")] >= many for name, many in figures.items()))


async def test_peers_of_one_machine_hear_each_other(nursery: trio.Nursery, group: Group) -> None:
    stations = [Station(group, Address("127.0.0.1", 7000 + number), seed=number) for number in range(4)]
    for station in stations:
        await nursery.start(station.run)
    for station in stations:
        for number, other in enumerate(stations):
            if other is not station:
                assert await station.hears(other.peer_id, BeaconKind.HELLO) == ("127.0.0.1", 7000 + number)
    assert all(beacon.peer != station.peer_id for station in stations for beacon, _ in station.heard)


async def test_a_hello_is_answered(nursery: trio.Nursery, group: Group) -> None:
    """Long before the next beacon, 30 seconds later, so the patience of this test tells them apart."""
    first, second = Station(group, Address("127.0.0.1", 1)), Station(group, Address("127.0.0.2", 2))
    await nursery.start(first.run)
    await nursery.start(second.run)
    with trio.fail_after(20):
        assert await second.hears(first.peer_id, BeaconKind.HERE) == ("127.0.0.1", 1)
        assert await first.hears(second.peer_id, BeaconKind.HELLO) == ("127.0.0.2", 2)


async def test_what_was_played_back_is_not_answered(nursery: trio.Nursery, group: Group) -> None:
    first = Station(group, Address("127.0.0.1", 1), credulous=False)
    second = Station(group, Address("127.0.0.1", 2))
    await nursery.start(first.run)
    await nursery.start(second.run)
    with trio.fail_after(PATIENCE_S):  # the second hello; by then the first would have been answered
        while len(first.heard) < 2:
            await first.more()
    assert BeaconKind.HERE not in {beacon.kind for beacon, _ in second.heard}


async def test_who_stops_says_good_bye(nursery: trio.Nursery, group: Group) -> None:
    first, second = Station(group, Address("127.0.0.1", 1)), Station(group, Address("127.0.0.1", 2))
    await nursery.start(first.run)
    await nursery.start(second.run)
    await second.stop()
    await first.hears(second.peer_id, BeaconKind.LEAVING)
    assert second.lan.segments == []


async def test_who_cannot_be_dialled_names_no_port(nursery: trio.Nursery, group: Group) -> None:
    first, second = Station(group, Address("127.0.0.1", 1)), Station(group, Address("127.0.0.1", 999))
    await nursery.start(first.run)
    await nursery.start(second.run)
    assert await first.hears(second.peer_id, BeaconKind.HELLO) == ("127.0.0.1", 0)


async def test_networks_do_not_mix(nursery: trio.Nursery, group: Group) -> None:
    first, other = Station(group, Address("127.0.0.1", 1)), Station(group, Address("127.0.0.1", 2), network="other")
    await nursery.start(first.run)
    await nursery.start(other.run)
    await first.counts(malformed=1)
    assert first.heard == []


async def test_a_bug_over_one_beacon_costs_that_one_alone(
    nursery: trio.Nursery, group: Group, expects_bugs: Callable[[int], None]
) -> None:
    first, second = Station(group, Address("127.0.0.1", 1)), Station(group, Address("127.0.0.1", 2))
    bugs = ["a bug"]
    take = first._take

    def broken(beacon: Beacon, host: str) -> bool:
        if bugs:
            raise ValueError(bugs.pop())
        return take(beacon, host)

    first.lan._heard = broken
    await nursery.start(first.run)
    await nursery.start(second.run)
    await first.hears(second.peer_id, BeaconKind.HELLO)  # the second one
    expects_bugs(1)


# Strangers.


@pytest.fixture
def raw() -> Iterator[Callable[..., None]]:
    """Sends a datagram from an address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:

        def send(data: bytes, to: tuple[str, int], source: str = "127.0.0.5", ttl: int = 1) -> None:
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            udp.sendto(data, to)

        yield send


async def test_anything_else_is_counted_and_dropped(
    nursery: trio.Nursery, group: Group, raw: Callable[..., None]
) -> None:
    station = Station(group, Address("127.0.0.1", 1))
    await nursery.start(station.run)
    to = group.v4, group.port
    noise = random.Random(3)
    good = BeaconCodec(Identity.generate(), "tests", bytes(START_BYTES)).write(BeaconKind.HERE, 5)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    for done, length in enumerate([0, 1, 7, BEACON_BYTES - 1, BEACON_BYTES, BEACON_BYTES + 1, 1400, 20000, 60000]):
        raw(noise.randbytes(length), to)
        await station.counts(malformed=done + 1)
    raw(forged, to)
    await station.counts(forged=1)
    raw(good, to, ttl=2)  # was routed here, as far as one can tell
    await station.counts(from_elsewhere=1)
    raw(good, ("127.0.0.1", group.port))  # nobody listens there
    assert station.heard == []
    raw(good, to)
    await station.counts(proven=1)
    assert [(beacon.port, host) for beacon, host in station.heard] == [(5, "127.0.0.5")]
    assert station.lan.counts == {"malformed": 9, "forged": 1, "from elsewhere": 1, "proven": 1}


async def test_a_flood_from_one_host_costs_few_signature_checks_and_silences_nobody_else(
    nursery: trio.Nursery, group: Group, raw: Callable[..., None]
) -> None:
    station = Station(group, Address("127.0.0.1", 1))
    await nursery.start(station.run)
    start = trio.current_time()
    good = BeaconCodec(Identity.generate(), "tests", bytes(START_BYTES)).write(BeaconKind.HELLO, 5)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    while station.lan.counts["limited"] < 200:
        for _ in range(50):
            raw(forged, (group.v4, group.port), source="127.0.0.6")
        await trio.sleep(0.02)
    took = trio.current_time() - start
    assert BEACON_BURST <= station.lan.counts["forged"] <= BEACON_BURST + 1 + took * BEACONS_PER_S
    other = Station(group, Address("127.0.0.7", 7))
    await nursery.start(other.run)
    assert await station.hears(other.peer_id, BeaconKind.HELLO) == ("127.0.0.7", 7)


async def test_a_flood_from_many_hosts_takes_bounded_memory(
    nursery: trio.Nursery, group: Group, raw: Callable[..., None]
) -> None:
    station = Station(group, Address("127.0.0.1", 1))
    await nursery.start(station.run)
    forged = BeaconCodec(Identity.generate(), "tests", bytes(START_BYTES)).write(BeaconKind.HELLO, 5)[:-1] + b"x"
    with trio.fail_after(PATIENCE_S):
        for number in count():
            if station.lan.counts["forged"] + station.lan.counts["limited"] > MAX_HOSTS + 200:
                break
            raw(forged, (group.v4, group.port), source=f"127.1.{number // 250 % 250}.{number % 250 + 1}")
            if number % 50 == 0:
                await trio.sleep(0.02)
    assert len(station.lan._hosts) == MAX_HOSTS


# Segments.


def test_a_peer_on_loopback_is_on_loopback_only() -> None:
    assert segments([Address("127.0.0.1", 5), Address("127.0.0.1", 6)]) == [
        Segment(0, "127.0.0.1", 5),
        Segment(0, "127.0.0.1", 6),
    ]
    assert all(segment.host == "::1" for segment in segments([Address("::1", 5)]))


def test_a_wildcard_is_every_interface_but_loopback() -> None:
    found = segments([Address("0.0.0.0", 5), Address("::", 6)])
    loopback = socket.if_nametoindex("lo")
    assert not [segment for segment in found if segment.interface == loopback or segment.host.startswith("127.")]
    assert all(segment.interface and segment.port == (6 if segment.is_v6 else 5) for segment in found)
    assert all(segment.host.startswith("fe80:") for segment in found if segment.is_v6)


def test_segments_are_bounded() -> None:
    many = [Address(f"127.0.0.{number}", 5) for number in range(1, 200)]
    assert len(segments(many)) == MAX_SEGMENTS


def test_a_name_is_no_segment() -> None:
    assert segments([Address("localhost", 5)]) == []


def test_where_there_is_no_multicast_there_is_no_channel() -> None:
    with pytest.raises(OSError, match=r".+"):
        Channel(Segment(0, "192.0.2.77", 5), GROUP)


async def test_a_segment_without_multicast_is_left_out(nursery: trio.Nursery, group: Group) -> None:
    station = Station(group, Address("192.0.2.77", 5), Address("::1", 6), Address("127.0.0.1", 7))
    other = Station(group, Address("127.0.0.1", 8))
    await nursery.start(station.run)
    await nursery.start(other.run)
    assert await other.hears(station.peer_id, BeaconKind.HELLO) == ("127.0.0.1", 7)
    await station.stop()
    await other.hears(station.peer_id, BeaconKind.LEAVING)
