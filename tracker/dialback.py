"""Finds out whether a peer can be dialled where it claims. Dials only the address that the peer's announce came from.

A handshake proves that the peer itself is there. Results are kept for a while; a peer that was not reached is dialled
again sooner than a peer that was reached. The queue, the number of simultaneous dials, and the rate of dials per
address are bounded; networks share the queue, take turns, and have few dials each at a time, as a dial of a host that
says nothing takes ten seconds.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import PeerError
from p2p.ids import PeerId, short
from p2p.net.dialer import Dialer
from p2p.net.http_server.refusals import TooMuch, subject
from p2p.places import Seats, network_of
from p2p.round_robin import RoundRobin
from p2p.wire.address import Address, is_dialable_host
from tracker.limits import Limits, Rates

logger = logging.getLogger(__name__)

DIAL = Wall("dial-back")

AT_ONCE = 16
AT_ONCE_OF_A_NETWORK = 4
GOOD_FOR_S, BAD_FOR_S = 3600.0, 600.0
MAX_KEPT = 100_000


class DialTarget(NamedTuple):
    """A peer, and the address at which it claims that it can be dialled."""

    peer: PeerId
    host: str
    port: int


class DialBack:
    """Dials peers in the background; `tell` is called with each result."""

    def __init__(self, dialer: Dialer, limits: Limits, tell: Callable[[DialTarget, bool], Awaitable[None]]) -> None:
        self._dialer = dialer
        self._tell = tell
        self._rates = Rates(limits.dial_rate, limits.dial_burst)
        self._found: OrderedDict[DialTarget, float] = OrderedDict()
        self._pending: Seats[DialTarget] = Seats("peers to dial back", limits.waiting_dials)
        self._waiting: RoundRobin[DialTarget] = RoundRobin()
        self._dialling: Counter[Hashable] = Counter()
        """How many of each network are being dialled."""
        self._news = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Dials until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)
            task_status.started()

    def is_pending(self, place: DialTarget) -> bool:
        """Whether a dial of the peer at this address is queued or under way."""
        return place in self._pending

    def look(self, place: DialTarget, now: float, known: bool | None) -> None:
        """Queues a dial of the peer at this address, unless there is a recent result. `known` comes from the store."""
        if place.port == 0 or place in self._pending or not is_dialable_host(place.host):
            return
        if known is not None and now < self._found.get(place, 0.0):
            return
        try:
            self._rates.take(subject(place.host), now)
        except TooMuch:
            return  # its next announce asks again
        entry = self._pending.enter(place, place.host)
        if entry.displaced is not None:
            self._waiting.drop(entry.displaced)
        if entry.admitted:
            self._waiting.add(place, network_of(place.host), place.host)
            self._wake()

    def keep(self, place: DialTarget, dialable: bool, now: float) -> None:
        """Keeps a result for a while."""
        self._found[place] = now + (GOOD_FOR_S if dialable else BAD_FOR_S)
        self._found.move_to_end(place)
        if len(self._found) > MAX_KEPT:
            self._found.popitem(last=False)

    async def _work(self) -> None:
        while True:
            place = await self._next()
            network = network_of(place.host)
            self._dialling[network] += 1
            try:
                await DIAL.contain(self._try, place)
            finally:
                self._dialling -= Counter([network])
                self._pending.leave(place)
                self._wake()

    async def _next(self) -> DialTarget:
        """Waits for the next to be dialled, whose turn it is and whose network has not too many dials under way."""
        while True:
            for place in self._waiting.heads():
                if self._dialling[network_of(place.host)] < AT_ONCE_OF_A_NETWORK:
                    self._waiting.serve(place)
                    return place
            await self._news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _try(self, place: DialTarget) -> None:
        await self._tell(place, await self._is_there(place))

    async def _is_there(self, place: DialTarget) -> bool:
        try:
            connection = await self._dialer.dial(Address(place.host, place.port), place.peer)
        except PeerError as error:
            logger.debug("dial-back to %s at %s: %s", short(place.peer), place.host, error)
            return False
        connection.close()
        return True
