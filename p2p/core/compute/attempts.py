"""Types shared by the code that decides about a job and the code that carries it out: attempts, results, commands."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from p2p.core.compute.known import Known
from p2p.core.compute.stage import StageUnits
from p2p.ids import PeerId


class JobState(Enum):
    """The state of a job, from planning to its end; `p2p.core.compute.job.Job` shows the transitions."""

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
    """The job's fault: the unit raised. Believed once it raises at the owner too, which tries it after others."""
    TRANSIENT = "transient"
    """Nobody's fault, or unknown: a full disk, a broken guest. Others try the unit again, the owner last."""
    INPUT = "input"
    """Outputs that the unit reads were unavailable. It is tried again; those who lost them are to blame."""
    PEER = "peer"
    """The volunteer's fault: it gets no units for a while, longer each time, and is dropped in the end."""


class Step(IntEnum):
    """The state of one volunteer's attempt at a unit; `Attempt` shows the transitions."""

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

    SENT -> RUNNING (a heartbeat names the unit) -> COMMITTED (the result's digest is known) -> ACCEPTED
    SENT, RUNNING -> COMMITTED | LOST | FAILED | REFUSED | CANCELLED

    A COMMITTED result waits until it is accepted; with the trust level `own`, it is accepted without waiting.
    """

    unit: bytes
    stage: StageUnits
    partition: int
    at: float
    step: Step = Step.SENT


class UnitResult(NamedTuple):
    """A unit's result according to a volunteer: the digest of its outputs, and who holds them (None: the owner)."""

    unit: bytes
    digest: bytes
    holder: PeerId | None = None


class Work(NamedTuple):
    """A unit to send to a volunteer: its id, and its stage and partition in the plan."""

    unit: bytes
    stage: int
    partition: int
    between: tuple["Work", ...] = ()
    """Only for the owner's own guest: units to run between two runs of this one, whose second run is judged."""


@dataclass(frozen=True, slots=True)
class SendUnits:
    """The command to send these units to the volunteer, which may be the owner's own guest."""

    volunteer: PeerId
    units: tuple[Work, ...]


@dataclass(frozen=True, slots=True)
class WithdrawUnits:
    """The command to tell the volunteer that these units are no longer wanted."""

    volunteer: PeerId
    units: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DropVolunteer:
    """The command to end the conversation with the volunteer, which no longer works for this job."""

    volunteer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Accept:
    """The command to journal this result, which is accepted."""

    result: Known


@dataclass(frozen=True, slots=True)
class StageDone:
    """The news, only for display, that all units of the stage have results."""

    stage: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The command to combine the results of the final stage, which are complete, and then to call `Job.finished`."""

    action: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The news that outputs of the final stage were lost before the action was finished; another `Finish` follows."""

    action: int


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The news that the job has ended. `reason` is text for the user, empty for DONE."""

    state: JobState
    reason: str = ""


Command = SendUnits | WithdrawUnits | DropVolunteer | Accept | StageDone | Finish | Unfinished | JobEnded
