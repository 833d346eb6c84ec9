"""Reachability: whether others can dial this peer, as far as the evidence goes.

Evidence about one kind of address (IPv4 or IPv6; this machine, a private network, everywhere) says nothing about the
others: a peer behind a router can be dialled by its neighbours, and by nobody else. A proven connection that somebody
dialled here proves that this peer can be dialled. The lack of one proves nothing, so only trackers, which have tried,
can say that it cannot. Evidence expires: the machine may have moved.
"""

from collections.abc import Iterable
from enum import StrEnum

import trio

from p2p.wire.address import Address, Scope, ip, scope

REMEMBERED_S = 3600.0
MAX_TRACKERS = 64

_Kind = tuple[int, int]
"""Scope and IP version."""


class Reach(StrEnum):
    """Whether this peer can be dialled."""

    UNKNOWN = "unknown"
    DIALABLE = "dialable"
    NOT_DIALABLE = "not dialable"


class Reachability:
    """The evidence. If `never`, the user says that this peer cannot be dialled: no evidence is needed or believed."""

    def __init__(self, *, never: bool = False) -> None:
        self.never = never
        self._dialled: dict[_Kind, float] = {}
        self._trackers: dict[str, tuple[_Kind, bool, float]] = {}

    def dialled_from(self, host: str) -> None:
        """Records that a peer at this host dialled here, and proved who it is."""
        self._dialled[_kind(host)] = trio.current_time()

    def tracker_says(self, url: str, dialable: bool, host: str) -> None:
        """Records whether a tracker that sees this peer at `host` reached it when it dialled back."""
        self._trackers.pop(url, None)
        self._trackers[url] = (_kind(host), dialable, trio.current_time())
        if len(self._trackers) > MAX_TRACKERS:
            del self._trackers[next(iter(self._trackers))]

    def forget(self) -> None:
        """Forgets all evidence: this machine is in another network now."""
        self._dialled.clear()
        self._trackers.clear()

    @property
    def state(self) -> Reach:
        """The verdict on the widest kind of address for which there is one."""
        return self._widest()[0]

    @property
    def scope(self) -> int | None:
        """The `Scope` for which `state` holds: how far away the peers are that can dial, or cannot. None if unknown."""
        return self._widest()[1]

    def advertised(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """Which of this peer's addresses others may be told: all but those at which it is known to be out of reach."""
        if self.never:
            return ()
        return tuple(address for address in addresses if self._of(_kind(address.host)) is not Reach.NOT_DIALABLE)

    def _of(self, kind: _Kind) -> Reach:
        oldest = trio.current_time() - REMEMBERED_S
        said = [yes for about, yes, at in self._trackers.values() if about == kind and at >= oldest]
        if any(said) or self._dialled.get(kind, oldest - 1) >= oldest:
            return Reach.DIALABLE
        return Reach.NOT_DIALABLE if said else Reach.UNKNOWN

    def _widest(self) -> tuple[Reach, int | None]:
        if self.never:
            return Reach.NOT_DIALABLE, Scope.GLOBAL
        for width in (Scope.GLOBAL, Scope.PRIVATE, Scope.MACHINE):
            verdicts = {self._of((width, version)) for version in (4, 6)}
            for verdict in (Reach.DIALABLE, Reach.NOT_DIALABLE):
                if verdict in verdicts:
                    return verdict, width
        return Reach.UNKNOWN, None


def _kind(host: str) -> _Kind:
    address = ip(host)
    return scope(host), 4 if address is None else address.version
