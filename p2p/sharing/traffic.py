"""The traffic of one peer: its limits, its upload slots, and how many bytes it has moved so far."""

import msgspec

from p2p.concurrency.throttle import Throttle
from p2p.core.bans import Bans
from p2p.ids import PeerId
from p2p.sharing.upload_slots import UploadSlots


class Traffic(msgspec.Struct):
    """The limits and counters common to all exchanges of a peer.

    Each exchange gets the whole object, since each frame needs it.
    """

    slots: UploadSlots
    upload: Throttle
    download: Throttle
    liars: Bans[PeerId] = msgspec.field(default_factory=Bans)
    """Peers that complained about chunks that are good: they are not served for a while."""
    bytes_uploaded: int = 0
    bytes_downloaded: int = 0

    def limit(self, upload: int | None, download: int | None) -> None:
        """Changes the limits, in bytes per second; 0 means none, and None leaves one as it is."""
        if upload is not None:
            self.upload.change(upload)
            self.slots.limited()
        if download is not None:
            self.download.change(download)
