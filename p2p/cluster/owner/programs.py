"""The programs of a cluster, at all its members: started, heard, waited for, and kept running."""

from collections.abc import Awaitable, Callable

import trio

from p2p.cluster.engines.engine import Program
from p2p.cluster.member import Event
from p2p.cluster.owner.logs import Log
from p2p.cluster.owner.seats import Seat
from p2p.errors import NotFound
from p2p.wire.cluster import ProcessEnded, ProcessOutput, SignalProcess, StartProcess

START_TIMEOUT_S = 120.0
TOLD_LINES = 6

Output = Callable[[bytes], Awaitable[None]]


class Running:
    """A program in a member."""

    def __init__(self, seat: Seat, number: int, program: Program) -> None:
        self.seat = seat
        self.number = number
        self.program = program
        self.log = Log(seat.index, program.name)
        self.output: Output | None = None
        """Takes what it prints, instead of the log."""
        self.code: int | None = None
        self.reason = ""
        self.over = trio.Event()
        self.news = trio.Event()

    async def signal(self, signal: int) -> None:
        await self.seat.signal(SignalProcess(self.number, signal))


class Programs:
    """All programs of one cluster, by member and number."""

    def __init__(self) -> None:
        self._running: dict[tuple[int, int], Running] = {}
        self._logs: dict[tuple[int, str], Log] = {}
        self._last = 0

    async def start(self, seat: Seat, program: Program, output: Output | None = None) -> Running:
        """Starts a program; what it prints goes to `output`, or else is kept as a log."""
        self._last += 1
        one = Running(seat, self._last, program)
        one.output = output
        if output is None:
            self._logs[seat.index, program.name] = one.log
        self._running[seat.index, one.number] = one
        await seat.start(StartProcess(one.number, program.name, program.argv, tuple(program.variables.items())))
        return one

    async def started(self, one: Running) -> None:
        """Waits until a program has said that it is ready. Raises NotFound with the end of what it said instead."""
        with trio.move_on_after(START_TIMEOUT_S):
            while not one.log.says(one.program.ready) and not one.over.is_set():
                await one.news.wait()
        if not one.log.says(one.program.ready):
            how = f"it ended ({one.reason or one.code})" if one.over.is_set() else f"not within {START_TIMEOUT_S:.0f} s"
            said = one.log.end(TOLD_LINES)
            raise NotFound(f"{one.program.name} of m{one.seat.index} did not become ready: {how}.\n{said}".strip())

    async def heard(self, member: int, event: Event) -> None:
        """Takes what a member says of its programs. What it says of others means nothing."""
        one = self._running.get((member, event.number))
        if one is None:
            return
        if isinstance(event, ProcessOutput):
            one.log.add(event.body)
            if one.output is not None:
                await one.output(event.body)
        elif isinstance(event, ProcessEnded):
            self._end(one, event.code, event.reason)
        one.news.set()
        one.news = trio.Event()

    def lost(self, member: int) -> None:
        """A member is gone, and its programs with it."""
        for one in [one for (index, _), one in self._running.items() if index == member]:
            self._end(one, -9, "its member is gone")
            one.news.set()

    def logs(self, member: int | None) -> list[Log]:
        """What is kept of what programs printed, at one member or at all."""
        return [log for (index, _), log in sorted(self._logs.items()) if member is None or index == member]

    def _end(self, one: Running, code: int, reason: str) -> None:
        del self._running[one.seat.index, one.number]
        one.code, one.reason = code, reason
        one.over.set()
