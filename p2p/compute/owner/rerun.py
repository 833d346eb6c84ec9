"""Units that the owner of a job runs itself, in fresh guests: those about which volunteers complain."""

from collections.abc import Sequence

from p2p.compute.execution import runner as running
from p2p.compute.execution.kept_outputs import Reader
from p2p.compute.execution.runner import MOST_GIVEN_BYTES, Made, Runner
from p2p.compute.execution.unit_inputs import Missing, Reading
from p2p.compute.owner.dispatch import Dispatch
from p2p.compute.owner.setup import Setup
from p2p.core.compute.attempts import Work
from p2p.errors import JobError, SandboxFailed, ShoalError, StorageError
from p2p.peer_context import Local
from p2p.sandbox.limits import GuestEnded
from p2p.wire import work


class Repeater:
    """Runs units of one job; `load` is the frame that loads it into a guest, `results` are those of its actions."""

    def __init__(
        self, local: Local, setup: Setup, load: bytes, dispatch: Dispatch, reader: Reader, results: Sequence[bytes]
    ) -> None:
        self._local = local
        self._setup = setup
        self._load = load
        self._dispatch = dispatch
        self._reader = reader
        self._results = results

    async def run(self, one: Work) -> Made:
        """What comes of a unit, given to it as to a volunteer.

        Raises StorageError and SandboxFailed, which are this machine's and say nothing of the unit.
        """
        try:
            return await self._run(one)
        except (StorageError, SandboxFailed):
            raise
        except Missing as error:
            return Made([], kind=running.LOST, text=str(error))
        except JobError as error:
            return Made([], kind="limit", text=str(error)[: work.MAX_TEXT])
        except GuestEnded as ended:
            return running.ending(ended)
        except ShoalError as error:
            return Made([], kind="broken", text=str(error)[: work.MAX_TEXT])

    async def _run(self, one: Work) -> Made:
        setup, inputs = self._setup, self._local.inputs
        held = [inputs.use(share.share, share.hints) for share in setup.inputs]
        try:
            most = min(setup.limits.memory_bytes, MOST_GIVEN_BYTES)
            reading = Reading(setup.id, self._local.peer_id, held, None, self._reader, most)
            unit: work.Unit | None = None
            lost: list[Work] = []
            for message in await self._dispatch.messages([one], len(self._results), lost.append, keep=False):
                match message:
                    case work.Bytes():
                        reading.arrived(message)
                    case work.Reads():
                        reading.reads(message.unit, message.kept, message.holders)
                    case work.Units(units):
                        unit = units[0]
            if unit is None:
                why = "what it reads is lost" if lost else "the action is over"
                return Made([], kind=running.LOST if lost else "broken", text=why)
            given = await reading.given(unit)
        finally:
            await inputs.release(*held)
        outcome: list[Made] = []
        sandbox, description = self._local.sandbox, setup.description
        found = await running.runner(sandbox, setup.runtime, setup.id, setup.limits, self._load, description)
        if isinstance(found, Made):
            return found
        runner: Runner = found
        try:
            await runner.run([(unit, given)], self._results, lambda _, made: outcome.append(made))
        finally:
            runner.close()
        return outcome[0]
