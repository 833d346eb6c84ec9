"""The traffic of one peer: its limits, its upload slots, and what it moved so far."""

from dataclasses import dataclass

from p2p.concurrency.throttle import Throttle
from p2p.sharing.upload_slots import UploadSlots


@dataclass
class Traffic:
    """Shared by all exchanges; they are handed all of it, as they look at it for every frame."""

    slots: UploadSlots
    upload: Throttle
    download: Throttle
    bytes_uploaded: int = 0
    bytes_downloaded: int = 0
