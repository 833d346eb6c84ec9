"""Writes to the journal what a job prints, during planning and in its units."""

import logging

from p2p.errors import StorageError
from p2p.ids import PeerId, short
from p2p.store.disk import Disk
from p2p.store.journal import Journal, Logged
from p2p.wire import work

logger = logging.getLogger(__name__)

PLAN = -1
"""The stage number under which the output of planning is kept."""


class JobLog:
    """Collects what one job of the peer `owner` prints, and writes it to the journal."""

    def __init__(self, journal: Journal, disk: Disk, job: bytes, owner: PeerId) -> None:
        self._journal = journal
        self._disk = disk
        self._job = job
        self._owner = owner
        self._waiting: list[Logged] = []
        self.planning = bytearray()
        """What the planning guest has printed since the last `write`."""

    def add(self, action: int, place: tuple[int, int], peer: PeerId, result: work.Result) -> None:
        """Adds what the unit of this action, stage and partition printed."""
        self._waiting.append(Logged(action, *place, peer, result.kind, result.log))

    async def write(self, action: int) -> None:
        """Writes what was added since the last call. If that fails, the text is lost, but nothing else stops."""
        logs, self._waiting = self._waiting, []
        if self.planning:
            logs.insert(0, Logged(action, PLAN, 0, self._owner, "", bytes(self.planning)))
            self.planning.clear()
        if logs:
            try:
                await self._disk.run(self._journal.log, self._job, logs)
            except StorageError as error:
                logger.warning("what units of job %s printed is lost: %s", short(self._job), error)
