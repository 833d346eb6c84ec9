"""Determines what to announce to one tracker: the difference between what it knows and what is offered, in bounded
steps.

Each announce contains what has changed since the previous one, and has a sequence number. If the tracker's last
sequence number is a different one, it answers with a conflict, and everything is announced again.
"""

from collections.abc import Iterable

from p2p.advertising.inventory import InventoryEntry
from p2p.ids import to_text
from p2p.wire.tracker import (
    MAX_SHARES_PER_ANNOUNCE,
    Announce,
    Listing,
    Provided,
    key_text,
    provider_key,
)

MAX_ANNOUNCE_BYTES = 768 * 1024
"""Roughly the most bytes in one announce: half of what a tracker accepts."""
EXPIRES_S = 3600

Told = Listing | Provided


class TrackerDelta:
    """Keeps track of what one tracker knows about this peer, and of what must still be announced to it."""

    def __init__(self) -> None:
        self._known: dict[str, Told] = {}
        self._wanted: dict[str, Told] = {}
        self._sequence = 0
        self._anew = True

    def want(self, offered: Iterable[InventoryEntry], also: Iterable[Provided] = ()) -> None:
        """Sets what the tracker should know; `also` is announced as if it were shares."""
        wanted: dict[str, Told] = {}
        for one in offered:
            key = key_text(provider_key(one.share))
            if one.listed:
                wanted[key] = Listing(to_text(one.share), one.name, one.size, one.files, one.contents, whole=one.whole)
            else:
                wanted[key] = Provided(key, whole=one.whole)
        wanted |= {one.key: one for one in also}
        self._wanted = wanted

    @property
    def is_pending(self) -> bool:
        """Whether there is anything that the tracker does not know yet."""
        return self._anew or self._known != self._wanted

    def step(self, tracker: str, network: str, port: int, clock_ms: int) -> tuple[Announce, dict[str, Told | None]]:
        """Returns the next announce, and what the tracker will know of each key in it (None: nothing) once it has
        accepted it.
        """
        known = {} if self._anew else self._known
        change: dict[str, Told | None] = {}
        size = 0
        for key, told in self._wanted.items():
            if known.get(key) != told:
                size += _size(told)
                if change and (size > MAX_ANNOUNCE_BYTES or len(change) >= MAX_SHARES_PER_ANNOUNCE):
                    break
                change[key] = told
        gone = [key for key in known if key not in self._wanted][: MAX_SHARES_PER_ANNOUNCE - len(change)]
        change |= dict.fromkeys(gone)
        announce = Announce(
            tracker=tracker,
            network=network,
            # Taken from the clock, so that a peer that forgot its last sequence number still uses a higher one.
            sequence=max(self._sequence + 1, clock_ms),
            previous=self._sequence,
            reset=self._anew,
            expires_s=EXPIRES_S,
            port=port,
            add=tuple(told for told in change.values() if isinstance(told, Listing)),
            provide=tuple(told for told in change.values() if isinstance(told, Provided)),
            drop=tuple(gone),
        )
        return announce, change

    def taken(self, announce: Announce, change: dict[str, Told | None]) -> None:
        """Records that the tracker has accepted the announce."""
        if announce.reset:
            self._known = {}
        self._anew = False
        self._sequence = announce.sequence
        for key, told in change.items():
            if told is None:
                self._known.pop(key, None)
            else:
                self._known[key] = told

    def conflict(self, sequence: int) -> None:
        """Records that the tracker knows another history, up to this sequence number, so everything must be announced
        again.
        """
        self._anew = True
        self._sequence = max(self._sequence, sequence)


def _size(told: Told) -> int:
    if isinstance(told, Provided):
        return 64
    return 200 + 6 * len(told.name) + sum(40 + 6 * len(content.path) for content in told.contents)
