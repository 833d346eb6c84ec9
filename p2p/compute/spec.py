"""What a user asks for with a job, as it goes over the control socket and into the journal."""

from typing import Any

import msgspec


class JobSpec(msgspec.Struct, frozen=True):
    """What the user asked for; sizes in bytes. Inputs are links, or absolute paths."""

    path: str
    inputs: tuple[str, ...] = ()
    args: dict[str, Any] = {}
    runtime: str | None = None
    partitions: int = 0
    unit_memory: int = 512 * 1024 * 1024
    unit_time_s: float = 600.0
    peers: tuple[str, ...] = ()
    volunteers: int = 0
    out: str | None = None
    wait_s: float | None = None
