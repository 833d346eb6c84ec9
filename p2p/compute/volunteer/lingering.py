"""Outputs of jobs whose owners left without ending them, kept for a while, since an owner may return and go on.

There are few places, which networks of owners share (`p2p.places.Seats`): of the network that has most, the outputs
that came last make room for those of a network that has fewer. Outputs that find no place are deleted at once.
"""

from typing import NamedTuple

from p2p.compute.execution.kept_outputs import OutputStore
from p2p.ids import PeerId
from p2p.places import Seats

MAX_LINGERING = 8
LINGER_S = 300.0
"""How long outputs are kept for an owner that left without ending its job."""


class _Left(NamedTuple):
    kept: OutputStore
    until: float


class LingeringOutputs:
    """The outputs that a volunteer keeps for owners that may return. A job is one of its owner's. Times in seconds."""

    def __init__(self) -> None:
        self._left: dict[tuple[bytes, PeerId], _Left] = {}
        self._seats: Seats[tuple[bytes, PeerId]] = Seats("lingering outputs", MAX_LINGERING)

    async def keep(self, job: bytes, owner: PeerId, host: str, kept: OutputStore, now: float) -> None:
        """Keeps the outputs of a job whose owner, at this host, has left; those that lose their place are deleted."""
        await self._drop((job, owner))
        entry = self._seats.enter((job, owner), host) if len(kept) else None
        if entry is None or not entry.admitted:
            await kept.clear()
            return
        self._left[job, owner] = _Left(kept, now + LINGER_S)
        if entry.displaced is not None:
            await self._drop(entry.displaced)

    def take(self, job: bytes, owner: PeerId, token: bytes) -> OutputStore | None:
        """Gives the outputs to an owner that has come back for them."""
        left = self._left.get((job, owner))
        if left is None or left.kept.token != token:
            return None
        self._seats.leave((job, owner))
        return self._left.pop((job, owner)).kept

    def find(self, job: bytes, token: bytes) -> OutputStore | None:
        """The outputs of a job that others want to read."""
        found = (left.kept for (other, _), left in self._left.items() if other == job and left.kept.token == token)
        return next(found, None)

    async def expire(self, now: float) -> None:
        """Deletes the outputs whose owners have not come back."""
        for key in [key for key, left in self._left.items() if left.until <= now]:
            await self._drop(key)

    async def _drop(self, key: tuple[bytes, PeerId]) -> None:
        self._seats.leave(key)
        left = self._left.pop(key, None)
        if left is not None:
            await left.kept.clear()
