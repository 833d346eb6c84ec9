"""Runs units, as calls of a loaded program or as runs of a command, in a guest that stays alive between the units of
one job.

This is the same for a volunteer and for an owner that reruns a unit. Whatever a guest answers is untrusted; its error
messages about the job's own faults are passed on unchanged, within bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple, Protocol

import msgspec

from p2p.compute.bundles import Description
from p2p.compute.execution.unit import Given, unit_frame, unit_seed
from p2p.core.compute.report import MAX_TEXT, Report
from p2p.core.compute.skipped import NO_SKIPS, Skips
from p2p.errors import MalformedMessage, SandboxFailed
from p2p.ids import H
from p2p.jobs import skipping
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import MAX_FRAME_BYTES, EndKind, GuestEnded, GuestLimits
from p2p.sandbox.messages import command_frame
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from p2p.wire import guest as frames
from p2p.wire import work

LIMITS: frozenset[EndKind] = frozenset({"time", "memory", "output", "stack"})
"""The ways to end of a guest that exceeded a limit. In all other cases, the guest or its machine broke."""
_ADVICE: dict[EndKind, str] = {
    "time": "--unit-time sets this limit; units are smaller with more --partitions.",
    "memory": "--unit-memory sets this limit; units are smaller with more --partitions.",
    "output": "No option changes this limit: make more --partitions, or make less of each record.",
    "stack": "No option changes this limit: use a loop instead of a function that calls itself.",
}
LOST = "lost"
"""The `kind` of a unit that its owner cannot rerun until what the unit reads has been made again."""
MAX_UNITS_PER_GUEST = 4_096
"""How many units of commands one guest runs: if its process leaks memory with each, it does not grow for long."""
MIN_LOAD_S = 60.0
"""How long loading a job may take, even where units may take less."""
MAX_UNIT_INPUT_BYTES = MAX_FRAME_BYTES - 16 * 1024 * 1024
"""The most bytes that a unit can be given."""


class UnitOutcome(NamedTuple):
    """The outcome of a unit: its outputs, or a `kind` (as in `work.Result`) that says why there are none.

    `log` is what the unit printed.
    """

    outputs: list[bytes]
    records: tuple[int, int] = (0, 0)
    kind: str = ""
    text: str = ""
    log: bytes = b""
    replaced: tuple[int, int] = (0, 0)
    """How many characters of its input were not UTF-8, and in which of its pieces the first of them was."""
    skips: Skips = NO_SKIPS


Records = Annotated[int, msgspec.Meta(ge=0, le=work.MAX_RECORDS)]


class GuestReply(msgspec.Struct):
    """A guest's answer to being loaded with a job, or to being given a unit."""

    ok: frames.Text = ""
    error: frames.Text = ""
    text: frames.Text = ""
    records_in: Records = 0
    records_out: Records = 0
    replaced: tuple[Records, Annotated[int, msgspec.Meta(ge=0, lt=work.MAX_PIECES)]] = (0, 0)
    skipped: Records = 0
    skips: Annotated[tuple[Report, ...], msgspec.Meta(max_length=skipping.MAX_LISTED)] = ()


Batch = Sequence[tuple[work.Unit, Given]]
Done = Callable[[work.Unit, UnitOutcome], None]


class Runner(Protocol):
    """Runs units of one job, one after another."""

    async def run(self, units: Batch, results: Sequence[bytes], done: Done) -> None:
        """Runs the units, which may read these results of actions. Passes each outcome to `done`, in order.

        Raises GuestEnded when the guest has ended: the first unit without an outcome is the one that ended it.
        """

    def close(self) -> None:
        """Closes the runner's guest."""


class ResidentRunner:
    """Runs units as calls of a job's program, in a guest that has already loaded it."""

    def __init__(self, guest: Guest, job: bytes, limits: GuestLimits) -> None:
        self._guest = guest
        self._job = job
        self._limits = limits
        self._known = 0

    async def load(self, frame: bytes) -> UnitOutcome | None:
        """Loads the job into the guest. Returns why it cannot be loaded, or None.

        Raises GuestEnded, MalformedMessage.
        """
        limits = replace(self._limits, cap_s=max(self._limits.cap_s, MIN_LOAD_S))
        reply, log = await self._guest.call(frame, seed=H("seed", self._job), limits=limits)
        made = _made(reply, log)
        return made if made.kind else None

    async def run(self, units: Batch, results: Sequence[bytes], done: Done) -> None:
        requests: list[tuple[bytes, bytes]] = []
        too_large = ""
        for unit, given in units:
            fresh = results[self._known : unit.results]
            try:
                frame = unit_frame(unit, given, self._known, fresh)
            except ValueError as error:
                too_large = f"What the unit reads is too much for one guest: {error}."
                break
            requests.append((frame, unit_seed(self._job, unit)))
            self._known += len(fresh)
        broken = ""

        def answered(index: int, reply: tuple[bytes, bytes]) -> None:
            nonlocal broken
            if broken:
                return
            try:
                made = _made(*reply)
            except MalformedMessage as error:
                broken = str(error)
            else:
                done(units[index][0], made)

        await self._guest.call_many(requests, self._limits, answered)
        if broken:
            raise GuestEnded("broken", broken)
        if too_large:
            raise GuestEnded("memory", too_large)

    def close(self) -> None:
        self._guest.discard()


class CommandRunner:
    """Runs each unit as one run of a WASI command, with the unit's lines as standard input; one guest serves many."""

    def __init__(
        self,
        sandbox: Sandbox,
        guest: Guest,
        runtime: Runtime,
        job: bytes,
        limits: GuestLimits,
        description: Description,
    ) -> None:
        self._sandbox = sandbox
        self._guest = guest
        self._runtime = runtime
        self._job = job
        self._limits = limits
        self._options = [f"--{name}={_plain(value)}" for name, value in description.args.items()]
        self._partitions = description.partitions
        self._ran = 0

    async def run(self, units: Batch, results: Sequence[bytes], done: Done) -> None:
        if self._ran >= MAX_UNITS_PER_GUEST:
            await self._renew()
        self._ran += len(units)
        requests = [(self._frame(unit, given), unit_seed(self._job, unit)) for unit, given in units]
        await self._guest.call_many(
            requests, self._limits, lambda index, reply: done(units[index][0], UnitOutcome([reply[0]], log=reply[1]))
        )

    def _frame(self, unit: work.Unit, given: Given) -> bytes:
        place = [f"--partition={unit.partition}", f"--partitions={self._partitions}"]
        return command_frame([self._runtime.module.name, *self._options, *place], _lines(given.blobs))

    async def _renew(self) -> None:
        self._guest.discard()
        try:
            self._guest = await self._sandbox.guest(self._runtime, self._limits.memory_bytes)
        except SandboxFailed as error:
            raise GuestEnded("broken", str(error)) from error
        self._ran = 0

    def close(self) -> None:
        self._guest.discard()


async def runner(
    sandbox: Sandbox, runtime: Runtime, job: bytes, limits: GuestLimits, load: bytes, description: Description
) -> Runner | UnitOutcome:
    """Makes a runner for a job, or returns why the job cannot be loaded.

    Raises GuestEnded, MalformedMessage, SandboxFailed.
    """
    guest = await sandbox.guest(runtime, limits.memory_bytes)
    job = description.chance(job)
    if not runtime.resident:
        return CommandRunner(sandbox, guest, runtime, job, limits, description)
    resident = ResidentRunner(guest, job, limits)
    try:
        why = await resident.load(load)
    except BaseException:
        resident.close()
        raise
    if why is None:
        return resident
    resident.close()
    return why


def ending(ended: GuestEnded) -> UnitOutcome:
    """The outcome of the unit that ended its guest."""
    if ended.kind == "failed":
        said = ended.log.decode(errors="replace")[-MAX_TEXT:].strip()
        return _fault(Report("job", said or ended.text, kind=ended.text.rstrip(".")[:255]), ended.log)
    kind = "limit" if ended.kind in LIMITS else "cap" if ended.kind == "cap" else "broken"
    text = str(ended)[: work.MAX_TEXT // 2]
    if ended.kind in _ADVICE:
        text = f"{text.rstrip('.')}. {_ADVICE[ended.kind]}"
    return UnitOutcome([], kind=kind, text=text, log=ended.log)


def _lines(blobs: Sequence[bytes]) -> bytes:
    """Joins pieces of several files into one text.

    If the last line of a file has no line end, it gets one before the next file.
    """
    if len(blobs) == 1:
        return blobs[0]
    ended = [blob if not blob or blob.endswith(b"\n") else blob + b"\n" for blob in blobs[:-1]]
    return b"".join([*ended, *blobs[-1:]])


def _plain(value: object) -> str:
    """Formats a user's argument for a command: text is unchanged, anything else becomes JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _made(reply: bytes, log: bytes) -> UnitOutcome:
    """Reads the outcome from a guest's reply. Raises MalformedMessage."""
    said, outputs = frames.decode(reply, GuestReply)
    if not said.error:
        if len(outputs) > work.MAX_OUTPUTS:
            text = f"it has {len(outputs)} outputs; {work.MAX_OUTPUTS} are allowed"
            return UnitOutcome([], kind="limit", text=text, log=log)
        records = said.records_in, said.records_out
        return UnitOutcome(
            outputs, records, log=log, replaced=said.replaced, skips=Skips(said.skipped, _brief(said.skips))
        )
    if said.error == "job":
        return _fault(frames.decode(reply, Report)[0], log)
    kind = said.error if said.error in {"plan", "limit"} else "broken"
    return UnitOutcome([], kind=kind, text=said.text[: work.MAX_TEXT], log=log)


def _brief(reports: Sequence[Report]) -> Sequence[Report]:
    """The reports, or as many of them as fit in the text of a result."""
    while reports and len(msgspec.json.encode(reports)) > work.MAX_TEXT:
        reports = reports[:-1]
    return reports


def _fault(report: Report, log: bytes) -> UnitOutcome:
    """Makes the outcome for a fault of the job's own, with the whole report for its owner to read."""
    text = msgspec.json.encode(report).decode()
    if len(text) > work.MAX_TEXT:
        report = msgspec.structs.replace(report, text=report.text[: MAX_TEXT // 8], traceback="", record="")
        text = msgspec.json.encode(report).decode()
    return UnitOutcome([], kind="job", text=text, log=log)
