"""What arrives from one source of a fetch: how far its current chunk is, and what else may come."""

from dataclasses import dataclass, field

from p2p.core.shares.layout import ChunkPlace

_NOWHERE = ChunkPlace(0, 0, 0)


@dataclass
class Arriving:
    """The chunk now arriving from one source, and what was requested from that source."""

    buffer: memoryview
    credit: int = 0
    """Bytes asked for that have not come yet; the source may send at most this many."""
    chunk: int = -1
    size: int = 0
    filled: int = 0
    place: ChunkPlace = _NOWHERE
    wanted: bool = False
    arrived: tuple[int, int] = (0, 0)
    """`Connection.arrived` when it was last looked at."""
    cancelled: set[int] = field(default_factory=set)
