"""The owner's decisions about one job: who runs which unit, which result is accepted, when the job is over. Sans-IO.

Volunteers come and go, fail and lie; each unit is attempted until it has exactly one accepted result. What must survive
a restart is returned as `Accept` and, after the restart, passed to `planned`. The bytes of results are not handled
here, only their digests and who holds them. `crew` and `matching` decide how much a volunteer gets; `disputes` decides
what happens to units at which volunteers fail, and `stages` decides what happens when outputs are lost.
"""

from collections.abc import Iterable, Mapping, Sequence

from p2p.core.compute.attempts import (
    OVER,
    Accept,
    Attempt,
    Command,
    DropVolunteer,
    Fault,
    Finish,
    JobEnded,
    JobState,
    StageDone,
    Step,
    Unfinished,
    UnitResult,
    WithdrawUnits,
)
from p2p.core.compute.crew import FIRST_REST_S, STALL_S, Crew, CrewMember
from p2p.core.compute.disputes import Disputes
from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan
from p2p.core.compute.report import Report
from p2p.core.compute.stage import StageUnits
from p2p.core.compute.stages import Stages
from p2p.ids import ID_BYTES, PeerId

LEASE_S = 4.0
"""How long a volunteer may be silent before it counts as lost."""


class Job:
    """One job of the peer `owner`. The owner's own guest reruns the units at which volunteers fail.

        PLANNING --planned--> RUNNING --(all results)--> FINISHING --finished--> PLANNING --done--> DONE
        FINISHING --(an output is lost)--> RUNNING
        PLANNING, RUNNING, FINISHING --(the job's fault, or nothing left to try)--> FAILED
        PLANNING, RUNNING, FINISHING --cancel--> CANCELLED

    However many volunteers say that a unit fails, the job continues until the owner has seen the unit fail.

    Each event is a method that returns what is to be done. Events that come too late are ignored. `context` is
    `plan.job_context`, `unit_s` is the seconds that a unit may take, and `results` holds the digests of the
    actions' results, as far as they are known. Times are seconds of one monotonic clock.
    """

    def __init__(self, owner: PeerId, context: bytes, unit_s: float, results: Sequence[bytes] = ()) -> None:
        self.state = JobState.PLANNING
        self.stages: list[StageUnits] = []
        self.failures = self.losses = self.repeats = 0
        """Counts of failed attempts, of lost attempts, and of units run again because their outputs were lost."""
        self._context = context
        self._unit_s = unit_s
        self._results = list(results)
        self._stages: Stages | None = None
        self._open: list[StageUnits] = []
        self._crew = Crew(owner)
        self._disputes = Disputes(self._crew)

    @property
    def action(self) -> int:
        """The number of the current action: the one that is being planned, run or finished."""
        return len(self._results)

    def volunteers(self) -> dict[PeerId, int]:
        """The volunteers that work for the job, each with how many units it has."""
        return {peer: len(volunteer.attempts) for peer, volunteer in self._crew.joined.items()}

    @property
    def owner_at_work(self) -> bool:
        """Whether a unit is running in the owner's guest."""
        return bool(self._crew.own.attempts)

    def place(self, peer: PeerId, unit: bytes) -> tuple[int, int] | None:
        """The stage and partition of a unit that the volunteer has; None for any other unit."""
        volunteer = self._crew.find(peer)
        attempt = None if volunteer is None else volunteer.attempts.get(unit)
        return None if attempt is None else (attempt.stage.index, attempt.partition)

    # The owner's own events.

    def planned(
        self, plan: Plan, counts: Sequence[int], sources: Mapping[int, bytes], now: float, known: Iterable[Known] = ()
    ) -> list[Command]:
        """Starts the next action, without the units whose results are already `known`.

        `counts` has the number of units of each stage (`plan.sizes`). `sources` has, for each stage with a source, a
        digest of its inputs and of how they are partitioned.
        """
        if self.state is not JobState.PLANNING:
            return []
        if plan.action != self.action:
            return self.broke(f"The job planned action {plan.action} where {self.action} was next.")
        self.state = JobState.RUNNING
        self._stages = Stages(plan, counts, sources, self._context, self._results)
        self.stages = self._stages.all
        self._disputes.clear()
        for volunteer in self._crew.everyone():
            volunteer.next_action()
        self._stages.recall(known)
        return self._advance(now)

    def finished(self, digest: bytes) -> list[Command]:
        """Records that the action's result, with this digest, is in the journal; the next action may be planned."""
        if self.state is JobState.FINISHING:
            self._results.append(digest)
            self.state, self.stages, self._open = JobState.PLANNING, [], []
        return []

    def done(self) -> list[Command]:
        """Ends the job as DONE: it returned, and the owner has all that it returned."""
        return self._end(JobState.DONE, "") if self.state is JobState.PLANNING else []

    def broke(self, reason: str) -> list[Command]:
        """Ends the job as FAILED: planning, or finishing an action, raised, or the owner's disk is full."""
        return self._end(JobState.FAILED, reason)

    def cancel(self) -> list[Command]:
        """Ends the job as CANCELLED, as the user wants."""
        return self._end(JobState.CANCELLED, "cancelled")

    def kept(self, stage: int, partition: int) -> None:
        """Records that the owner now has this output itself, so its holder is no longer needed."""
        if stage < len(self.stages):
            self.stages[stage].kept(partition)

    def tick(self, now: float) -> list[Command]:
        """Deals with silent or stalled volunteers, ended rests, and stragglers. To be called a few times per second."""
        commands: list[Command] = []
        for volunteer in self._crew.everyone():
            if self.state in OVER:
                return commands
            if volunteer is self._crew.own:
                continue
            if now - volunteer.heard > LEASE_S:
                commands += self._expel(volunteer, f"it was silent for {LEASE_S:g} seconds", now)
            elif volunteer.stalls(self._unit_s + STALL_S, now):
                self._crew.strike(volunteer, now)
                commands += self._expel(volunteer, "it neither began nor finished a unit in time", now)
        commands += self._fill_all(now)
        if self.state is JobState.RUNNING:
            commands += self._crew.hedge(self._open, now)
        return commands

    # Events of volunteers.

    def joined(
        self,
        peer: PeerId,
        slots: int,
        now: float,
        *,
        window: int = 65536,
        stranger: bool = False,
        relation: str = "",
        unit_s: float = 0.0,
    ) -> list[Command]:
        """Records that a volunteer took the job, with this many slots and at most `window` units under way.

        It lets a unit run for `unit_s` seconds at most, if it has said so. Peers of the same `relation` (a network
        prefix, say) count as one when they accuse the job.
        """
        if self.state in OVER or peer in self._crew.joined:
            return []
        if self._crew.is_out(peer):
            return [DropVolunteer(peer, "it failed too often in this job")]
        volunteer = self._crew.find(peer) or CrewMember(peer, now)
        volunteer.claimed, volunteer.most = slots, window
        volunteer.stranger, volunteer.relation, volunteer.unit_s = stranger, relation, unit_s
        self._crew.joined[peer] = volunteer
        return self._fill(volunteer, now)

    def slots(self, peer: PeerId, slots: int, now: float) -> list[Command]:
        """Sets how many slots the volunteer may use from now on; with none, it finishes its units and gets no more."""
        volunteer = self._crew.joined.get(peer)
        if volunteer is None:
            return []
        volunteer.claimed = slots
        return self._fill_all(now)

    def near(self, peer: PeerId, stage: int, partitions: Iterable[int]) -> None:
        """Records that the volunteer has the inputs of these partitions: it gets those that still wait first."""
        if peer in self._crew.joined and stage < len(self.stages):
            count = self.stages[stage].count
            self.stages[stage].prefer(peer, [partition for partition in partitions if 0 <= partition < count])

    def left(self, peer: PeerId, now: float) -> list[Command]:
        """Records that the volunteer has left the job. Its outputs may still be available: see `unheld`."""
        volunteer = self._crew.joined.get(peer)
        if volunteer is None:
            return []
        if volunteer.attempts and not volunteer.returned:
            self._crew.strike(volunteer, now)
        return self._lose(volunteer, now)

    def unheld(self, peer: PeerId, now: float) -> list[Command]:
        """Records that none of the outputs that the peer holds is available any more."""
        for stage in self.stages:
            stage.unheld(peer)
        return self._advance(now)

    def missing(self, stage: int, partition: int, holder: PeerId, now: float) -> list[Command]:
        """Records that the holder no longer has this one output, or never had it."""
        if stage >= len(self.stages) or self.stages[stage].holder(partition) != holder:
            return []
        self.stages[stage].missing(partition, holder)
        volunteer = self._crew.joined.get(holder)
        # Outputs found missing while the holder rests were most likely lost together with the first one.
        commands: list[Command] = []
        if volunteer is not None and volunteer.rests_until <= now and self._crew.strike(volunteer, now):
            commands += self._expel(volunteer, "it did not keep outputs that it said it kept", now)
        return commands + self._advance(now)

    def heard(self, peer: PeerId, now: float, running: Iterable[bytes] = ()) -> None:
        """Records that the volunteer sent something, so it is alive, and that it is working on the units `running`."""
        volunteer = self._crew.find(peer)
        if volunteer is None:
            return
        volunteer.heard = now
        for unit in running:
            attempt = volunteer.attempts.get(unit)
            if attempt is not None and attempt.step is Step.SENT:
                attempt.step = Step.RUNNING
                volunteer.progress = now

    def returned(self, peer: PeerId, results: Iterable[UnitResult], now: float) -> list[Command]:
        """Handles results from the volunteer. Results of units that were not sent to it are ignored."""
        volunteer = self._crew.find(peer)
        if volunteer is None:
            return []
        volunteer.heard = now
        commands: list[Command] = []
        completes = False
        for result in results:
            attempt = volunteer.attempts.get(result.unit)
            if attempt is None:
                continue
            if len(result.digest) != ID_BYTES:
                commands += self.failed(peer, result.unit, Fault.PEER, "a result without a digest", now)
                continue
            volunteer.commit(attempt, now)
            self._crew.worked(volunteer)
            # At this point, other levels of trust will wait for a second result, or an audit.
            commands += self._accept(volunteer, attempt, result, now)
            completes = completes or attempt.stage.complete
        if completes:
            return commands + self._advance(now)
        return commands + (self._fill_all(now) if volunteer is self._crew.own else self._fill(volunteer, now))

    def failed(self, peer: PeerId, unit: bytes, fault: Fault, report: Report | str, now: float) -> list[Command]:
        """Records that the volunteer could not complete the unit; the report says why."""
        volunteer = self._crew.find(peer)
        attempt = None if volunteer is None else volunteer.attempts.get(unit)
        if volunteer is None or attempt is None:
            return []
        volunteer.heard = volunteer.progress = now
        self.failures += 1
        volunteer.stop(attempt, Step.FAILED)
        stage = attempt.stage
        said = report if isinstance(report, str) else report.told(stage.index, attempt.partition, self.action)
        if volunteer is self._crew.own:
            reason = self._disputes.judged(attempt, fault, said, is_open=stage in self._open)
            return self._fill_all(now) if reason is None else self._end(JobState.FAILED, reason)
        shows_later = isinstance(report, Report) and report.shows_later
        self._disputes.failed(attempt, volunteer, fault, shows_later=shows_later)
        if fault is Fault.PEER and self._crew.strike(volunteer, now):
            return self._expel(volunteer, f"it failed too often in this job, last with: {said}", now)
        return self._fill_all(now)

    def refused(self, peer: PeerId, units: Iterable[bytes], now: float) -> list[Command]:
        """Records that the volunteer has no room for these units now. It is not at fault, but pauses briefly."""
        volunteer = self._crew.find(peer)
        if volunteer is None:
            return []
        volunteer.heard = volunteer.progress = now
        for unit in units:
            attempt = volunteer.attempts.get(unit)
            if attempt is not None:
                volunteer.stop(attempt, Step.REFUSED)
                volunteer.rests_until = max(volunteer.rests_until, now + FIRST_REST_S)
        return self._fill_all(now)

    def outlasted(self, peer: PeerId, unit: bytes, now: float) -> list[Command]:
        """Records that the unit takes longer than the volunteer lets a unit run, as it says: others try it."""
        volunteer = self._crew.find(peer)
        attempt = None if volunteer is None else volunteer.attempts.get(unit)
        if volunteer is None or attempt is None:
            return []
        if now - attempt.at < volunteer.unit_s:
            return self.failed(peer, unit, Fault.PEER, "it ended a unit before its time", now)
        volunteer.heard = volunteer.progress = now
        volunteer.stop(attempt, Step.REFUSED)
        self._disputes.outlasted(attempt, volunteer)
        return self._fill_all(now)

    # Results.

    def _accept(self, volunteer: CrewMember, attempt: Attempt, result: UnitResult, now: float) -> list[Command]:
        stage, partition = attempt.stage, attempt.partition
        before = stage.digest(partition)
        if before is not None and before != result.digest:
            where = f"partition {partition} of stage {stage.index}"
            told = f"The job is not deterministic, or a volunteer lied: {where} gave two different results."
            return self._end(JobState.FAILED, told)
        attempt.step = Step.ACCEPTED
        del volunteer.attempts[attempt.unit]
        trouble = stage.troubles.get(partition)
        known = Known(attempt.unit, stage.index, partition, result.digest, result.holder)
        commands: list[Command] = [Accept(known)]
        for peer in stage.finish(partition, result.digest, result.holder):
            other = self._crew.find(peer)
            if other is not None and other is not volunteer:
                other.attempts.pop(attempt.unit).step = Step.CANCELLED
                commands.append(WithdrawUnits(peer, (attempt.unit,)))
                commands += self._fill(other, now)
        if trouble is not None:
            for wrong in self._disputes.acquit(attempt, trouble, now):
                commands += self._expel(wrong, "it blamed the job for its own failures", now)
        return commands

    # Stages.

    def _advance(self, now: float) -> list[Command]:
        """Brings the stages up to date: which are needed again, which are open, and whether all are complete."""
        if self.state not in {JobState.RUNNING, JobState.FINISHING}:
            return []
        assert self._stages is not None
        self.repeats += self._stages.revive()
        was_open, self._open = self._open, self._stages.open()
        commands: list[Command] = [StageDone(stage.index) for stage in was_open if stage.complete]
        whole = self._stages.complete
        if whole and self.state is JobState.RUNNING:
            self.state = JobState.FINISHING
            return [*commands, *self._recalled(), Finish(self.action)]
        if not whole and self.state is JobState.FINISHING:
            self.state = JobState.RUNNING
            commands.append(Unfinished(self.action))
        return commands + self._fill_all(now)

    # Volunteers.

    def _fill(self, volunteer: CrewMember, now: float) -> list[Command]:
        return [*self._crew.fill(volunteer, self._open, now)] if self.state is JobState.RUNNING else []

    def _fill_all(self, now: float) -> list[Command]:
        if self.state is not JobState.RUNNING:
            return []
        return [*self._crew.fill_all(self._open, now), *self._disputes.repeat(self._open, now)]

    def _expel(self, volunteer: CrewMember, reason: str, now: float) -> list[Command]:
        return [DropVolunteer(volunteer.peer, reason), *self._lose(volunteer, now)]

    def _lose(self, volunteer: CrewMember, now: float) -> list[Command]:
        """Removes the volunteer, which is gone; the units that it had run elsewhere."""
        self._crew.joined.pop(volunteer.peer, None)
        for stage in self.stages:
            stage.forget(volunteer.peer)
        begun = 0
        for attempt in list(volunteer.attempts.values()):
            self.losses += 1
            # Only a unit that the volunteer was running can have made it vanish, and it runs one unit per slot at most.
            if attempt.step is Step.RUNNING or begun < volunteer.slots:
                begun += 1
                self._disputes.lost(attempt, volunteer)
            volunteer.stop(attempt, Step.LOST)
        volunteer.claimed = 0
        return self._fill_all(now)

    def _recalled(self) -> list[Command]:
        """Takes back all units that are under way."""
        commands: list[Command] = []
        for volunteer in self._crew.everyone():
            if volunteer.attempts:
                commands.append(WithdrawUnits(volunteer.peer, tuple(volunteer.attempts)))
                for attempt in list(volunteer.attempts.values()):
                    volunteer.stop(attempt, Step.CANCELLED)
        return commands

    def _end(self, state: JobState, reason: str) -> list[Command]:
        if self.state in OVER:
            return []
        commands = self._recalled()
        self.state, self._open = state, []
        self._crew.joined.clear()
        self._disputes.clear()
        return [*commands, JobEnded(state, reason)]
