"""The progress of an indexing, a fetch or a job, as plain data that the control socket sends."""

import msgspec

SMOOTHING = 0.2
MAX_NOTES = 16


class StageView(msgspec.Struct, frozen=True):
    """The progress of one stage of the running action, in units."""

    label: str
    units: int
    done: int
    running: int


class VolunteerView(msgspec.Struct, frozen=True):
    """A volunteer working for a job: the units it has, the slots it gives, its rate in units per second."""

    peer: str
    units: int
    slots: int
    rate: float
    bytes_moved: int
    bytes_fetched: int


class QueuedAt(msgspec.Struct, frozen=True):
    """A volunteer in whose queue a job waits, and the place of the job in that queue, from 1."""

    peer: str
    place: int


class JobView(msgspec.Struct):
    """The progress of a job. Updated in place; rates are in units per second."""

    job: str = ""
    name: str = ""
    state: str = "planning"
    runtime: str = ""
    action: int = 0
    stages: list[StageView] = msgspec.field(default_factory=list)
    volunteers: list[VolunteerView] = msgspec.field(default_factory=list)
    failures: int = 0
    losses: int = 0
    skipped: int = 0
    """Records left out because of errors, as the job wants."""
    units_done: int = 0
    units_known: int = 0
    """Units that an earlier process had finished."""
    rate: float = 0.0
    bytes_moved: int = 0
    """Bytes over the network for this job: between this peer and volunteers, and what volunteers fetched."""
    bytes_fetched: int = 0
    """The part of `bytes_moved` that volunteers say they fetched: inputs, outputs that others keep, the bundle."""
    left_s: float | None = None
    """Seconds until the running stage is done, at this rate."""
    why: str = ""
    """Why nothing runs, if nothing does."""
    queued: list[QueuedAt] = msgspec.field(default_factory=list)


class Progress(msgspec.Struct):
    """The progress of an indexing, fetch or job. Updated in place; sizes are in bytes, rates in bytes per second."""

    state: str = "looking for sources"
    name: str = ""
    size: int = 0
    done: int = 0
    resumed: int = 0
    """The part of `done` that an earlier try fetched."""
    received: int = 0
    files: int = 0
    files_done: int = 0
    sources: int = 0
    known: int = 0
    """How many addresses may have a source."""
    rate: float = 0.0
    trouble: str = ""
    """The last thing that went wrong with a source."""
    view: JobView | None = None
    """The progress of the job, if this is one."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What the user should know; each note is shown once."""

    def note(self, text: str) -> None:
        """Adds a note for the user, unless there is the same one already."""
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def measured(self, count: int, seconds: float) -> None:
        """Records that `count` bytes came in the last `seconds`."""
        sample = count / seconds
        self.rate = sample if not self.rate else (1 - SMOOTHING) * self.rate + SMOOTHING * sample
