"""The shares that were made for jobs: their bundles, and inputs that were given as paths.

Several jobs may read one of them. It ends with the last of these jobs, whether that is running or stopped.
"""

from p2p.ids import ShareId


class MadeShares:
    """Which shares were made for which jobs of this peer."""

    def __init__(self) -> None:
        self._of: dict[bytes, set[ShareId]] = {}

    def add(self, job: bytes, *shares: ShareId) -> None:
        """Adds shares that the job needs, and that are not the user's own."""
        self._of.setdefault(job, set()).update(shares)

    def of(self, job: bytes) -> list[ShareId]:
        """The shares that were made for the job."""
        return sorted(self._of.get(job, ()))

    def have(self, share: ShareId) -> bool:
        """Whether the share was made for a job."""
        return any(share in made for made in self._of.values())

    def drop(self, job: bytes) -> list[ShareId]:
        """Forgets the job. Returns those of its shares that no other job needs."""
        made = self.of(job)
        self._of.pop(job, None)
        return [share for share in made if not self.have(share)]
