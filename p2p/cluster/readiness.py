"""Whether this machine can have members at all, asked again once the last answer is old."""

from collections.abc import Sequence

import trio

from p2p.errors import ShoalError
from p2p.store.disk import Disk

KEPT_S = 60.0


class Readiness:
    """What this machine lacks for members, in words; `uids` is as in `ClusterConfig`."""

    def __init__(self, uids: Sequence[int], disk: Disk) -> None:
        self._uids = uids
        self._disk = disk
        self._answer = ""
        self._asked_at = float("-inf")

    async def trouble(self) -> str:
        """Sentences that say what to do; empty if nothing is missing."""
        if trio.current_time() - self._asked_at > KEPT_S:
            self._answer = await self._disk.run_long(self._missing)
            self._asked_at = trio.current_time() if not self._answer else float("-inf")
        return self._answer

    def _missing(self) -> str:
        from p2p.sandbox.native.accounts import account  # late: most peers never have a member
        from p2p.sandbox.native.readiness import missing

        try:
            with account(self._uids) as user:
                return " ".join(missing(user))
        except ShoalError as error:
            return str(error)
