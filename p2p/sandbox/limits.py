"""What a guest may use for one request, and the error for a guest that uses more or fails in another way."""

from dataclasses import dataclass
from typing import Literal

from p2p.errors import ShoalError

MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_MEMORY_BYTES = 4 * 1024**3
MAX_WALL_S = 86_400.0
MAX_LOG_BYTES = 16 * 1024 * 1024
SEED_BYTES = 32

EndKind = Literal["time", "cap", "memory", "output", "stack", "failed", "exit", "broken"]


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What a guest may use for one request. Raises ValueError if a limit is more than a sandbox allows."""

    wall_s: float = 60.0
    """For how long it may compute. Time in which an idle guest got no processor does not count."""
    memory_bytes: int = 512 * 1024 * 1024
    """The maximum memory of the whole guest: code, data and input together."""
    output_bytes: int = 64 * 1024 * 1024
    """The maximum length of an answer; a longer answer ends the guest."""
    log_bytes: int = 64 * 1024
    """How many bytes of what the guest prints are kept; the rest is dropped and the call continues."""
    cap_s: float = MAX_WALL_S
    """When it is ended however little it computed: the most that this machine gives one request."""

    def __post_init__(self) -> None:
        bounds = (
            ("wall_s", self.wall_s, MAX_WALL_S),
            ("memory_bytes", self.memory_bytes, MAX_MEMORY_BYTES),
            ("output_bytes", self.output_bytes, MAX_FRAME_BYTES),
            ("log_bytes", self.log_bytes + 1, MAX_LOG_BYTES + 1),
            ("cap_s", self.cap_s, MAX_WALL_S),
        )
        for name, value, most in bounds:
            if not 0 < value <= most:
                raise ValueError(f"{name} is {value}, beyond what a sandbox grants")


class GuestEnded(ShoalError):
    """A guest has ended, for the reason `kind`, and is discarded. `log` is what it printed during the request.

    `time`, `memory`, `output`, `stack`: the guest reached that limit, which need not be its job's fault. `cap`: it
    reached what this machine gives at most, which is nobody's fault. `failed`: a command's exit code reported failure.
    `exit`: a resident guest ended by itself. `broken`: the guest trapped, sent something forbidden, or its process was
    killed.
    """

    def __init__(self, kind: EndKind, text: str, log: bytes = b"") -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.log = log
