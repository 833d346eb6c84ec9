"""What a user is told of jobs, as the control socket has it."""

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from p2p.progress import JobView


class JobAnswer(msgspec.Struct, frozen=True):
    """What a job came to. What it saved is at `paths` in a folder of the user's, or in a share, which has a `link`."""

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
    """Units done; like `seconds`, not of a job that ran in the command's own process."""

    @property
    def saved(self) -> list[str]:
        """The files that it saved, or the link to them."""
        if isinstance(self.paths, tuple):
            return list(self.paths)
        return [self.link] if isinstance(self.link, str) else []


@dataclass
class JobRow(JobView):
    """A job of the list: of one that is not under way all is empty but what names it."""

    created: float = 0.0
    """Seconds since 1970."""
    ending: str | None = None
    """Why it failed."""


class LogRow(msgspec.Struct, frozen=True):
    """What a unit, as ACTION.STAGE.PARTITION, or the plan printed at a peer; `failure` if it has no result."""

    unit: str
    peer: str
    failure: str
    text: str
