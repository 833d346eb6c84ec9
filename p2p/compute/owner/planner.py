"""Plans jobs, by the job's own code in a guest on the owner's machine; the plan of a WASI command needs no guest.

Given the results of the earlier actions, a planner determines which action comes next. After an action, it makes the
action's result from the outputs of the units of the last stage.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
import trio

from p2p.compute.execution.reassembly import THING_BYTES
from p2p.compute.execution.runner import MAX_UNIT_INPUT_BYTES
from p2p.compute.execution.unit_inputs import MAX_RESULTS_BYTES
from p2p.concurrency.turn import Turn
from p2p.core.compute import plan as plans
from p2p.core.compute.plan import MAX_ANSWER_BYTES, MAX_RESULT_BYTES, Plan
from p2p.core.compute.report import Report
from p2p.errors import JobError, MalformedMessage
from p2p.ids import H
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import MAX_FRAME_BYTES, GuestEnded, GuestLimits
from p2p.sandbox.room import Place
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from p2p.wire import guest as frames

_LIMITS_SET = " It may take as much as a unit: see --unit-time and --unit-memory."
MAX_GUESTS_TRIED = 3
"""How many guests are tried if they break, for example because a process is killed."""


class Returned(NamedTuple):
    """Returned by a planner when no action is left: what the job returned, as JSON values."""

    value: Any


class Planner(Protocol):
    """Determines the next action of one job, and makes each action's result."""

    @property
    def waits_for_room(self) -> bool:
        """Whether it waits for the guests of other jobs to leave room for its own."""

    async def until_room(self) -> None:
        """Waits until there has been room for the first time."""

    async def next(self, results: Sequence[bytes]) -> Plan | Returned:
        """Returns the next action, or what the job returned, given the results of all actions so far.

        Raises JobError.
        """

    async def confirm(self, plan: Plan) -> None:
        """Makes that plan once more, and those before it that the same guest made only once.

        Raises JobError if one differs.
        """

    async def finish(self, plan: Plan, partials: Sequence[bytes]) -> bytes:
        """Makes the action's result. Raises JobError."""


class _Said(msgspec.Struct):
    """An answer of the planning guest."""

    ok: frames.Text = ""
    plan: msgspec.Raw = msgspec.Raw(b"")
    value: Any = None
    notes: Annotated[list[Annotated[str, msgspec.Meta(max_length=1000)]], msgspec.Meta(max_length=32)] = []
    error: frames.Text = ""


class GuestPlanner:
    """Plans a job in a guest that runs the job's own code.

    While the guest is not asked anything, it may be ended to make room for those of other jobs. It is started again
    when it is needed, until the planner is closed. What the job prints is added to `log`, and `note` is called with
    what its user should know.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        runtime: Runtime,
        job: bytes,
        load: bytes,
        limits: GuestLimits,
        inputs: int,
        log: bytearray,
        note: Callable[[str], None],
    ) -> None:
        self._sandbox = sandbox
        self._runtime = runtime
        self._job = job
        self._load = load
        self._limits = limits
        self._inputs = inputs
        self._log = log
        self._turn = Turn()
        self._had_room = trio.Event()
        self.waits_for_room = False
        self._place: Place | None = None
        self._note = note
        self._guest: Guest | None = None
        self._over = False
        self._known = 0
        self._counted = self._results_bytes = 0
        self._broken = 0
        self._results: Sequence[bytes] = ()

    async def until_room(self) -> None:
        await self._had_room.wait()

    async def next(self, results: Sequence[bytes]) -> Plan | Returned:
        self._results_bytes += sum(len(result) + THING_BYTES for result in results[self._counted :])
        self._counted = len(results)
        if self._results_bytes > MAX_RESULTS_BYTES:
            # No volunteer would take them all.
            raise JobError(
                f"The results of {len(results)} actions have {self._results_bytes} bytes together; {MAX_RESULTS_BYTES} "
                "are allowed. Use save, which writes files."
            )
        self._results = results
        said, blobs = await self._ask({"do": "plan"}, [])
        for text in said.notes:
            self._note(text)
        if said.ok == "done":
            # What is too large for a header is sent as separate JSON.
            return Returned(_json(blobs[0]) if blobs else said.value)
        return plans.decode(bytes(said.plan), self._inputs)

    async def confirm(self, plan: Plan) -> None:
        await self._ask({"do": "confirm", "action": plan.action, "digest": plan.digest}, [])

    async def finish(self, plan: Plan, partials: Sequence[bytes]) -> bytes:
        size = sum(map(len, partials))
        if size > MAX_UNIT_INPUT_BYTES:
            raise JobError(
                f"What the units made for {plan.kind}, line {plan.line}, has {size} bytes together; "
                f"{MAX_UNIT_INPUT_BYTES} can be combined. Use save, which writes files."
            )
        _, blobs = await self._ask({"do": "finish", "action": plan.action, "digest": plan.digest}, partials)
        result = blobs[0] if blobs else b""
        if len(result) > MAX_RESULT_BYTES:
            raise JobError(
                f"The result of {plan.kind}, line {plan.line}, has {len(result)} bytes; {MAX_RESULT_BYTES} are "
                "allowed. Use save."
            )
        return result

    async def _ask(self, header: dict[str, Any], blobs: Sequence[bytes]) -> tuple[_Said, list[bytes]]:
        """Sends a request to the guest, or to a new one if it breaks. Raises JobError for the job's own faults."""
        async with self._turn:
            if self._place is not None:
                self._place.use()
            try:
                return await self._asked(header, blobs)
            finally:
                if self._place is not None:
                    self._place.lend(self._end_guest)

    async def _asked(self, header: dict[str, Any], blobs: Sequence[bytes]) -> tuple[_Said, list[bytes]]:
        while True:
            try:
                if self._guest is None:
                    await self._start()
                fresh = self._results[self._known :]
                known = list(range(self._known, self._known + len(fresh)))
                self._known += len(fresh)
                return await self._call(_frame(header | {"results": known}, [*fresh, *blobs]))
            except GuestEnded as ended:
                self._end_guest()
                self._check()
                self._broken += 1
                if ended.kind != "broken" or self._broken == MAX_GUESTS_TRIED:
                    hint = _LIMITS_SET if ended.kind in ("time", "memory") else ""
                    raise JobError(f"The job could not be planned: {ended}{hint}") from ended

    async def _start(self) -> None:
        """Starts a guest that has loaded the job, as soon as there is room for it."""
        room, memory = self._sandbox.room, self._limits.memory_bytes
        self._check()
        self.waits_for_room = not room.has_room(memory)
        try:
            place = await room.take(memory)
        finally:
            self.waits_for_room = False
        self._had_room.set()
        self._guest, self._place = await self._sandbox.guest_at(place, self._runtime), place
        self._known = 0
        self._check()
        await self._call(self._load)

    async def _call(self, frame: bytes) -> tuple[_Said, list[bytes]]:
        assert self._guest is not None
        try:
            reply, log = await self._guest.call(frame, seed=H("seed", self._job), limits=self._limits)
            self._log += log[: max(0, self._limits.log_bytes - len(self._log))]
            said, blobs = frames.decode(reply, _Said)
            report = frames.decode(reply, Report)[0] if said.error else None
        except MalformedMessage as error:
            raise JobError(f"The job's guest does not make sense: {error}.") from error
        if report is not None:
            raise JobError(report.told() if report.error == "job" else f"The job could not be planned: {report.told()}")
        return said, blobs

    def close(self) -> None:
        """Ends the planning: calls that still wait for a plan raise JobError, and no new guest is started."""
        self._over = True
        self._end_guest()

    def _check(self) -> None:
        if self._over:
            self._end_guest()
            raise JobError("The job has ended.")

    def _end_guest(self) -> None:
        if self._guest is not None:
            self._guest.discard()
            self._guest = self._place = None


class CommandPlanner:
    """Plans a WASI command as a single action, which saves one file for each unit: the unit's output.

    `partitions` is the number of units if there is no input.
    """

    waits_for_room = False

    def __init__(self, partitions: int | None) -> None:
        self._partitions = partitions

    async def until_room(self) -> None:
        pass

    async def next(self, results: Sequence[bytes]) -> Plan | Returned:
        return Returned(None) if results else plans.of_command(self._partitions)

    async def confirm(self, plan: Plan) -> None:
        pass

    async def finish(self, plan: Plan, partials: Sequence[bytes]) -> bytes:
        return b""


def _frame(header: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """A request. Raises JobError if no guest could be given it."""
    try:
        frame = frames.encode(header, blobs)
    except ValueError as error:
        raise JobError(f"The job has too many results to go on: {error}.") from None
    if len(frame) > MAX_FRAME_BYTES:
        raise JobError(
            f"To go on, the job's guest would have to be given {len(frame)} bytes at once; {MAX_FRAME_BYTES} are "
            "allowed. Use save, which writes files."
        )
    return frame


def _json(text: bytes) -> Any:
    if len(text) > MAX_ANSWER_BYTES:
        raise JobError(f"The job's result has {len(text)} bytes of JSON; {MAX_ANSWER_BYTES} are allowed.")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobError(f"The job's result makes no sense: {error}.") from None
