"""What a user specifies for a job, as it is sent over the control socket and kept in the journal."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from p2p.core.compute.skipped import DEFAULT_MOST

UNIT_MEMORY = 512 * 1024 * 1024
UNIT_TIME_S = 600.0


class JobSpec(msgspec.Struct, frozen=True):
    """What the user specified for a job; sizes are in bytes. Inputs are links of any kind, or absolute paths."""

    path: str
    inputs: tuple[str, ...] = ()
    args: dict[str, Any] = {}
    runtime: str | None = None
    partitions: int = 0
    unit_memory: int = UNIT_MEMORY
    unit_time_s: float = UNIT_TIME_S
    peers: tuple[str, ...] = ()
    volunteers: int = 0
    out: str | None = None
    wait_s: float | None = None
    along: tuple[str, ...] = ()
    """Absolute paths of files that go along with the job, wheels among them."""
    requirements: str | None = None
    """The absolute path of a file that lists packages that go along."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | UnsetType = UNSET
    """Unset, the seed is drawn."""
    max_skipped: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = DEFAULT_MOST
    """How many records the job's units may skip because of errors."""


class Resumable(msgspec.Struct, frozen=True):
    """A job as it is stored in the journal, with everything needed to resume it. Ids are text."""

    wish: JobSpec
    """In place of a mutable link as an input, it has the link to the share that this led to when the job began."""
    runtime: str
    digest: str
    bundle: str
    token: str
    inputs: tuple[str, ...]
    made: tuple[str, ...]
    """The shares that are removed with the job."""
    partition_bytes: int = 0
    """As in `Setup`. 0, in older journals, means the size requested, or else the one size of that version."""
