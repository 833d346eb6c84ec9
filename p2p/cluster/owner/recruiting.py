"""Finds the members of a cluster: asks peers that the user trusts for room, all at once."""

from collections.abc import Iterable

import trio

from p2p.cluster.deps import Deps
from p2p.cluster.owner.seats import SEAT, LentSeat
from p2p.errors import PeerError
from p2p.ids import PeerId, compared
from p2p.wire import cluster as wire
from p2p.wire.link import PeerHint

AGAIN_S = 3.0
"""A peer that refused, or could not be reached, is asked again after so long, while members are missing."""


class Recruiting:
    """One search: who was asked, who came, and why others did not."""

    def __init__(self, deps: Deps, ask: wire.AskAllocation, peers: Iterable[PeerId], hints: Iterable[PeerHint]) -> None:
        """`hints` are asked where they are; of `peers`, others are asked where they are."""
        self._deps = deps
        self._ask = ask
        self._hints = tuple(hints)
        self._peers = tuple(dict.fromkeys(peers))
        self._found: list[LentSeat] = []
        self._enough = trio.Event()
        self._wanted = 0
        self._taken: set[PeerId] = set()
        self.refusals: dict[str, str] = {}
        """Why a peer is not a member, by its id or address as people see it."""

    async def find(self, wanted: int, taken: Iterable[PeerId], wait_s: float) -> list[LentSeat]:
        """Members that offer room: as many as are wanted, or those that there are after `wait_s` seconds."""
        self._wanted, self._found, self._taken = wanted, [], set(taken)
        self._enough = trio.Event()
        if wanted <= 0 or not (self._peers or self._hints):
            return []
        try:
            with trio.move_on_after(wait_s):
                async with trio.open_nursery() as nursery:
                    for hint in self._hints:
                        nursery.start_soon(self._keep_asking_at, hint)
                    for peer in self._peers:
                        nursery.start_soon(self._keep_asking, peer)
                    await self._enough.wait()
                    nursery.cancel_scope.cancel()
        except BaseException:
            for seat in self._found:
                seat.close()
            raise
        return self._found

    async def _keep_asking_at(self, hint: PeerHint) -> None:
        while True:
            await SEAT.absorb(self._try, hint)
            await trio.sleep(AGAIN_S)

    async def _keep_asking(self, peer: PeerId) -> None:
        while peer not in self._taken:
            await SEAT.absorb(self._look_for, peer)
            await trio.sleep(AGAIN_S)

    async def _look_for(self, peer: PeerId) -> None:
        """Asks a peer at each address that others know of it, until it has answered."""
        tried: set[PeerHint] = set()
        async with trio.open_nursery() as nursery:

            def heard(hint: PeerHint) -> None:
                if hint not in tried:
                    tried.add(hint)
                    nursery.start_soon(SEAT.absorb, self._try, hint)

            await self._deps.discovery.finders.find_peer(peer, heard)
        if not tried:
            self.refusals[compared(peer)] = "nobody knows where it is"

    async def _try(self, hint: PeerHint) -> None:
        if self._enough.is_set() or hint.peer_id in self._taken:
            return
        who = compared(hint.peer_id) if hint.peer_id else str(hint.address)
        try:
            connection = await self._deps.presence.contacts.dial(hint.address, hint.peer_id)
        except PeerError as error:
            self.refusals[who] = str(error)
            return
        seat = LentSeat(connection, self._ask)
        if seat.peer in self._taken or self._enough.is_set():
            seat.close()
            return
        self._taken.add(seat.peer)
        try:
            await seat.ask()
        except BaseException as error:
            self._taken.discard(seat.peer)
            seat.close()
            if not isinstance(error, PeerError):
                raise
            self.refusals[who] = str(error)
            return
        self.refusals.pop(who, None)
        if self._enough.is_set():
            seat.close()
            return
        self._found.append(seat)
        if len(self._found) >= self._wanted:
            self._enough.set()
        await seat.keep()
