"""Units at which volunteers fail: who is to blame, and which units the owner reruns to find out. Sans-IO.

A job is blamed only when the owner itself has seen its unit fail. The owner reruns a unit as soon as two unrelated
volunteers blame the job, no unrelated volunteer is left to ask, or volunteers have tried the unit often enough. It
reruns one unit at a time, so a liar costs the job no more than one unit in the owner's guest (three short runs where it
says that state is kept, which a unit alone need not show). Volunteers that were wrong get a strike.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from p2p.core.compute.attempts import Attempt, Fault, SendUnits, Work
from p2p.core.compute.crew import Crew, CrewMember
from p2p.core.compute.stage import AGAIN, RUNNING, StageUnits, Trouble
from p2p.ids import PeerId

MAX_OUTLASTED = 2
"""How many volunteers may end a unit that takes longer than they allow, before the owner runs it itself."""
MAX_FAILURES = 4
MAX_LOSSES = 8
"""How often a unit may fail, and how many volunteers may vanish while running it, before the owner runs it itself."""
LOOKED_AT = 64
"""How many disputed units are examined at a time, so that a job with many costs its owner no more than one with few."""


class Disputes:
    """The units of a job's running action at which volunteers failed, and which the owner's guest may have to rerun."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._disputed: dict[tuple[StageUnits, int], None] = {}
        """The disputed units, in the order in which the owner repeats them."""

    def clear(self) -> None:
        """Forgets all disputes. To be called when the action is over."""
        self._disputed.clear()

    def failed(self, attempt: Attempt, volunteer: CrewMember, fault: Fault, *, shows_later: bool = False) -> None:
        """Records that a volunteer other than the owner's guest failed to give a result of the unit.

        `shows_later` is as in `Report`.
        """
        trouble = _troubled(attempt, volunteer.peer, lost=fault is Fault.INPUT)
        if fault is Fault.JOB:
            trouble.shows_later = trouble.shows_later or shows_later
            if set(trouble.accusers.values()) - {volunteer.relation}:
                trouble.for_owner = True
            trouble.accusers[volunteer.peer] = volunteer.relation
            volunteer.accusations += 1
            self._disputed[attempt.stage, attempt.partition] = None
        self._tried(attempt, trouble)

    def lost(self, attempt: Attempt, volunteer: CrewMember) -> None:
        """Records that a volunteer has vanished, perhaps because of the unit that it was running."""
        self._tried(attempt, _troubled(attempt, volunteer.peer, lost=True))

    def outlasted(self, attempt: Attempt, volunteer: CrewMember) -> None:
        """Records that the unit takes longer than the volunteer lets a unit run, which is nobody's fault."""
        trouble = attempt.stage.trouble(attempt.partition)
        trouble.outlasted.add(volunteer.peer)
        trouble.for_owner = trouble.for_owner or len(trouble.outlasted) >= MAX_OUTLASTED
        self._disputed[attempt.stage, attempt.partition] = None

    def judged(self, attempt: Attempt, fault: Fault, said: str, *, is_open: bool) -> str | None:
        """Records that the unit failed in the owner's guest too. Returns why the job ends, or None.

        `is_open` is false while outputs that the unit's stage reads are being made again. `said` is the failure's text.
        """
        stage, partition = attempt.stage, attempt.partition
        trouble = _troubled(attempt, self._crew.own.peer, lost=fault is Fault.INPUT)
        if fault is Fault.JOB:
            return said
        # If outputs that the unit reads are being made again, the unit itself has not run at the owner.
        trouble.judged += is_open or fault is not Fault.INPUT
        last = trouble.for_owner and fault is not Fault.INPUT and stage.state(partition) == AGAIN
        if last or trouble.judged >= MAX_FAILURES:
            times = trouble.failures + trouble.losses
            return f"Partition {partition} of stage {stage.index} was tried {times} times in vain, last with: {said}"
        return None

    def repeat(self, stages: Sequence[StageUnits], now: float) -> list[SendUnits]:
        """Sends the owner's guest the disputed unit of these stages to run next, unless it already runs one."""
        own = self._crew.own
        if any((attempt.stage, attempt.partition) in self._disputed for attempt in own.attempts.values()):
            return []
        for stage, partition in islice(self._disputed, LOOKED_AT):
            state = stage.state(partition)
            if stage not in stages or state not in {AGAIN, RUNNING}:
                continue
            trouble = stage.trouble(partition)
            # A volunteer that is still running the unit may run it for ever, and if it is related to those that accuse
            # the job, what it says will not count.
            relations = set(trouble.accusers.values())
            if trouble.for_owner or not self._crew.unrelated(relations, trouble.outlasted, now):
                stage.start(partition, own.peer)
                work = own.begin(stage, partition, now)
                return [SendUnits(own.peer, (_in_company(work, stage) if trouble.shows_later else work,))]
        return []

    def acquit(self, attempt: Attempt, trouble: Trouble, now: float) -> Iterator[CrewMember]:
        """Records that the unit succeeded: whoever blamed the job was wrong, or failed where the owner did not.

        Each of these volunteers gets a strike; yields those that are now out.
        """
        self._disputed.pop((attempt.stage, attempt.partition), None)
        for peer in trouble.peers if trouble.for_owner else trouble.accusers:
            volunteer = self._crew.joined.get(peer)
            if volunteer is None:
                continue
            if peer in trouble.accusers:
                volunteer.accusations = max(0, volunteer.accusations - 1)
            if self._crew.strike(volunteer, now):
                yield volunteer

    def _tried(self, attempt: Attempt, trouble: Trouble) -> None:
        """Records another failed try by volunteers; after enough of them, the owner runs the unit."""
        if trouble.failures >= MAX_FAILURES or trouble.losses >= MAX_LOSSES:
            trouble.for_owner = True
            self._disputed[attempt.stage, attempt.partition] = None


def _in_company(work: Work, stage: StageUnits) -> Work:
    """The unit twice, with the next unit of its stage between: a cache that the first fills, the others then change."""
    partition = (work.partition + 1) % stage.count
    return work._replace(between=(Work(stage.unit(partition), stage.index, partition),))


def _troubled(attempt: Attempt, peer: PeerId, *, lost: bool) -> Trouble:
    """Adds this attempt to the unit's history, as lost or failed. Returns the history."""
    trouble = attempt.stage.trouble(attempt.partition)
    trouble.peers.add(peer)
    if lost:
        trouble.losses += 1
    else:
        trouble.failures += 1
    return trouble
