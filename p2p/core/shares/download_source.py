"""A source of a download: what it has, what was asked of it, and how fast and how lately it sent something."""

from dataclasses import dataclass, field

from p2p.core.shares import bitmap


@dataclass(slots=True)
class Asked:
    """A chunk that was asked of a source."""

    at: float
    """When it was asked, by the source's own clock."""
    ahead: int
    """How many bytes the source had been asked for at that time, including this chunk."""
    size: int


@dataclass(slots=True)
class DownloadSource:
    """What a download knows about one of its sources. `rate` is in bytes per second, 0 until measured."""

    have: int = 0
    asked: dict[int, Asked] = field(default_factory=dict)
    outstanding: int = 0
    rate: float = 0.0
    choked: bool = False
    received: int = 0
    chunks: int = 0
    """How many complete and correct chunks came from the source. Before the first one, its rate means nothing."""
    sample_at: float = 0.0
    sample_bytes: int = 0
    heard_at: float = 0.0
    held_back: bool = False
    """Whether this side does not read what the source sends now."""
    held_at: float = 0.0
    held_s: float = 0.0
    window_at: float = 0.0
    window_bytes: int = 0

    def hold_back(self, held: bool, now: float) -> None:
        """Records whether this side leaves unread what the source sends."""
        if held:
            self.held_at = now
        elif self.held_back:
            self.held_s += now - self.held_at
        self.held_back = held
        self.heard_at = now

    def hurry(self, chunks: bytes) -> int:
        """Records that of the chunks asked for, these come next, after the one that may be coming already.

        Returns which they are; none if none of them comes behind another.
        """
        coming = next(iter(self.asked), -1)
        hurried = sorted(chunk for chunk in self.asked if chunks[chunk >> 3] >> (chunk & 7) & 1)
        if hurried in ([], [coming]):
            return 0
        self.asked = {chunk: self.asked[chunk] for chunk in (coming, *hurried)} | self.asked
        return bitmap.of([(chunk, 1) for chunk in hurried])

    def clock(self, now: float) -> float:
        """A time that stands still while the source is held back: what is late for that reason is not overdue."""
        return (self.held_at if self.held_back else now) - self.held_s
