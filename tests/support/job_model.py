"""A model of an owner that only carries out what `core.compute.job` decides, and checks each decision."""

from collections.abc import Iterable

from p2p.core.compute.attempts import (
    OVER,
    Accept,
    Command,
    DropVolunteer,
    Fault,
    Finish,
    JobEnded,
    JobState,
    SendUnits,
    StageDone,
    Unfinished,
    UnitResult,
    WithdrawUnits,
    Work,
)
from p2p.core.compute.job import Job
from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan, Source, Stage, check, job_context, sizes
from p2p.ids import H, PeerId

UNIT_S = 30.0
CONTEXT = job_context(b"bundle", b"runtime", b"limits")


def peer(name: str) -> PeerId:
    return PeerId(name.encode().ljust(32, b"."))


OWNER = peer("owner")


def plan_of(*stages: tuple[int, tuple[int, ...], int], action: int = 0) -> Plan:
    """A plan; stages are (units, what the stage reads, outputs), and one that reads nothing is a range."""
    made = tuple(
        Stage(
            index,
            None if reads else Source("range", count=units),
            reads,
            outputs,
            partitions=units,
            line=index + 1,
        )
        for index, (units, reads, outputs) in enumerate(stages)
    )
    plan = Plan(1, action, "count", f"{action:064x}", made)
    check(plan, 0)
    return plan


def output_of(unit: bytes) -> bytes:
    """The digest of the output that honest volunteers make for a unit."""
    return H("output", unit)


class World:
    """A job, its volunteers, and its journal."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = plans
        self.now = 1000.0
        self.job = Job(OWNER, CONTEXT, UNIT_S)
        self.present: set[PeerId] = set()
        self.asked: dict[PeerId, dict[bytes, Work]] = {OWNER: {}}
        self.actions: list[bytes] = []
        self.journal: dict[tuple[int, int], Known] = {}
        """The accepted results of the present action, by stage and partition."""
        self.unheld: set[tuple[int, int]] = set()
        """The places, by stage and partition, whose output nobody holds any more."""
        self.runs: dict[bytes, int] = {}
        """How often each unit was sent."""
        self.accepted: list[Known] = []
        self.dropped: dict[PeerId, str] = {}
        self.finishing = False
        self.ended: JobEnded | None = None

    # Carrying out.

    def obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            assert self.ended is None or isinstance(command, DropVolunteer), f"{command} after the end"
            match command:
                case SendUnits(volunteer, units):
                    self._sent(volunteer, units)
                case WithdrawUnits(volunteer, ids):
                    assert ids
                    for unit in ids:
                        del self.asked[volunteer][unit]
                case DropVolunteer(volunteer, reason):
                    assert reason
                    self.present.discard(volunteer)
                    self.asked.pop(volunteer, None)
                    self.dropped[volunteer] = reason
                case Accept(known):
                    self._accepted(known)
                case StageDone(stage):
                    assert self.complete(stage)
                case Finish(action):
                    assert action == len(self.actions)
                    assert self.complete(len(self.plan.stages) - 1)
                    assert not any(self.asked.values()), "what is under way is taken back first"
                    self.finishing = True
                case Unfinished():
                    assert self.finishing
                    self.finishing = False
                case JobEnded():
                    assert not any(self.asked.values()), "volunteers are freed first"
                    self.ended = command
        assert (self.ended is not None) == (self.job.state in OVER)

    def _sent(self, volunteer: PeerId, units: tuple[Work, ...]) -> None:
        assert volunteer in self.present or volunteer == OWNER
        assert not self.finishing
        assert 0 < len(units) <= 1024
        for work in units:
            place = work.stage, work.partition
            assert place not in self.journal or place in self.unheld, "sent though it is done"
            assert work.unit not in self.asked[volunteer], "sent twice to the same volunteer"
            assert all(self.complete(read) for read in self.plan.stages[work.stage].reads), "sent before its inputs"
            self.asked[volunteer][work.unit] = work
            self.runs[work.unit] = self.runs.get(work.unit, 0) + 1
            assert sum(work.unit in asked for who, asked in self.asked.items() if who != OWNER) <= 3

    def _accepted(self, known: Known) -> None:
        place = known.stage, known.partition
        before = self.journal.get(place)
        if before is not None:
            assert place in self.unheld, "a second result was accepted"
            assert (before.unit, before.digest) == (known.unit, known.digest)
        self.unheld.discard(place)
        self.journal[place] = known
        self.accepted.append(known)

    @property
    def plan(self) -> Plan:
        return self.plans[len(self.actions)]

    def complete(self, stage: int) -> bool:
        count = self.plan.stages[stage].partitions
        assert count is not None
        return all((stage, n) in self.journal and (stage, n) not in self.unheld for n in range(count))

    # Events.

    def start(self) -> None:
        plan = self.plan
        counts = sizes(plan, [None] * len(plan.stages))
        sources = {stage.index: b"range" for stage in plan.stages if stage.source}
        known = list(self.journal.values())
        self.obey(self.job.planned(plan, counts, sources, self.now, known))

    def join(
        self,
        name: str,
        slots: int = 1,
        *,
        stranger: bool = False,
        relation: str | None = None,
        window: int = 65536,
        unit_s: float = 0.0,
    ) -> PeerId:
        who = OWNER if name == "owner" else peer(name)
        self.present.add(who)
        self.asked.setdefault(who, {})
        told = name if relation is None else relation
        commands = self.job.joined(who, slots, self.now, window=window, stranger=stranger, relation=told, unit_s=unit_s)
        self.obey(commands)
        return who

    def leave(self, who: PeerId) -> None:
        """A volunteer leaves. Its outputs remain until `lose` removes them."""
        self.present.discard(who)
        self.asked[who] = {}
        if who != OWNER:
            del self.asked[who]
        self.obey(self.job.left(who, self.now))

    def lose(self, who: PeerId) -> None:
        """Loses all outputs of a holder."""
        self.unheld |= {place for place, known in self.journal.items() if known.holder == who}
        self.journal = {
            place: known._replace(holder=None) if known.holder == who else known
            for place, known in self.journal.items()
        }
        self.obey(self.job.unheld(who, self.now))

    def miss(self, stage: int, partition: int) -> None:
        """Reports that one output is not where it was kept."""
        holder = self.journal[stage, partition].holder
        assert holder is not None
        self.unheld.add((stage, partition))
        self.journal[stage, partition] = self.journal[stage, partition]._replace(holder=None)
        self.obey(self.job.missing(stage, partition, holder, self.now))

    def give(self, who: PeerId, *units: bytes, held: bool = False) -> None:
        """Delivers results of these units from the volunteer, whichever volunteer was asked for them."""
        for unit in units:
            self.asked.get(who, {}).pop(unit, None)
        results = [UnitResult(unit, output_of(unit), who if held else None) for unit in units]
        self.obey(self.job.returned(who, results, self.now))

    def work(self, who: PeerId, most: int = 1, *, held: bool = False) -> list[bytes]:
        """Lets the volunteer finish the oldest of its units."""
        units = list(self.asked[who])[:most]
        self.give(who, *units, held=held)
        return units

    def fail(self, who: PeerId, unit: bytes, fault: Fault, report: str = "it failed") -> None:
        self.asked.get(who, {}).pop(unit, None)
        self.obey(self.job.failed(who, unit, fault, report, self.now))

    def outlasted(self, who: PeerId, unit: bytes) -> None:
        self.asked[who].pop(unit, None)
        self.obey(self.job.outlasted(who, unit, self.now))

    def refuse(self, who: PeerId, *units: bytes) -> None:
        for unit in units:
            self.asked[who].pop(unit, None)
        self.obey(self.job.refused(who, units, self.now))

    def tick(self, seconds: float, *, silent: Iterable[PeerId] = ()) -> None:
        self.now += seconds
        for who in self.present - set(silent):
            self.job.heard(who, self.now)
        self.obey(self.job.tick(self.now))

    def finish(self) -> None:
        """Lets the owner combine the outputs, journal the action's result, and plan the next action or end."""
        assert self.finishing
        self.finishing = False
        digest = H("result", *[self.journal[place].digest for place in sorted(self.journal)])
        self.obey(self.job.finished(digest))
        self.actions.append(digest)
        self.journal, self.unheld = {}, set()
        if len(self.actions) < len(self.plans):
            self.start()
        else:
            self.obey(self.job.done())

    def restart(self) -> None:
        """Restarts the owner as after kill -9: only the journal is left."""
        self.present.clear()
        self.asked = {OWNER: {}}
        self.finishing = False
        self.job = Job(OWNER, CONTEXT, UNIT_S, self.actions)
        # That an output is lost was known to the one who died only; the holder's absence is found out again.
        lost, self.unheld = self.unheld, set()
        nobody = peer("nobody")
        for place in lost:
            self.journal[place] = self.journal[place]._replace(holder=nobody)
        self.start()
        if lost:
            self.lose(nobody)

    def run(self, *workers: PeerId, rounds: int = 10_000) -> None:
        """Lets these volunteers do all that they are asked to do, until the job is over."""
        for _ in range(rounds):
            if self.ended is not None:
                return
            if self.finishing:
                self.finish()
            for who in (*workers, OWNER):
                if self.ended is None and who in self.asked:
                    self.work(who, 16)
            if self.ended is None:
                self.tick(0.2)
        raise AssertionError(f"the job does not end: {self.job.state}, {self.asked}")

    @property
    def state(self) -> JobState:
        return self.job.state
