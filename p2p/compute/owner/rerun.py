"""Reruns, at the job's owner and in fresh guests, the units that volunteers report as faulty or impossible."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from p2p.compute.execution import runner
from p2p.compute.execution.output_reader import OutputReader
from p2p.compute.execution.runner import LOST, MAX_UNIT_INPUT_BYTES, Batch, Runner, UnitOutcome
from p2p.compute.execution.unit_inputs import Missing, UnitInputs
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.dispatch import Dispatch
from p2p.compute.owner.setup import Setup
from p2p.core.compute.attempts import Work
from p2p.errors import JobError, SandboxFailed, ShoalError, StorageError
from p2p.sandbox.limits import GuestEnded
from p2p.wire import work


class Rerunner:
    """Runs units of one job on the owner's machine, to see whether the job or a volunteer is at fault.

    `load` is the encoded message that loads the job into a guest; `results` are the results of the job's actions so
    far.
    """

    def __init__(
        self, deps: Deps, setup: Setup, load: bytes, dispatch: Dispatch, reader: OutputReader, results: Sequence[bytes]
    ) -> None:
        self._deps = deps
        self._setup = setup
        self._load = load
        self._dispatch = dispatch
        self._reader = reader
        self._results = results
        self._reading: UnitInputs | None = None

    @property
    def starved(self) -> bool:
        """Whether the unit waits for an input, of which nothing has come for a while."""
        return self._reading is not None and self._reading.starved

    async def run(self, one: Work) -> UnitOutcome:
        """Runs a unit as a volunteer would, and returns its outcome: that of its second run if others run `between`.

        Raises StorageError and SandboxFailed: these are faults of this machine, and say nothing about the unit.
        """
        try:
            return await self._run(one)
        except (StorageError, SandboxFailed):
            raise
        except Missing as error:
            return UnitOutcome([], kind=LOST, text=str(error))
        except JobError as error:
            return UnitOutcome([], kind="limit", text=str(error)[: work.MAX_TEXT])
        except GuestEnded as ended:
            return runner.ending(ended)
        except ShoalError as error:
            return UnitOutcome([], kind="broken", text=str(error)[: work.MAX_TEXT])

    async def _run(self, one: Work) -> UnitOutcome:
        setup, inputs = self._setup, self._deps.open_shares
        held = [inputs.open(share.share, share.hints) for share in setup.inputs]
        try:
            most = min(setup.limits.memory_bytes, MAX_UNIT_INPUT_BYTES)
            self._reading = reading = UnitInputs(setup.id, self._deps.presence.peer_id, held, None, self._reader, most)
            units: dict[bytes, work.Unit] = {}
            lost: list[Work] = []
            wanted = [one, *(other for other in one.between if other.unit != one.unit)]
            for message in await self._dispatch.messages(wanted, len(self._results), lost.append, keep=False):
                match message:
                    case work.Bytes():
                        reading.arrived(message)
                    case work.Reads():
                        reading.reads(message.unit, message.kept, message.holders)
                    case work.Units(some):
                        units |= {unit.id: unit for unit in some}
            if one.unit not in units:
                why = "what it reads is lost" if lost else "the action is over"
                return UnitOutcome([], kind=LOST if lost else "broken", text=why)
            run = await self._read(one, units, reading)
        finally:
            self._reading = None
            await inputs.release(*held)
        sandbox, description = self._deps.guests.repeating, setup.description
        found = await runner.runner(sandbox, setup.runtime, setup.id, setup.limits, self._load, description)
        if isinstance(found, UnitOutcome):
            return found
        fresh: Runner = found
        try:
            return await self._judged(fresh, run)
        finally:
            fresh.close()

    async def _read(self, one: Work, units: Mapping[bytes, work.Unit], reading: UnitInputs) -> Batch:
        """Returns what is to run, in order, with what it reads. Raises ShoalError."""
        first = units[one.unit], await reading.given(units[one.unit])
        if not one.between:
            return [first]
        between = []
        for other in one.between:
            with suppress(ShoalError):  # it says nothing about the unit
                unit = units.get(other.unit)
                if unit is not None and other.unit != one.unit:
                    between.append((unit, await reading.given(unit)))
        return [first, *between, first]

    async def _judged(self, fresh: Runner, run: Batch) -> UnitOutcome:
        """Runs these units. Returns the outcome of the first, or of its second run if both gave a result before.

        Raises GuestEnded, MalformedMessage.
        """
        outcomes: list[UnitOutcome] = []
        try:
            await fresh.run(run, self._results, lambda _, made: outcomes.append(made))
        except GuestEnded:
            if not outcomes:
                raise
            return outcomes[0]  # more than one run may need more than one unit may have
        return outcomes[0] if outcomes[0].kind else outcomes[-1]
