"""Takes in the outcomes of units at their job's owner: checks them, keeps them, and reports them to the state machine.

A result that does not match its digest is discarded. If there is no result, this module decides whose fault that is,
by who said it: what a guest said is the job's, and a volunteer only passes it on; the owner's own guest then shows
whether it did so truly.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import trio

from p2p.compute.execution.reassembly import SpooledReassembly
from p2p.compute.execution.runner import LOST, UnitOutcome
from p2p.compute.execution.unit import cut, result_digest
from p2p.compute.owner.driver import Driver
from p2p.compute.owner.log import JobLog
from p2p.compute.owner.outputs import Outputs, Remote, StoredOutputs
from p2p.compute.owner.view import Watch
from p2p.core.compute.attempts import Accept, Command, Fault, UnitResult, Work
from p2p.core.compute.report import Report
from p2p.core.compute.skipped import NO_SKIPS, SkippedRecords, Skips, UnitPlace, read_reports
from p2p.errors import JobError
from p2p.formats import format_time
from p2p.ids import PeerId
from p2p.jobs.skipping import MAX_LISTED
from p2p.wire import work


class ResultIntake:
    """Takes in the results of one job.

    `pull` fetches the outputs of a unit to this peer, if a volunteer could not read them where they are kept. `note`
    tells the user something. The job's skipped records are counted in `skipped`.
    """

    def __init__(
        self,
        driver: Driver,
        outputs: Outputs,
        watch: Watch,
        log: JobLog,
        skipped: SkippedRecords,
        pull: Callable[[bytes], None],
        note: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._outputs = outputs
        self._watch = watch
        self._log = log
        self._skipped = skipped
        self._pull = pull
        self._note = note

    async def results(self, peer: PeerId, results: Sequence[work.Result], spool: SpooledReassembly) -> None:
        """Takes in a volunteer's results. Their large outputs are in the spool. Raises StorageError."""
        driver = self._driver
        made: dict[bytes, _Made] = {}
        skipping = 0
        good: list[UnitResult] = []
        answered: set[bytes] = set()
        for result in results:
            place = driver.job.place(peer, result.id)
            if place is None or result.id in answered:
                continue  # not asked for, or no longer; of two answers the first counts
            answered.add(result.id)
            if result.log:
                self._log.add(driver.job.action, place, peer, result)
            if result.kind:
                for unit in result.missing:
                    self._pull(unit)
                self._ended(peer, result)
                continue
            skips = _skips_of(result)
            wrong = self._forged(place[0], len(result.sizes), result.skipped)
            if skips is not None and self._skipped.would_exceed(self._unit(place), skips, skipping):
                wrong = wrong or Report("job", f"it has skipped {skips.amount} records", kind="TooManySkipped")
            if wrong is not None:
                driver.do(driver.job.failed(peer, result.id, Fault.JOB, wrong, trio.current_time()))
                continue
            outputs = await self._made(peer, result, spool)
            if outputs is None or skips is None:
                said = "a result that is not what it says"
                driver.do(driver.job.failed(peer, result.id, Fault.PEER, said, trio.current_time()))
                continue
            made[result.id] = _Made(outputs, skips)
            skipping += skips.amount
            self._watch.worked(peer, result.seconds)
            holder = outputs.holder if isinstance(outputs, Remote) else None
            good.append(UnitResult(result.id, result.digest, holder))
        commands = driver.job.returned(peer, good, trio.current_time())  # checking them may have taken long
        # No checkpoint may follow: whoever finishes the action must find all outputs that were accepted.
        self._keep(peer, commands, made)
        driver.do(commands)
        await spool.drop([result.id for result in results])
        await self._outputs.room()

    def own(self, owner: PeerId, one: Work, made: UnitOutcome) -> None:
        """Takes in the outcome of a unit that the owner ran itself."""
        driver, now = self._driver, trio.current_time()
        if made.kind == LOST:
            driver.do(driver.job.failed(owner, one.unit, Fault.INPUT, made.text, now))
            return
        if made.kind:
            self._failed(owner, one.unit, made, now)
            return
        if (wrong := self._forged(one.stage, len(made.outputs), made.skips.amount)) is not None:
            driver.do(driver.job.failed(owner, one.unit, Fault.JOB, wrong, now))
            return
        commands = driver.job.returned(owner, [UnitResult(one.unit, result_digest(made.outputs))], now)
        self._keep(owner, commands, {one.unit: _Made(made.outputs, made.skips)})
        if self._skipped.is_exceeded:
            driver.stop(JobError(self._skipped.excess()))
        driver.do(commands)

    def _keep(self, peer: PeerId, commands: Sequence[Command], made: dict[bytes, "_Made"]) -> None:
        for command in commands:
            if isinstance(command, Accept):
                known = command.result
                outputs, skips = made[known.unit]
                self._outputs.keep(known, outputs, self._skipped.set(self._unit((known.stage, known.partition)), skips))
                self._watch.accepted(peer)

    def _unit(self, place: tuple[int, int]) -> UnitPlace:
        return UnitPlace(self._driver.job.action, *place)

    def _ended(self, peer: PeerId, result: work.Result) -> None:
        """Takes in that a volunteer's unit gave no result."""
        driver, session, now = self._driver, self._driver.sessions.get(peer), trio.current_time()
        match result.kind:
            case "paused" if session is not None and not session.slots:
                driver.do(driver.job.refused(peer, [result.id], now))
            case "cap" if session is not None and session.unit_s:
                self._note(
                    f"A unit was ended after {format_time(session.unit_s)}, the longest that its volunteer lets a unit "
                    "run. Others try it, and this machine in the end. Make units smaller, with more --partitions, or "
                    "ask volunteers to set volunteer.unit_time_s higher."
                )
                driver.do(driver.job.outlasted(peer, result.id, now))
            case _:
                self._failed(peer, result.id, result, now)

    def _failed(self, peer: PeerId, unit: bytes, said: work.Result | UnitOutcome, now: float) -> None:
        fault, report = _fault(said.kind, said.text, missing=isinstance(said, work.Result) and bool(said.missing))
        self._driver.do(self._driver.job.failed(peer, unit, fault, report, now))

    def _forged(self, stage: int, outputs: int, skipped: int) -> Report | None:
        """Returns what is wrong with a unit of this stage that has so many outputs and has skipped so many records. It
        is a guest that says so.
        """
        plan = self._driver.plan
        expected = outputs if plan is None else max(plan.stages[stage].outputs, 1)
        if outputs != expected:
            what = f"{outputs} outputs instead of {expected}"
        elif skipped and plan is not None and not plan.stages[stage].skips:
            what = f"{skipped} skipped records, where none may be skipped"
        else:
            return None
        return Report("job", f"its unit answered with {what}. Job code must not change p2p.jobs.", kind="WrongOutputs")

    async def _made(self, peer: PeerId, result: work.Result, spool: SpooledReassembly) -> StoredOutputs | None:
        """Returns the outputs that came with a result or before it, or None if they do not match the result."""
        place, plan = self._driver.job.place(peer, result.id), self._driver.plan
        if place is None or plan is None:
            return None
        outputs = plan.stages[place[0]].outputs
        if result.kept:
            able = outputs > 0 and self._driver.address_of(peer) is not None and sum(result.sizes) <= spool.most
            return Remote(result.id, result.digest, result.sizes, peer) if able else None
        path = spool.take(result.id) if not result.inline else None
        if path is not None:
            return await self._outputs.verified(path, result.id, result.sizes, result.digest)
        made = cut(result.inline, result.sizes)
        return made if made is not None and result_digest(made) == result.digest else None


class _Made(NamedTuple):
    """What a unit has made, and what it has skipped."""

    outputs: StoredOutputs
    skips: Skips


def _skips_of(result: work.Result) -> Skips | None:
    """Returns what a unit has skipped according to a volunteer; None if that makes no sense."""
    if not result.skipped:
        return NO_SKIPS
    try:
        return Skips(result.skipped, read_reports(result.text)[:MAX_LISTED])
    except (msgspec.DecodeError, RecursionError):
        return None


def _fault(kind: str, text: str, *, missing: bool) -> tuple[Fault, Report | str]:
    """Decides whose fault it is that a unit has no result; `kind` is that of `work.Result`."""
    match kind:
        case "job":
            try:
                return Fault.JOB, msgspec.json.decode(text, type=Report)
            except (msgspec.DecodeError, RecursionError):
                return Fault.PEER, "a report that makes no sense"
        case "plan":
            return Fault.JOB, Report("plan", f"The job plans differently each time: {text}")
        case "limit":
            return Fault.JOB, Report("limit", f"A unit went over its limits: {text}")
        case "input" if missing:
            return Fault.INPUT, text
        case _:
            return Fault.TRANSIENT, text or kind
