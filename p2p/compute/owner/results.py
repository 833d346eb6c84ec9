"""Takes in the outcomes of units at their job's owner: checks them, keeps them, and reports them to the state machine.

A result that does not match its digest is discarded. If there is no result, this module decides whose fault that is,
by who said it: what a guest said is the job's, and a volunteer only passes it on; the owner's own guest then shows
whether it did so truly.
"""

from collections.abc import Callable, Sequence

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
from p2p.formats import format_time
from p2p.ids import PeerId
from p2p.wire import work


class ResultIntake:
    """Takes in the results of one job.

    `pull` fetches the outputs of a unit to this peer, if a volunteer could not read them where they are kept. `note`
    tells the user something.
    """

    def __init__(
        self,
        driver: Driver,
        outputs: Outputs,
        watch: Watch,
        log: JobLog,
        pull: Callable[[bytes], None],
        note: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._outputs = outputs
        self._watch = watch
        self._log = log
        self._pull = pull
        self._note = note

    async def results(self, peer: PeerId, results: Sequence[work.Result], spool: SpooledReassembly) -> None:
        """Takes in a volunteer's results. Their large outputs are in the spool. Raises StorageError."""
        driver = self._driver
        made: dict[bytes, StoredOutputs] = {}
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
            if (miscount := self._miscount(place[0], len(result.sizes))) is not None:
                driver.do(driver.job.failed(peer, result.id, Fault.JOB, miscount, trio.current_time()))
                continue
            outputs = await self._made(peer, result, spool)
            if outputs is None:
                said = "a result that is not what it says"
                driver.do(driver.job.failed(peer, result.id, Fault.PEER, said, trio.current_time()))
                continue
            made[result.id] = outputs
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
        if (miscount := self._miscount(one.stage, len(made.outputs))) is not None:
            driver.do(driver.job.failed(owner, one.unit, Fault.JOB, miscount, now))
            return
        commands = driver.job.returned(owner, [UnitResult(one.unit, result_digest(made.outputs))], now)
        self._keep(owner, commands, {one.unit: made.outputs})
        driver.do(commands)

    def _keep(self, peer: PeerId, commands: Sequence[Command], made: dict[bytes, StoredOutputs]) -> None:
        for command in commands:
            if isinstance(command, Accept):
                self._outputs.keep(command.result, made[command.result.unit])
                self._watch.accepted(peer)

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

    def _miscount(self, stage: int, outputs: int) -> Report | None:
        """Returns what is wrong with a unit of this stage that has so many outputs. It is a guest that makes them."""
        plan = self._driver.plan
        expected = outputs if plan is None else max(plan.stages[stage].outputs, 1)
        if outputs == expected:
            return None
        text = f"its unit answered with {outputs} outputs instead of {expected}. Job code must not change p2p.jobs."
        return Report("job", text, kind="WrongOutputs")

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
