"""How an indexing, a fetch or a job stands, for whoever wants to look: plain data, as the control socket has it."""

from dataclasses import dataclass, field

SMOOTHING = 0.2
MAX_NOTES = 16


@dataclass(frozen=True)
class StageView:
    """A stage of the action that runs, in units."""

    label: str
    units: int
    done: int
    running: int


@dataclass(frozen=True)
class VolunteerView:
    """A volunteer at work for a job: the units it has, the slots it gives, its pace in units a second."""

    peer: str
    units: int
    slots: int
    rate: float
    bytes_moved: int
    bytes_fetched: int


@dataclass(frozen=True)
class QueuedAt:
    """A volunteer in whose line a job waits, and its place there, from 1."""

    peer: str
    place: int


@dataclass
class JobView:
    """Updated in place; rates in units a second."""

    job: str = ""
    name: str = ""
    state: str = "planning"
    runtime: str = ""
    action: int = 0
    stages: list[StageView] = field(default_factory=list)
    volunteers: list[VolunteerView] = field(default_factory=list)
    failures: int = 0
    losses: int = 0
    units_done: int = 0
    units_known: int = 0
    """Units that an earlier process had done."""
    rate: float = 0.0
    bytes_moved: int = 0
    """Over the network, for this job: between this peer and volunteers, and what these fetched."""
    bytes_fetched: int = 0
    """Of that, what volunteers fetched by themselves, as they say: inputs, outputs that others keep, the bundle."""
    left_s: float | None = None
    """Until the stage that runs is done, at this pace."""
    why: str = ""
    """Why nothing runs."""
    queued: list[QueuedAt] = field(default_factory=list)
    """The volunteers in whose lines it waits, and at which place, from 1."""


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
    view: JobView | None = None
    """How a job stands, if that is what is under way."""
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
