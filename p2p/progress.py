"""How a fetch or an indexing stands, for whoever wants to look."""

from dataclasses import dataclass, field
from typing import Any

SMOOTHING = 0.2
MAX_NOTES = 16


@dataclass
class Progress:
    """Updated in place; sizes in bytes, rates in bytes/s."""

    state: str = "looking for sources"
    name: str = ""
    size: int = 0
    done: int = 0
    resumed: int = 0
    """Of `done`, what an earlier try had left."""
    received: int = 0
    files: int = 0
    files_done: int = 0
    sources: int = 0
    known: int = 0
    """Addresses at which there may be sources."""
    rate: float = 0.0
    trouble: str = ""
    """The last thing that went wrong with a source."""
    view: Any = None
    """Of a job: how it stands, `services.job_view.View`."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, each said once."""

    def note(self, text: str) -> None:
        """Says this to the user, unless it was said before."""
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def measured(self, count: int, seconds: float) -> None:
        """`count` bytes came in the last `seconds`."""
        sample = count / seconds
        self.rate = sample if not self.rate else (1 - SMOOTHING) * self.rate + SMOOTHING * sample
