"""Files that are read often, kept open: what the system has of them in memory is read at once, without a thread.

A thread costs a small read most of its time, and a stream half of its CPU: what one core has copied, another sends. So
the event loop reads by itself what needs no wait for a disk (RWF_NOWAIT, of Linux), and leaves all else to the threads.
Bytes are as good as theirs: the file still has its stamp when they have been read.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Iterator

from p2p.ids import ShareId
from p2p.store.stamps import Stamp

KEPT_OPEN = 16
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)

Key = tuple[ShareId, int]
"""An entry of a share."""


class AtHand:
    """The files read lately, at most KEPT_OPEN. `offer` and `sweep` are for threads, the rest for the event loop."""

    def __init__(self) -> None:
        self._files: OrderedDict[Key, int] = OrderedDict()
        """A descriptor of each; the one read last comes last."""
        self._offered: deque[tuple[Key, int]] = deque()
        self._closing: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._files) + len(self._offered) + len(self._closing)

    def read(self, key: Key, stamp: Stamp, offset: int, size: int, room: bytearray | None = None) -> bytearray | None:
        """Reads exactly these bytes, into the room if it has their size. Returns None if that may take time, or if the
        file has changed.
        """
        while self._offered:
            self._keep(*self._offered.popleft())
        descriptor = self._files.get(key)
        if descriptor is None or _NOWAIT is None:
            return None
        self._files.move_to_end(key)
        if room is None or len(room) != size:
            room = bytearray(size)
        try:
            if os.preadv(descriptor, [room], offset, _NOWAIT) == size and stamp.fits(os.fstat(descriptor)):
                return room
        except OSError:
            pass  # nothing of it is in memory, or the disk does not say
        return None

    def _keep(self, key: Key, descriptor: int) -> None:
        if key in self._files:
            self._closing.append(descriptor)
            return
        self._files[key] = descriptor
        if len(self._files) > KEPT_OPEN:
            self._closing.append(self._files.popitem(last=False)[1])

    def forget(self, share: ShareId) -> None:
        """Keeps no file of the share open, once `sweep` has been called."""
        while self._offered:
            self._keep(*self._offered.popleft())
        for key in [key for key in self._files if key[0] == share]:
            self._closing.append(self._files.pop(key))

    def offer(self, key: Key, descriptor: int) -> None:
        """Keeps a file open that has been read, unless many are offered and nobody reads any at once, as with jobs."""
        self.sweep()
        if _NOWAIT is not None and key not in self._files and len(self._offered) < KEPT_OPEN:
            self._offered.append((key, os.dup(descriptor)))

    def sweep(self) -> None:
        """Closes what is no longer kept: the last descriptor of a file that was removed may take long to close."""
        for descriptor in _all(self._closing):
            os.close(descriptor)


def _all(taken: deque[int]) -> Iterator[int]:
    while True:
        try:
            yield taken.popleft()
        except IndexError:
            return
