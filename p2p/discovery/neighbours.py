"""Neighbours: peers on the local network, known by their beacons, which only say where to try to dial them.

A neighbour proves who it is when it is dialled. A beacon is valid only for the host that it came from, and for a single
run of the peer that sent it, so a replayed beacon can at worst add an address, and never remove one. A peer that was
silent for the time of three beacons is forgotten.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

import trio

from p2p.concurrency.walls import Wall
from p2p.discovery.dht import Overlays
from p2p.ids import PeerId
from p2p.net.dialer import Dialer
from p2p.net.lan import BEACON_INTERVAL_S, Lan
from p2p.reach.presence import Presence
from p2p.wire.address import Address, is_dialable_host
from p2p.wire.beacon import START_BYTES, Beacon, BeaconCodec, BeaconKind
from p2p.wire.link import PeerHint

NEIGHBOURHOOD = Wall("look at the local network")

FORGET_AFTER_S = 100.0
MAX_NEIGHBOURS = 1024
MAX_PER_HOST = 64
MAX_PER_PEER = 8
"""How many claims a peer may have, each of a host and a run: it may have IPv4 and IPv6, on cable and on wireless."""
GATHER_S = 0.1
MAX_WAYS_IN = 16

assert FORGET_AFTER_S > 3 * BEACON_INTERVAL_S


class _Claim(NamedTuple):
    """What a beacon claims: that a peer, in one run (named by `start`), is at the host that the beacon came from."""

    peer: PeerId
    start: bytes
    host: str


@dataclass
class _Heard:
    """The number, port and arrival time of the last beacon that made a claim."""

    number: int
    port: int
    at: float


class Neighbours:
    """The known peers on the local network: at most `MAX_NEIGHBOURS`, and none if this peer does not listen there."""

    def __init__(self) -> None:
        self._claims: dict[_Claim, _Heard] = {}
        """The last beacon of each claim. The claim heard most recently comes last."""
        self._changed = trio.Event()
        self.are_heard = False
        """Whether this peer listens on the local network."""

    def __len__(self) -> int:
        """How many neighbours there are, including those that cannot be dialled."""
        return len({claim.peer for claim in self._living()})

    def hints(self) -> list[PeerHint]:
        """Where neighbours can be dialled, those heard most recently first. A peer may be at several addresses."""
        found: dict[PeerHint, None] = {}
        for claim in reversed(self._living()):
            if port := self._claims[claim].port:
                found[PeerHint(Address(claim.host, port), claim.peer)] = None
        return list(found)

    async def changed(self) -> None:
        """Waits until a peer comes, goes or moves, and then a little longer, since several often come at once."""
        await self._changed.wait()
        await trio.sleep(GATHER_S)

    def heard(self, beacon: Beacon, host: str) -> bool:
        """Takes in a proven beacon that came from the host. Returns whether it was new, not a replay."""
        claim = _Claim(beacon.peer, beacon.start, host)
        before = self._claims.get(claim)
        if before is not None and beacon.number <= before.number:
            return False
        if beacon.kind is BeaconKind.LEAVING:
            return self._leave(beacon)
        if before is None and not self._has_room(claim):
            return False
        self._claims.pop(claim, None)
        self._claims[claim] = _Heard(beacon.number, beacon.port, trio.current_time())
        if before is None or before.port != beacon.port:
            self._ring()
        return True

    def _leave(self, beacon: Beacon) -> bool:
        """Removes only claims that the same run of the peer made earlier. Returns whether there were any."""
        gone = [
            claim
            for claim, heard in self._claims.items()
            if (claim.peer, claim.start) == (beacon.peer, beacon.start) and heard.number < beacon.number
        ]
        for claim in gone:
            del self._claims[claim]
        if gone:
            self._ring()
        return bool(gone)

    def _has_room(self, new: _Claim) -> bool:
        """Whether there is room for a claim. Invented peers displace no others; a peer's claim displaces its oldest."""
        living = self._living()
        if not is_dialable_host(new.host) or sum(claim.host == new.host for claim in living) >= MAX_PER_HOST:
            return False
        same = [claim for claim in living if claim.peer == new.peer]
        if len(same) >= MAX_PER_PEER:
            del self._claims[same[0]]
            return True
        return len(living) < MAX_NEIGHBOURS

    def _living(self) -> list[_Claim]:
        """Forgets claims without a beacon for too long. Returns the others, those heard most recently last."""
        oldest = trio.current_time() - FORGET_AFTER_S
        for claim in [claim for claim, heard in self._claims.items() if heard.at < oldest]:
            del self._claims[claim]
        return list(self._claims)

    def _ring(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def run(
    neighbours: Neighbours,
    dialer: Dialer,
    presence: Presence,
    overlays: Overlays,
    random: Random,
    listening: Sequence[Address],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sends and receives beacons until cancelled. `listening` is where this peer accepts connections, wildcards too."""
    codec = BeaconCodec(dialer.identity, dialer.network, os.urandom(START_BYTES))

    def is_dialable(address: Address) -> bool:
        return bool(presence.reachability.advertised((address,)))

    lan = Lan(codec, listening, neighbours.heard, random, is_dialable=is_dialable)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(NEIGHBOURHOOD.keep, partial(_hint_overlays, neighbours, overlays), random)
        nursery.start_soon(NEIGHBOURHOOD.keep, lan.run, random)
        neighbours.are_heard = True
        task_status.started()


async def _hint_overlays(neighbours: Neighbours, overlays: Overlays) -> None:
    """Names neighbours, which may be nodes, to the DHT. An address with a zone means nothing there."""
    while True:
        await neighbours.changed()
        plain = [hint.address for hint in neighbours.hints() if "%" not in hint.address.host]
        for address in plain[:MAX_WAYS_IN]:
            overlays.hint(address)
