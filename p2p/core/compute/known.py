"""What is known of a unit whose result was accepted."""

from typing import NamedTuple

from p2p.ids import PeerId


class Known(NamedTuple):
    """An accepted result, as the journal stores it."""

    unit: bytes
    stage: int
    partition: int
    digest: bytes
    holder: PeerId | None
