"""Runs a job's state machine (`core.compute.job`) at its owner, and carries out its commands as they come.

This module keeps the sessions of the volunteers at work, because most commands are carried out by one of them. The
outcomes of units are handled in `results`, and other messages of volunteers in `employer`.
"""

from collections.abc import Callable, Sequence, Set

import trio

from p2p.compute.owner.volunteer_session import VolunteerSession
from p2p.core.compute.attempts import (
    Command,
    DropVolunteer,
    Finish,
    JobEnded,
    JobState,
    SendUnits,
    WithdrawUnits,
    Work,
)
from p2p.core.compute.job import Job
from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan
from p2p.errors import JobError, ShoalError
from p2p.ids import PeerId
from p2p.wire.address import Address


class Driver:
    """Carries out what the state machine of one job (`Job`) decides.

    `repeat` makes the owner run units itself; the other arguments are passed to `Job`.
    """

    def __init__(self, owner: PeerId, context: bytes, unit_s: float, repeat: Callable[[Sequence[Work]], None]) -> None:
        self._owner = owner
        self._context = context
        self._unit_s = unit_s
        self._repeat = repeat
        self.job = Job(owner, context, unit_s)
        self.plan: Plan | None = None
        """The plan of the running action, or else of the last one that ran."""
        self.sessions: dict[PeerId, VolunteerSession] = {}
        """The volunteers at work for the job."""
        self._joined = trio.Event()
        self._finish = trio.Event()
        self._stopped: ShoalError | None = None

    def recall(self, results: Sequence[bytes]) -> None:
        """To be called first: `results` are digests of the actions' results that an earlier process got."""
        self.job = Job(self._owner, self._context, self._unit_s, results)

    def begin(
        self, plan: Plan, counts: Sequence[int], sources: dict[int, bytes], known: Sequence[Known], now: float
    ) -> None:
        """Begins the next action: see `Job.planned`."""
        self.plan, self._finish = plan, trio.Event()
        self.do(self.job.planned(plan, counts, sources, now, known))

    async def finished(self) -> None:
        """Waits until all units of the action have results.

        Raises the ShoalError because of which the job cannot go on.
        """
        if self._stopped is None:
            await self._finish.wait()
        if self._stopped is not None:
            raise self._stopped

    def stop(self, error: ShoalError) -> None:
        """Stops the job, which cannot go on. Only the first reason counts."""
        self._stopped = self._stopped or error
        self._finish.set()

    def do(self, commands: Sequence[Command]) -> None:
        """Carries out what the state machine commands."""
        for command in commands:
            match command:
                case SendUnits(volunteer, units):
                    if volunteer == self._owner:
                        self._repeat(units)
                    else:
                        self.sessions[volunteer].units(units)
                case WithdrawUnits(volunteer, units):
                    if volunteer in self.sessions:
                        self.sessions[volunteer].cancel(units)
                case DropVolunteer(volunteer, reason):
                    if volunteer in self.sessions:
                        self.sessions[volunteer].drop(reason)
                case Finish():
                    self._finish.set()
                case JobEnded(state, reason):
                    if state is not JobState.DONE:
                        self.stop(JobError(reason))
                case _:
                    pass

    # The volunteers at work.

    def join(self, peer: PeerId, session: VolunteerSession, window: int, relation: str) -> None:
        """Adds a volunteer: see `Job.joined`."""
        self.sessions[peer] = session
        self._joined.set()
        self._joined = trio.Event()
        now = trio.current_time()
        self.do(self.job.joined(peer, session.slots, now, window=window, relation=relation, unit_s=session.unit_s))

    def leave(self, peer: PeerId) -> None:
        """Removes a volunteer that has left, and forgets the outputs that it kept."""
        del self.sessions[peer]
        now = trio.current_time()
        self.do([*self.job.left(peer, now), *self.job.unheld(peer, now)])

    async def until_joined(self, peers: Set[PeerId]) -> None:
        """Waits until all of these volunteers are at work."""
        while not peers <= self.sessions.keys():
            await self._joined.wait()

    def address_of(self, peer: PeerId) -> Address | None:
        """Returns where others can dial a volunteer at work, or None if they cannot."""
        session = self.sessions.get(peer)
        return None if session is None else session.address
