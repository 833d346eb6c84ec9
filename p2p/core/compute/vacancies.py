"""Places at volunteers that one owner's jobs leave, and which of its other jobs hears of each.

A volunteer keeps few places in its queue for one owner, so some of the owner's jobs are declined. When another job of
the owner leaves such a place, or the volunteer's cores, the first of those that were declined is told, and asks again.
Otherwise the volunteer could be idle until one of them happens to try.
"""

from typing import Protocol

from p2p.ids import PeerId


class Declined(Protocol):
    """A job that volunteers have declined."""

    def ask_again(self, peer: PeerId) -> bool:
        """Asks the volunteer again, soon. Returns whether it will: a job may need nobody any more."""


class Vacancies:
    """Which jobs each volunteer has declined, longest first."""

    def __init__(self) -> None:
        self._declined: dict[PeerId, list[Declined]] = {}

    def declined(self, peer: PeerId, job: Declined) -> None:
        """Records that the peer declined the job."""
        jobs = self._declined.setdefault(peer, [])
        if job not in jobs:
            jobs.append(job)

    def found(self, peer: PeerId, job: Declined) -> None:
        """Records that the job has a place at the peer."""
        if job in self._declined.get(peer, []):
            self._declined[peer].remove(job)

    def left(self, peer: PeerId) -> None:
        """Tells the first job that the peer declined: another has left a place there."""
        jobs = self._declined.pop(peer, [])
        while jobs:
            if jobs.pop(0).ask_again(peer):
                break
        if jobs:
            self._declined[peer] = jobs

    def over(self, job: Declined) -> None:
        """Forgets the job, which asks nobody any more."""
        for jobs in self._declined.values():
            if job in jobs:
                jobs.remove(job)
        self._declined = {peer: jobs for peer, jobs in self._declined.items() if jobs}
