"""The types between the decisions about a job and the code that carries them out: attempts, results, commands."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from p2p.core.compute.stage import StageUnits
from p2p.ids import PeerId


class JobState(Enum):
    """How far a job is. See `p2p.core.compute.job.Job`."""

    PLANNING = "planning"
    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class Fault(Enum):
    """Whose fault it is that a unit gave no result."""

    JOB = "job"
    """The job's: the unit raised. Believed once it raises at the owner too, which tries it after others."""
    TRANSIENT = "transient"
    """Nobody's, or unknown: a disk was full, a guest broke. Tried again elsewhere first, and by the owner at last."""
    INPUT = "input"
    """Outputs that the unit reads were unavailable. Tried again; those who lost the outputs are to blame."""
    PEER = "peer"
    """The volunteer's: it rests, longer each time, and is dropped in the end."""


class Step(IntEnum):
    """How far an attempt is. See `Attempt`."""

    SENT = 0
    RUNNING = 1
    COMMITTED = 2
    ACCEPTED = 3
    LOST = 4
    FAILED = 5
    REFUSED = 6
    CANCELLED = 7


@dataclass(slots=True)
class Attempt:
    """One try at a unit by one volunteer.

    SENT -> RUNNING (its heartbeat says so) -> COMMITTED (its digest is known) -> ACCEPTED
    SENT, RUNNING -> COMMITTED | LOST | FAILED | REFUSED | CANCELLED

    In COMMITTED, results wait to be believed; under the trust `own` none waits.
    """

    unit: bytes
    stage: StageUnits
    partition: int
    at: float
    step: Step = Step.SENT


class UnitResult(NamedTuple):
    """What a volunteer says became of a unit: the digest of its outputs, and who holds them (None: the owner)."""

    unit: bytes
    digest: bytes
    holder: PeerId | None = None


class Known(NamedTuple):
    """An accepted result, as the journal stores it."""

    unit: bytes
    stage: int
    partition: int
    digest: bytes
    holder: PeerId | None


class Work(NamedTuple):
    """One unit to send."""

    unit: bytes
    stage: int
    partition: int


@dataclass(frozen=True, slots=True)
class SendUnits:
    """Send these units to the volunteer, which may be the owner's own guest."""

    volunteer: PeerId
    units: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class WithdrawUnits:
    """Tell the volunteer that these units are no longer wanted."""

    volunteer: PeerId
    units: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DropVolunteer:
    """The volunteer no longer works for this job; end the conversation."""

    volunteer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Accept:
    """This result counts; journal it."""

    result: Known


@dataclass(frozen=True, slots=True)
class StageDone:
    """All units of the stage have results; only for display."""

    stage: int


@dataclass(frozen=True, slots=True)
class Finish:
    """All units of the action have results: combine those of the final stage, then say `finished`."""

    action: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Outputs of the final stage were lost before the action was finished; another `Finish` follows."""

    action: int


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job is over. `reason` is for people, empty for DONE."""

    state: JobState
    reason: str = ""


Command = SendUnits | WithdrawUnits | DropVolunteer | Accept | StageDone | Finish | Unfinished | JobEnded
