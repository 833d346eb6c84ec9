"""Who is in which BitTorrent swarm, in memory: who has a place there, and whom others are told of.

Places are bounded for all swarms together, and networks share them (`p2p.places.Seats`); a swarm has no bound of its
own, so nobody can fill one. When members are told, each network has its turn: however many of one crowd into a swarm,
others are told of as often as its members together.

Everything takes the same short time, however many members there are. All of them expire.
"""

import socket
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from itertools import chain
from random import Random
from typing import NamedTuple

from p2p.places import Seats, network_of
from p2p.wire.address import Scope, scope

MAX_MEMBERS = 200_000
MAX_PER_NETWORK = 5_000
"""The most members of one network, an IPv4 /24 or an IPv6 /48, in all swarms; its hosts share them."""
MAX_PER_ADDRESS = 2_000
EXPIRED_AT_ONCE = 256


class Place(NamedTuple):
    """Where a client can be dialled, as others are told; `packed` as in BEP 23 and 7."""

    host: str
    port: int
    packed: bytes


def place_at(host: str, port: int) -> Place:
    """The place at this IP address and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Place(host, port, socket.inet_pton(family, host) + port.to_bytes(2, "big"))


class Member:
    """A client in a swarm."""

    __slots__ = ("at", "network", "outside", "peer_id", "place", "reach", "scope", "seeds", "swarm", "until")

    def __init__(
        self, swarm: "Swarm", place: Place, scope: int, outside: Place | None, peer_id: bytes, *, seeds: bool
    ) -> None:
        self.swarm = swarm
        self.place = place
        self.scope = scope
        self.outside = outside
        """Where it can be dialled from outside its private network; None if nowhere that is known."""
        self.peer_id = peer_id
        self.network = network_of(place.host)
        self.reach = scope if outside is None else Scope.GLOBAL
        """The widest scope of clients that can dial it."""
        self.seeds = seeds
        self.until = 0.0
        self.at = 0
        """Its position in its lane."""

    def seen_from(self, scope: int) -> Place:
        """Where a client whose address is of this scope, at most `reach`, can dial this one."""
        return self.place if self.scope >= scope or self.outside is None else self.outside


class _Lane:
    """The members of one network that the same clients are told of, in no order."""

    __slots__ = ("at", "members", "network")

    def __init__(self, network: Hashable, at: int) -> None:
        self.network = network
        self.at = at
        """Its position among the lanes."""
        self.members: list[Member] = []


class _Lanes:
    """Those of all networks, in no order."""

    __slots__ = ("_of", "all")

    def __init__(self) -> None:
        self.all: list[_Lane] = []
        self._of: dict[Hashable, _Lane] = {}

    def add(self, member: Member) -> None:
        lane = self._of.get(member.network)
        if lane is None:
            lane = self._of[member.network] = _Lane(member.network, len(self.all))
            self.all.append(lane)
        member.at = len(lane.members)
        lane.members.append(member)

    def remove(self, member: Member) -> None:
        lane = self._of[member.network]
        last = lane.members.pop()
        if last is not member:
            lane.members[member.at], last.at = last, member.at
        if lane.members:
            return
        del self._of[member.network]
        last_lane = self.all.pop()
        if last_lane is not lane:
            self.all[lane.at], last_lane.at = last_lane, lane.at


class Swarm:
    """The members of one swarm."""

    __slots__ = ("_lanes", "completed", "info_hash", "leeches", "seeds")

    def __init__(self, info_hash: bytes) -> None:
        self.info_hash = info_hash
        self.seeds = self.leeches = self.completed = 0
        self._lanes: dict[tuple[int, bool], _Lanes] = {}
        """By reach, and by whether they seed."""

    def add(self, member: Member) -> None:
        kind = member.reach, member.seeds
        if kind not in self._lanes:
            self._lanes[kind] = _Lanes()
        self._lanes[kind].add(member)
        self.seeds += member.seeds
        self.leeches += not member.seeds

    def remove(self, member: Member) -> None:
        self._lanes[member.reach, member.seeds].remove(member)
        self.seeds -= member.seeds
        self.leeches -= not member.seeds

    def sample(self, scope: int, most: int, rng: Random, *, seeds: bool) -> list[Member]:
        """At most so many members, at random, that a client of this scope can dial and has a use for.

        A client that seeds has no use for others that do. Networks have equal shares, as far as they have members.
        """
        kinds = [lanes.all for (reach, seed), lanes in self._lanes.items() if reach >= scope and not (seeds and seed)]
        count = sum(map(len, kinds))
        if most <= count:
            drawn = (_at(kinds, at).members for at in rng.sample(range(count), most))
            return [members[int(rng.random() * len(members))] for members in drawn]
        told: list[Member] = []
        lanes = list(chain.from_iterable(kinds))
        rng.shuffle(lanes)
        lanes.sort(key=lambda lane: len(lane.members))
        for number, lane in enumerate(lanes):
            share = (most - len(told)) // (len(lanes) - number)
            told += rng.sample(lane.members, min(len(lane.members), share))
        return told


def _at(kinds: list[list[_Lane]], at: int) -> _Lane:
    """The lane at this position of all lists together."""
    for lanes in kinds:
        if at < len(lanes):
            return lanes[at]
        at -= len(lanes)
    raise IndexError(at)


class Swarms:
    """All swarms and their members. They are never written to disk.

    `outside` are public addresses, at most one for each of IPv4 and IPv6, behind which the machines of this tracker's
    private network are reached, at the same ports.
    """

    def __init__(self, outside: Iterable[str] = ()) -> None:
        self._outside = {":" in host: host for host in outside}
        self._swarms: dict[bytes, Swarm] = {}
        self._members: OrderedDict[tuple[bytes, str, int], Member] = OrderedDict()
        """Those that have not announced for the longest time first."""
        self._seats: Seats[Member] = Seats("peers of torrents", MAX_MEMBERS, MAX_PER_NETWORK)

    @property
    def figures(self) -> tuple[int, int]:
        """The number of swarms, and the number of members in them."""
        return len(self._swarms), len(self._members)

    def swarm(self, info_hash: bytes) -> Swarm:
        """The swarm; one without members if nobody is in it."""
        return self._swarms.get(info_hash) or Swarm(info_hash)

    def keep(self, info_hash: bytes, place: Place, peer_id: bytes, *, seeds: bool, until: float) -> Member | None:
        """Keeps a client in a swarm until this time. None if there is no place for it."""
        key = info_hash, place.host, place.port
        member = self._members.get(key)
        if member is None:
            member = self._enter(info_hash, place, peer_id, seeds=seeds)
            if member is None:
                return None
        elif member.seeds != seeds:
            member.swarm.remove(member)
            member.seeds = seeds
            member.swarm.add(member)
        member.peer_id = peer_id
        member.until = until
        self._members.move_to_end(key)
        return member

    def leave(self, info_hash: bytes, place: Place) -> None:
        """Forgets a client in a swarm; does nothing if it is not there."""
        member = self._members.get((info_hash, place.host, place.port))
        if member is not None:
            self._forget(member)

    def expire(self, now: float) -> None:
        """Forgets some of the members whose time is over, few enough to be quick."""
        for _ in range(EXPIRED_AT_ONCE):
            oldest = next(iter(self._members.values()), None)
            if oldest is None or oldest.until > now:
                return
            self._forget(oldest)

    def _enter(self, info_hash: bytes, place: Place, peer_id: bytes, *, seeds: bool) -> Member | None:
        if self._seats.share(place.host)[-1] > MAX_PER_ADDRESS:
            return None
        swarm = self.swarm(info_hash)
        of = scope(place.host)
        public = self._outside.get(":" in place.host) if of == Scope.PRIVATE else None
        outside = None if public is None else place_at(public, place.port)
        member = Member(swarm, place, of, outside, peer_id, seeds=seeds)
        entry = self._seats.enter(member, place.host)
        if not entry.admitted:
            return None
        swarm.add(member)
        if entry.displaced is not None:
            self._forget(entry.displaced)
        self._swarms[swarm.info_hash] = swarm
        self._members[swarm.info_hash, place.host, place.port] = member
        return member

    def _forget(self, member: Member) -> None:
        swarm = member.swarm
        del self._members[swarm.info_hash, member.place.host, member.place.port]
        self._seats.leave(member)
        swarm.remove(member)
        if not swarm.seeds + swarm.leeches:
            del self._swarms[swarm.info_hash]
