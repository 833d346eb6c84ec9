"""The answers to a user's requests about jobs, in the form that is sent over the control socket."""

from typing import Any

from msgspec import UNSET, UnsetType

from p2p.core.compute.skipped import SkippedRecord
from p2p.progress import JobView
from p2p.site.shown import Shown


class JobAnswer(Shown, frozen=True):
    """The outcome of a job.

    The files that it saved are in a folder of the user, at `paths`, or in a share, to which `link` leads.
    """

    job: str
    state: str
    result: Any
    """What the job returned, as JSON values."""
    paths: tuple[str, ...] | UnsetType = UNSET
    link: str | UnsetType = UNSET
    folder: str | UnsetType = UNSET
    """The folder on this machine with the files of that share."""
    seconds: float | UnsetType = UNSET
    units: int | UnsetType = UNSET
    """How many units were done. Like what follows and `seconds`, it is unset for a job that ran in the command's own
    process.
    """
    volunteers: int | UnsetType = UNSET
    """How many volunteers did at least one of them."""
    core_s: float | UnsetType = UNSET
    """How many seconds the units took at the volunteers, as these say."""
    bytes_moved: int | UnsetType = UNSET
    """As in `JobView`."""
    skipped: int | UnsetType = UNSET
    """How many records were left out because of errors, if any."""
    first_skipped: tuple[SkippedRecord, ...] | UnsetType = UNSET

    @property
    def saved(self) -> list[str]:
        """The files that the job saved, or the link to them."""
        if isinstance(self.paths, tuple):
            return list(self.paths)
        return [self.link] if isinstance(self.link, str) else []


class JobRow(JobView):
    """A job in the list of jobs. If it is not running, only its names, `state`, `created` and `ending` are set."""

    created: float = 0.0
    """Seconds since 1970."""
    ending: str | None = None
    """Why the job failed."""


class LogRow(Shown, frozen=True):
    """What a job printed at one peer, in a unit (ACTION.STAGE.PARTITION) or while it was planned.

    `failure` is set if there was no result.
    """

    unit: str
    peer: str
    failure: str
    text: str
