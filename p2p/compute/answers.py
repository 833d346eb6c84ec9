"""What a user is told about jobs, as it goes over the control socket."""

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from p2p.progress import JobView


class JobAnswer(msgspec.Struct, frozen=True):
    """The outcome of a job. What it saved is at `paths` in a folder of the user's, or in a share with a `link`."""

    job: str
    state: str
    result: Any
    """What it returned, as JSON values."""
    paths: tuple[str, ...] | UnsetType = UNSET
    link: str | UnsetType = UNSET
    folder: str | UnsetType = UNSET
    """Where the files of that share are."""
    seconds: float | UnsetType = UNSET
    units: int | UnsetType = UNSET
    """Units done; unset, like `seconds`, for a job that ran in the command's own process."""

    @property
    def saved(self) -> list[str]:
        """The files that it saved, or the link to them."""
        if isinstance(self.paths, tuple):
            return list(self.paths)
        return [self.link] if isinstance(self.link, str) else []


@dataclass
class JobRow(JobView):
    """A job in the list; if it is not under way, only its names, `state`, `created` and `ending` are set."""

    created: float = 0.0
    """Seconds since 1970."""
    ending: str | None = None
    """Why it failed."""


class LogRow(msgspec.Struct, frozen=True):
    """What a unit (ACTION.STAGE.PARTITION), or the plan, printed at a peer; `failure` is set if it has no result."""

    unit: str
    peer: str
    failure: str
    text: str
