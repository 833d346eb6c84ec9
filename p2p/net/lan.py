"""The local network: sends this peer's beacons on all segments, and checks the beacons of others.

A beacon goes out at the start, every 30 seconds, in answer to another peer's hello, and to say goodbye. The cost of
what comes in is bounded: per second, only a limited number of datagrams are looked at, and signatures are checked only
for some of them, with a limit for each host. Interfaces may come and go; a segment without multicast is left out.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, repeat
from random import Random

import trio

from p2p.bucket import TokenBucket, TokenBuckets
from p2p.concurrency.walls import Wall
from p2p.errors import InternalError, MalformedMessage
from p2p.net.multicast import Channel, Group, Segment, segments
from p2p.wire.address import Address
from p2p.wire.beacon import BEACON_BYTES, Beacon, BeaconCodec, BeaconKind

logger = logging.getLogger(__name__)

BEACON = Wall("beacon")

GROUP = Group("239.255.74.77", "ff12::8000:7477", 7477)
"""IPv4: the local scope (RFC 2365), never routed out of a site. IPv6: a transient link-local group (RFC 4291)."""
HELLOS_AFTER_S = (0.0, 1.5)
"""Pauses before the hellos. There are two hellos because multicast is easily lost, above all on wireless networks."""
BEACON_INTERVAL_S = 30.0
JITTER = 0.1
ANSWER_WITHIN_S = 0.3
"""The longest pause before an answer. Pauses are random, so that the peers on a segment do not all answer at once."""
ANSWER_INTERVAL_S = 1.0
INTERFACES_INTERVAL_S = 10.0
BEACONS_PER_S, BEACON_BURST = 10.0, 100.0
"""The most beacons from one host, which may have several peers: per second, and at once."""
ALL_BEACONS_PER_S, ALL_BEACON_BURST = 200.0, 1000.0
"""The most beacons from all hosts together: verifying this many takes 2 % of a core."""
MAX_HOSTS = 1024
MAX_BEACONS_PER_TURN, BREATH_S = 64, 0.02
"""Limits that let this peer look at 3,200 datagrams per second in a flood; the operating system drops the rest."""

Heard = Callable[[Beacon, str], bool]
"""Takes a proven beacon and the host it came from; returns whether it was new, not a replay."""


class Lan:
    """Sends this peer's beacons on its local networks, and receives the beacons of others.

    `listening` are the addresses where this peer accepts connections; `is_dialable` tells whether to announce a given
    address.
    """

    def __init__(
        self,
        codec: BeaconCodec,
        listening: Sequence[Address],
        heard: Heard,
        random: Random,
        *,
        is_dialable: Callable[[Address], bool] = lambda address: True,
        group: Group = GROUP,
        interfaces_every_s: float = INTERFACES_INTERVAL_S,
    ) -> None:
        self._codec = codec
        self._listening = listening
        self._heard = heard
        self._random = random
        self._is_dialable = is_dialable
        self._group = group
        self._interfaces_every_s = interfaces_every_s
        self._channels: dict[Segment, tuple[Channel, trio.CancelScope]] = {}
        self._hosts = TokenBuckets(BEACONS_PER_S, BEACON_BURST, MAX_HOSTS)
        self._all = TokenBucket(ALL_BEACONS_PER_S, ALL_BEACON_BURST, trio.current_time())
        self.counts: Counter[str] = Counter()
        """How many beacons were proven, and how many were dropped for each reason."""

    @property
    def segments(self) -> list[Segment]:
        """The segments on which beacons are sent and received now."""
        return list(self._channels)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sends and listens until cancelled, then says goodbye."""
        try:
            async with trio.open_nursery() as nursery:
                self._follow_interfaces(nursery)
                task_status.started()
                while True:
                    await trio.sleep(self._interfaces_every_s)
                    self._follow_interfaces(nursery)
        finally:
            for channel, _ in list(self._channels.values()):
                self._say(channel, BeaconKind.LEAVING)
            for segment in self.segments:
                self._drop(segment)

    def _follow_interfaces(self, nursery: trio.Nursery) -> None:
        try:
            now = segments(self._listening)
        except OSError as error:  # for example, no descriptor is left
            logger.debug("cannot look for interfaces: %s", error)
            return
        for segment in set(self._channels) - set(now):
            self._drop(segment)
        for segment in now:
            if segment in self._channels:
                continue
            try:
                channel = Channel(segment, self._group)
            except OSError as error:
                logger.debug("no local network at %s: %s", segment.host, error)
                continue
            logger.debug("on the local network at %s", segment.host)
            scope = trio.CancelScope()
            self._channels[segment] = channel, scope
            nursery.start_soon(self._attend, channel, scope)

    def _drop(self, segment: Segment) -> None:
        """Gives up a segment, which is tried again as long as its interface is there."""
        if segment in self._channels:
            channel, scope = self._channels.pop(segment)
            scope.cancel()  # this comes first, so that no task waits for a closed socket
            channel.close()

    async def _attend(self, channel: Channel, scope: trio.CancelScope) -> None:
        asked = _Bell()
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._announce, channel)
                nursery.start_soon(self._answer, channel, asked)
                nursery.start_soon(self._listen, channel, asked)

    # Sending.

    async def _announce(self, channel: Channel) -> None:
        for kind, pause in self._rhythm():
            await trio.sleep(pause)
            self._say(channel, kind)

    def _rhythm(self) -> Iterator[tuple[BeaconKind, float]]:
        hellos = ((BeaconKind.HELLO, pause) for pause in HELLOS_AFTER_S)
        for kind, pause in chain(hellos, repeat((BeaconKind.HERE, BEACON_INTERVAL_S))):
            yield kind, pause * self._random.uniform(1 - JITTER, 1 + JITTER)

    async def _answer(self, channel: Channel, asked: "_Bell") -> None:
        """Sends one answer to all peers that ask at about the same time."""
        while True:
            await asked.rung()
            await trio.sleep(self._random.uniform(0, ANSWER_WITHIN_S))
            asked.reset()
            self._say(channel, BeaconKind.HERE)
            await trio.sleep(ANSWER_INTERVAL_S)

    def _say(self, channel: Channel, kind: BeaconKind) -> None:
        segment = channel.segment
        port = segment.port if self._is_dialable(Address(segment.host, segment.port)) else 0
        try:
            channel.send(self._codec.write(kind, port))
        except OSError as error:
            logger.debug("cannot send a beacon from %s: %s", segment.host, error)
            self._drop(segment)

    # Receiving.

    async def _listen(self, channel: Channel, asked: "_Bell") -> None:
        while True:
            await trio.lowlevel.wait_readable(channel.socket)
            for _ in range(MAX_BEACONS_PER_TURN):
                try:
                    data, host = channel.receive(BEACON_BYTES + 1)
                except BlockingIOError:
                    break
                except OSError as error:
                    logger.debug("the local network at %s is gone: %s", channel.segment.host, error)
                    self._drop(channel.segment)
                    break
                with suppress(InternalError), BEACON.around():
                    if self._take(data, host):
                        asked.ring()
            await trio.sleep(BREATH_S)

    def _take(self, data: bytes, host: str | None) -> bool:
        """Handles a datagram. Returns whether it is a hello to answer."""
        if host is None:
            self.counts["from elsewhere"] += 1
            return False
        try:
            beacon = self._codec.read(data)
        except MalformedMessage:
            self.counts["malformed"] += 1
            return False
        if beacon.peer == self._codec.peer_id:
            return False
        if not self._admits(host):
            self.counts["limited"] += 1
            return False
        if not self._codec.proven(beacon):
            self.counts["forged"] += 1
            return False
        self.counts["proven"] += 1
        return self._heard(beacon, host) and beacon.kind is BeaconKind.HELLO

    def _admits(self, host: str) -> bool:
        """Whether a beacon from this host may have its signature checked now."""
        now = trio.current_time()
        return self._hosts.try_take(host, 1, now) and self._all.try_take(1, now)


class _Bell:
    """A signal for which one task waits, and which any number of tasks may give (`ring`)."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    def reset(self) -> None:
        if self._event.is_set():
            self._event = trio.Event()

    async def rung(self) -> None:
        await self._event.wait()
