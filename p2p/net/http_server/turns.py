"""Whose words are read next: while more come than the event loop can answer, networks take turns.

To read and answer a request takes about a millisecond. So those that have something to say wait until the event loop
has answered those before them, one at a time, and then the next is of another network: however many come from one
network, or from many that are near each other, others wait for one turn of each wide network at most. And whatever else
the loop has to do, such as commands, is done between any two.
"""

import trio

from p2p.places import NARROW, networks_of
from p2p.round_robin import RoundRobin


class Turns:
    """Those that wait for their turn, each at a host."""

    def __init__(self) -> None:
        self._waiting: RoundRobin[trio.Event] = RoundRobin()
        self._somebody = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gives turns until cancelled."""
        task_status.started()
        while True:
            await self._somebody.wait()
            if len(self._waiting):
                self._waiting.serve_next().set()
            if not len(self._waiting):
                self._somebody = trio.Event()
            # What it does until it waits itself is done before the next has its turn.
            await trio.lowlevel.checkpoint()

    async def wait(self, host: str) -> None:
        """Waits for a turn."""
        turn, networks = trio.Event(), networks_of(host)
        self._waiting.add(turn, networks[0], networks[NARROW])
        self._somebody.set()
        try:
            await turn.wait()
        finally:
            self._waiting.drop(turn)
