"""The decoded manifests of one peer: each is decoded once for all who need it, and all together are bounded in memory.

One that nobody uses is kept, for whoever asks next, until its memory is needed for another. Those in use stay; whoever
decodes more on behalf of strangers has to make room first (`sharing.loading`).
"""

import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import ManifestRoot
from p2p.ids import ShareId

MAX_DECODED_BYTES = 256 * 1024 * 1024
"""The most memory for all decoded manifests, with the stamps of their files. One alone may take more."""
ENTRY_BYTES = 64
"""What an entry takes besides its encoded form: its places in the layout, and its stamp."""


def weight(root: ManifestRoot) -> int:
    """How many bytes of memory a share takes while it is served."""
    return root.length + ENTRY_BYTES * (root.files + root.folders) + root.chunks // 4


class Layouts:
    """Holds the layouts that were used last, and finds every one that is in use. Usable from any thread."""

    def __init__(self, most_bytes: int = MAX_DECODED_BYTES) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[ShareId, Layout] = OrderedDict()
        self._alive: WeakValueDictionary[ShareId, Layout] = WeakValueDictionary()

    def get(self, share: ShareId) -> Layout | None:
        """The layout of a share, if it is in memory."""
        with self._lock:
            layout = self._alive.get(share)
            if layout is not None:
                self._keep(layout)
            return layout

    def keep(self, layout: Layout) -> Layout:
        """Adds a layout. Returns the one to use: another thread may have been faster."""
        with self._lock:
            layout = self._alive.setdefault(layout.manifest.share_id, layout)
            self._keep(layout)
            return layout

    def lacking(self, wanted: int) -> int:
        """How many bytes are too many for `wanted` more, once those that nobody uses are forgotten; 0 if none."""
        with self._lock:
            self._forget(wanted)
            return max(0, self._bytes() + wanted - self.most_bytes)

    def _keep(self, layout: Layout) -> None:
        self._kept[layout.manifest.share_id] = layout
        self._kept.move_to_end(layout.manifest.share_id)
        del layout  # or it would count as used below
        self._forget(0)

    def _forget(self, wanted: int) -> None:
        while self._kept and self._bytes() + wanted > self.most_bytes:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(weight(layout.manifest.root) for layout in list(self._alive.values()))
