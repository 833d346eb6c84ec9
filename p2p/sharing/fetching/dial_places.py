"""Which addresses of a fetch are dialled, and keep their connections: those that give something, and a few on trial.

An address without a place waits. Turns go round: first by who named the addresses, then by their networks. An address
asks for a place at once if nobody whose addresses the same peer named waits; so newcomers of another network are
dialled at once, and a peer that names many does not have them dialled in a rush. The rule is in `p2p.places`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2p.errors import PeerGone
from p2p.places import Places, network_of
from p2p.round_robin import RoundRobin

PERIOD_S = 60.0
ASK_INTERVAL_S = 1.0
"""How often one of those that wait asks again, if all places are taken."""
_TRIED_SHARE = 4
"""One place in so many is for addresses on trial."""


@dataclass(eq=False)
class Dialled:
    """One address that is dialled, or waits for that; `given` returns how much of use has come from there so far."""

    host: str
    named_by: str
    given: Callable[[], float]
    counted: float = 0.0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    turn: trio.Event = field(default_factory=trio.Event)


class DialPlaces:
    """The places of one fetch's addresses, at most `most`, and those that wait for one."""

    def __init__(self, most: int) -> None:
        self._places: Places[Dialled] = Places("dialled sources", most, max(1, most // _TRIED_SHARE), PERIOD_S)
        self._holders: set[Dialled] = set()
        self._waiting: RoundRobin[Dialled] = RoundRobin()
        self._asked_again = float("-inf")

    @asynccontextmanager
    async def hold(self, host: str, named_by: str, given: Callable[[], float]) -> AsyncIterator[None]:
        """Waits for a place and holds it for the body. Raises PeerGone if another gets it."""
        dialled = Dialled(host, named_by, given, given())
        try:
            await self._wait(dialled)
            with dialled.scope:
                yield
        finally:
            self._leave(dialled)
        if dialled.scope.cancelled_caught:
            raise PeerGone("another source has its place")

    async def _wait(self, dialled: Dialled) -> None:
        lane = network_of(dialled.named_by)
        if not self._waiting.has(lane) and self._enter(dialled):
            return
        self._waiting.add(dialled, lane, network_of(dialled.host))
        while not dialled.turn.is_set():
            with trio.move_on_after(ASK_INTERVAL_S):
                await dialled.turn.wait()
            if trio.current_time() >= self._asked_again + ASK_INTERVAL_S:
                self._asked_again = trio.current_time()
                self._ask_next()

    def _ask_next(self) -> None:
        """Has the next of those that wait ask for a place."""
        if self._waiting:
            following = self._waiting.heads()[0]
            lane, network = network_of(following.named_by), network_of(following.host)
            self._waiting.serve(following)
            if self._enter(following):
                following.turn.set()
            else:
                self._waiting.add(following, lane, network)

    def _enter(self, dialled: Dialled) -> bool:
        now = trio.current_time()
        if self._places.is_full:
            for other in self._holders:
                given = other.given()
                self._places.useful(other, max(0.0, given - other.counted), now)
                other.counted = given
        entry = self._places.enter(dialled, dialled.host, now, named_by=dialled.named_by)
        if entry.displaced is not None:
            self._holders.discard(entry.displaced)
            entry.displaced.scope.cancel()
        if entry.admitted:
            self._holders.add(dialled)
        return entry.admitted

    def _leave(self, dialled: Dialled) -> None:
        self._waiting.drop(dialled)
        self._holders.discard(dialled)
        self._places.leave(dialled)
        if not self._places.is_full:
            self._ask_next()
