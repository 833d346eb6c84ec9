"""The traffic of one peer: its limits, its upload slots, and how many bytes it has moved so far."""

from dataclasses import dataclass

from p2p.concurrency.throttle import Throttle
from p2p.sharing.upload_slots import UploadSlots


@dataclass
class Traffic:
    """The traffic that all exchanges share. They get the whole object, since they use it for every frame."""

    slots: UploadSlots
    upload: Throttle
    download: Throttle
    bytes_uploaded: int = 0
    bytes_downloaded: int = 0
