"""Reachability: whether others can dial this peer, according to the evidence.

Evidence about one kind of address (IPv4 or IPv6; this machine, a private network, or everywhere) says nothing about the
other kinds: a peer behind a router can be dialled by its neighbours only. A connection that another peer dialled,
and over which it proved who it is, shows that this peer can be dialled. The lack of such a connection shows nothing, so
only trackers, which have tried, can say that this peer cannot be dialled. Evidence expires, since the machine may have
moved.
"""

from collections.abc import Iterable
from enum import StrEnum

import trio

from p2p.wire.address import Address, Scope, ip, scope

REMEMBERED_S = 3600.0
MAX_TRACKERS = 64

_Kind = tuple[int, int]
"""A kind of address: its scope and IP version."""


class Reach(StrEnum):
    """Whether this peer can be dialled."""

    UNKNOWN = "unknown"
    DIALABLE = "dialable"
    NOT_DIALABLE = "not dialable"


class Reachability:
    """Weighs the evidence. With `never`, the user says that this peer cannot be dialled; all evidence is ignored."""

    def __init__(self, *, never: bool = False) -> None:
        self.never = never
        self._dialled: dict[_Kind, float] = {}
        self._trackers: dict[str, tuple[_Kind, bool, float]] = {}

    def dialled_from(self, host: str) -> None:
        """Records that a peer at this host dialled here, and proved who it is."""
        self._dialled[_kind(host)] = trio.current_time()

    def tracker_says(self, url: str, dialable: bool, host: str) -> None:
        """Records whether a tracker that sees this peer at `host` could dial this peer back."""
        self._trackers.pop(url, None)
        self._trackers[url] = (_kind(host), dialable, trio.current_time())
        if len(self._trackers) > MAX_TRACKERS:
            del self._trackers[next(iter(self._trackers))]

    def forget(self) -> None:
        """Forgets all evidence, since this machine is in another network now."""
        self._dialled.clear()
        self._trackers.clear()

    @property
    def state(self) -> Reach:
        """Whether this peer can be dialled, for the widest kind of address about which there is evidence."""
        return self._widest()[0]

    @property
    def scope(self) -> int | None:
        """The `Scope` of `state`: how far away the peers are that can, or cannot, dial this one. None if unknown."""
        return self._widest()[1]

    def advertised(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """Those of the addresses that may be given to others: all except those known to be out of their reach."""
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
