"""The owner's side of a job: its bundle, its plans, its volunteers, and what they bring back.

What is decided is in `core.job`; here its commands are carried out. The job's own code runs in guests only, here too:
the plan and the last step of each action are made in a guest of the owner's sandbox. Outputs of units are brought to
the owner and handed on from there, so that no volunteer's end loses them.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p.core import plan as plans
from p2p.core.attempts import Accept, Cancel, Command, Drop, Ended, Fault, Finish, Result, Send, Work
from p2p.core.job import Job
from p2p.core.matching import Need, Offer, why_nothing_runs
from p2p.core.partitions import Partitioner, Piece, items
from p2p.core.plan import OF_BYTES, Plan
from p2p.core.report import Report
from p2p.errors import (
    JobError,
    MalformedMessage,
    NotFound,
    PeerError,
    PeerGone,
    ProtocolViolation,
    ShoalError,
)
from p2p.ids import H, PeerId, ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import GuestEnded, Limits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from p2p.services import bundles, share
from p2p.services.bundles import Description
from p2p.services.inputs import InputFiles, Inputs, fetch_manifest
from p2p.services.local import Local
from p2p.services.member import Member
from p2p.services.outputs import INLINE, Outputs
from p2p.services.progress import Progress
from p2p.services.units import (
    Reply,
    action_key,
    given_to,
    kind_of,
    report_of,
    result_digest,
    unit_frame,
    unit_seed,
)
from p2p.wire import guest as frames
from p2p.wire import records as work_records
from p2p.wire import work
from p2p.wire.address import Address, prefix
from p2p.wire.link import Link, PeerHint, parse_link
from p2p.wire.records import MAX_SHARDS, Kind, Record, capacity_key

logger = logging.getLogger(__name__)

TICK_S = 0.25
FIND_EVERY_S = 3.0
FULL_SHARD = 32
"""With so many volunteers in a shard there may be more in the next."""
ANSWER_S = 30.0
REFUSED_AGAIN_S = 10.0
MOST_VOLUNTEERS = 256
MOST_SAID_BYTES = 512 * 1024
MOST_RESULT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Wish:
    """What the user asked for; sizes in bytes."""

    path: Path
    inputs: tuple[str, ...] = ()
    args: dict[str, Any] = field(default_factory=dict)
    partitions: int = 0
    unit_memory: int = 512 * 1024 * 1024
    unit_time_s: float = 600.0
    peers: tuple[PeerHint, ...] = ()
    volunteers: int = 0
    out: Path | None = None
    wait_s: float | None = None


@dataclass
class View:
    """How a job stands, for whoever looks."""

    job: str = ""
    name: str = ""
    state: str = "planning"
    action: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    volunteers: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    losses: int = 0
    units_done: int = 0
    why: str = ""
    """Why nothing runs."""


@dataclass(frozen=True)
class _Input:
    """An input share and its files: (path, bytes), in its order."""

    share: ShareId
    name: str
    files: tuple[tuple[str, int], ...]
    hints: tuple[PeerHint, ...]


async def run(local: Local, sandbox: Sandbox, runtime: Runtime, wish: Wish, view: View) -> dict[str, Any]:
    """Runs a job to its end. Raises JobError for the job's own fault, NotFound when nobody works for `wait_s`."""
    job_id = os.urandom(32)
    view.job, view.name = to_text(job_id), wish.path.name
    folder = local.home / "jobs" / view.job
    made: list[ShareId] = []
    try:
        run = _Run(local, sandbox, runtime, wish, view, job_id, folder, made)
        return await run.all()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            for one in made:
                with suppress(ShoalError):
                    await share.unshare(local, one)
            await trio.to_thread.run_sync(shutil.rmtree, folder, True)


class _Run:
    """One job under way."""

    def __init__(
        self,
        local: Local,
        sandbox: Sandbox,
        runtime: Runtime,
        wish: Wish,
        view: View,
        job_id: bytes,
        folder: Path,
        made: list[ShareId],
    ) -> None:
        self._local = local
        self._sandbox = sandbox
        self._runtime = runtime
        self._wish = wish
        self._view = view
        self._id = job_id
        self._folder = folder
        self._made = made
        self._limits = Limits(wall_s=wish.unit_time_s, memory_bytes=wish.unit_memory)
        self._inputs: list[_Input] = []
        self._results: list[bytes] = []
        self._plan: Plan | None = None
        self._partitions: dict[int, list[tuple[Piece, ...]]] = {}
        self._outputs = Outputs(folder / "outputs")
        self._arrived: dict[bytes, list[bytes]] = {}
        self._members: dict[PeerId, Member] = {}
        self._offers: dict[PeerId, Offer] = {}
        self._refusals: dict[PeerId, str] = {}
        self._own_inputs = Inputs(local, local.config.volunteer.cache_bytes)
        self._load = b""
        self._finish = trio.Event()
        self._ended: Ended | None = None
        self._nobody = ""
        self._job: Job
        self._bundle: ShareId
        self._nursery: trio.Nursery
        self._last_progress = trio.current_time()

    async def all(self) -> dict[str, Any]:
        started = trio.current_time()
        files = await trio.to_thread.run_sync(bundles.collect, self._wish.path)
        for text in self._wish.inputs:
            self._inputs.append(await self._input(text))
        description = Description(
            args=self._wish.args,
            partitions=self._wish.partitions or 8,
            reduce_partitions=8,
            inputs=tuple(
                bundles.Input(one.name, sum(size for _, size in one.files), len(one.files)) for one in self._inputs
            ),
        )
        where = self._folder / "bundle"
        await trio.to_thread.run_sync(bundles.write, where, files, description)
        done = await share.share(self._local, [where], "bundle", Progress(), unlisted=True)
        self._made.append(done.share_id)
        self._bundle = done.share_id
        limits = msgspec.json.encode([self._limits.wall_s, self._limits.memory_bytes, self._limits.output_bytes])
        context = plans.job_context(done.share_id, self._runtime.digest, limits)
        self._job = Job(self._local.peer_id, context, self._limits.wall_s)
        failure: ShoalError | None = None
        answer: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._find_volunteers)
            nursery.start_soon(self._tick)
            try:
                guest = await self._sandbox.guest(self._runtime)
                try:
                    self._load = bundles.load_frame(self._view.job, {**files, **bundles.api()}, description)
                    answer = await self._actions(guest, self._load)
                finally:
                    guest.discard()
            except ShoalError as error:
                failure = error
            for member in list(self._members.values()):
                await member.end(self._id)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._view.state = "done"
        return answer | {"job": self._view.job, "state": "done", "seconds": round(trio.current_time() - started, 3)}

    async def _input(self, text: str) -> _Input:
        """A path is shared until the job has ended; of a link the manifest is fetched."""
        path = Path(text)
        if not text.startswith("magnet:") and await trio.to_thread.run_sync(path.exists):
            done = await share.share(self._local, [path], None, Progress(), unlisted=True)
            self._made.append(done.share_id)
            link = Link(done.share_id, done.name)
        else:
            link = parse_link(text)
            await fetch_manifest(self._local, link, self._wish.wait_s)
        manifest = await trio.to_thread.run_sync(self._local.library.manifest, link.share_id)
        files = tuple(("/".join(entry.path), entry.size) for entry in manifest.entries if entry.kind.value == 0)
        return _Input(link.share_id, manifest.root.name, files, link.peers)

    # Actions, in the owner's guest.

    async def _actions(self, guest: Guest, load: bytes) -> dict[str, Any]:
        await self._ask(guest, load)
        known = 0
        while True:
            fresh = self._results[known:]
            header = {"do": "plan", "results": list(range(known, known + len(fresh)))}
            known += len(fresh)
            said, blobs = await self._ask(guest, frames.encode(header, fresh))
            if said.ok == "done":
                self._do(self._job.done())
                # What is too large for a header comes as JSON of its own.
                value = _json(blobs[0]) if blobs else said.value
                return {"result": value, "text": said.text, **await self._saved()}
            await self._run_action(guest, plans.decode(bytes(said.plan), len(self._inputs)))

    async def _run_action(self, guest: Guest, plan: Plan) -> None:
        self._plan = plan
        partitioner = Partitioner([[size for _, size in one.files] for one in self._inputs])
        self._partitions = {
            stage.index: partitioner.pieces(stage.source)
            for stage in plan.stages
            if stage.source is not None and stage.source.kind in OF_BYTES
        }
        of_sources = [
            len(self._partitions[stage.index]) if stage.index in self._partitions else None for stage in plan.stages
        ]
        counts = plans.sizes(plan, of_sources)
        sources = {
            stage.index: H("source", repr(self._partitions.get(stage.index, stage.source)).encode())
            for stage in plan.stages
            if stage.source is not None
        }
        self._view.state, self._view.action = "running", plan.action
        self._finish = trio.Event()
        self._do(self._job.planned(plan, counts, sources, trio.current_time()))
        await self._finish.wait()
        if self._ended is not None:
            raise JobError(self._ended.reason)
        if self._nobody:
            raise NotFound(self._nobody)
        final = plan.stages[-1].index
        partials = [await self._outputs.get(final, partition, 0) for partition in range(counts[final])]
        if plan.kind == "save":
            await trio.to_thread.run_sync(_save, self._folder / "saved", partials)
            partials = []
        header = {"do": "finish", "action": plan.action, "digest": plan.digest}
        _, blobs = await self._ask(guest, frames.encode(header, partials))
        result = blobs[0] if blobs else b""
        if len(result) > MOST_RESULT_BYTES:
            raise JobError(
                f"The result of an action has {len(result)} bytes; {MOST_RESULT_BYTES} are allowed. Use save."
            )
        self._results.append(result)
        self._do(self._job.finished(H("action", result)))
        await self._outputs.clear()

    async def _ask(self, guest: Guest, frame: bytes) -> tuple["_Said", list[bytes]]:
        """Asks the owner's guest. Raises JobError for what the job did wrong."""
        try:
            reply, _ = await guest.call(frame, seed=H("seed", self._id), limits=self._limits)
            said, blobs = frames.decode(reply, _Said)
        except GuestEnded as error:
            raise JobError(f"The job could not be planned: {error}") from error
        except MalformedMessage as error:
            raise JobError(f"The job's guest does not make sense: {error}.") from error
        if said.error:
            words = f"{said.kind}: {said.text}" if said.kind else said.text
            raise JobError("\n".join(filter(None, [words, said.traceback.rstrip()])))
        return said, blobs

    async def _saved(self) -> dict[str, Any]:
        """What `save` made: a share, or with --out a folder."""
        saved = self._folder / "saved"
        if not await trio.to_thread.run_sync(saved.exists):
            return {}
        if self._wish.out is None:
            raise JobError("The job saves files: say where with --out DIR.")
        paths = await trio.to_thread.run_sync(_move_all, saved, self._wish.out)
        return {"paths": paths}

    # Commands of the state machine.

    def _do(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Send(volunteer, units):
                    if volunteer == self._local.peer_id:
                        self._nursery.start_soon(self._run_own, units)
                    else:
                        self._members[volunteer].units(units)
                case Cancel(volunteer, units):
                    if volunteer in self._members:
                        self._members[volunteer].say(work.CancelUnits(units[: work.MAX_UNITS]))
                case Drop(volunteer, reason):
                    if volunteer in self._members:
                        self._members[volunteer].drop(reason)
                case Accept():
                    self._view.units_done += 1
                case Finish():
                    self._finish.set()
                case Ended():
                    self._ended = command
                    self._finish.set()
                case _:
                    pass

    async def _tick(self) -> None:
        patience = self._wish.wait_s
        while True:
            await trio.sleep(TICK_S)
            now = trio.current_time()
            self._do(self._job.tick(now))
            self._look()
            if self._job.volunteers():
                self._last_progress = now
            elif patience is not None and now - self._last_progress > patience and not self._finish.is_set():
                self._nobody = f"Nobody works for this job: {self._view.why or 'the volunteers are gone'}."
                self._finish.set()

    def _look(self) -> None:
        view, job = self._view, self._job
        view.failures, view.losses = job.failures, job.losses
        if self._plan is not None:
            view.stages = [
                {"label": stage.label, "units": units.count, "done": units.done, "running": len(units.running)}
                for stage, units in zip(self._plan.stages, job.stages, strict=False)
            ]
        view.volunteers = [
            {"peer": to_text(peer), "units": count, "slots": self._members[peer].slots}
            for peer, count in job.volunteers().items()
            if peer in self._members
        ]
        need = Need(self._runtime.name, self._limits.memory_bytes, 1)
        view.why = "" if view.volunteers else why_nothing_runs(need, self._offers, self._refusals)

    # Volunteers.

    async def _find_volunteers(self) -> None:
        tried: dict[PeerHint, float] = {}
        while True:
            now = trio.current_time()
            hints = [
                *self._wish.peers,
                *self._local.neighbours.hints(),
                *await self._of_trackers(),
                *await self._of_overlays(),
            ]
            for hint in hints:
                busy = hint.peer_id in self._members or hint.peer_id == self._local.peer_id
                if busy or tried.get(hint, float("-inf")) > now or len(self._members) >= self._most:
                    continue
                tried[hint] = now + REFUSED_AGAIN_S
                self._nursery.start_soon(self._work_with, hint)
            await trio.sleep(FIND_EVERY_S)

    @property
    def _most(self) -> int:
        return self._wish.volunteers or MOST_VOLUNTEERS

    async def _of_trackers(self) -> list[PeerHint]:
        found: list[PeerHint] = []
        for url in self._local.trackers.urls:
            with suppress(PeerError, NotFound):
                for hint, capacity in await self._local.trackers.volunteers(url, self._runtime.name):
                    found.append(hint)
                    if hint.peer_id is not None:
                        runtimes = frozenset(capacity.runtimes)
                        self._offers[hint.peer_id] = Offer(capacity.cores, capacity.memory, runtimes)
        return found

    async def _of_overlays(self) -> list[PeerHint]:
        overlays = self._local.overlays
        if overlays is None or not overlays.joined.is_set():
            return []
        found: dict[PeerId, Record] = {}
        with trio.move_on_after(FIND_EVERY_S):
            for shard in range(MAX_SHARDS):
                more = await overlays.get(capacity_key(self._runtime.name, shard), Kind.CAPACITY)
                found |= more
                if len(more) < FULL_SHARD:
                    break
        hints: list[PeerHint] = []
        for peer, record in found.items():
            assert isinstance(record.payload, work_records.Offer)
            capacity = record.payload.capacity
            self._offers[peer] = Offer(capacity.cores, capacity.memory, frozenset(capacity.runtimes))
            for host, port in record.payload.addresses:
                if overlays.is_plausible(host):
                    hints.append(PeerHint(Address(host, port), peer))
        return hints

    async def _work_with(self, hint: PeerHint) -> None:
        try:
            connection = await self._local.dialer.dial(hint.address, hint.peer_id)
        except PeerError as error:
            logger.debug("volunteer at %s: %s", hint.address, error)
            return
        peer = connection.ends.peer_id
        try:
            if peer in self._members:
                return
            await self._offer(connection)
        except PeerError as error:
            logger.debug("volunteer %s: %s", short(peer), error)
            self._refusals.setdefault(peer, str(error))
        finally:
            connection.close()

    async def _offer(self, connection: Connection) -> None:
        peer = connection.ends.peer_id
        offer = work.JobOffer(
            job=self._id,
            bundle=self._bundle,
            runtime=self._runtime.name,
            digest=self._runtime.digest,
            memory=self._limits.memory_bytes,
            wall_s=self._limits.wall_s,
            output_bytes=self._limits.output_bytes,
            log_bytes=self._limits.log_bytes,
            inputs=tuple(
                work.Input(one.share, tuple((hint.address.host, hint.address.port) for hint in one.hints[:8]))
                for one in self._inputs
            ),
            port=self._local.dialer.port,
        )
        await connection.send(offer)
        with trio.move_on_after(ANSWER_S) as patience:
            answer = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it did not answer the offer")
        if isinstance(answer, work.JobRefused):
            self._offers.setdefault(peer, Offer(1, self._limits.memory_bytes, frozenset({self._runtime.name})))
            self._refusals[peer] = answer.reason
            return
        if not isinstance(answer, work.JobAccepted):
            raise ProtocolViolation("something else where the answer to an offer belongs")
        self._refusals.pop(peer, None)
        member = Member(connection, answer.slots, self._units_message)
        self._members[peer] = member
        try:
            now = trio.current_time()
            relation = prefix(connection.ends.remote_host)
            self._do(self._job.joined(peer, answer.slots, now, window=answer.window, relation=relation))
            await member.run(partial(self._heard, peer))
        finally:
            del self._members[peer]
            self._do(self._job.left(peer, trio.current_time()))

    async def _heard(self, peer: PeerId, message: work.Results | work.Heartbeat, bodies: dict[bytes, bytes]) -> None:
        now = trio.current_time()
        if isinstance(message, work.Heartbeat):
            self._job.heard(peer, now, message.ids)
            return
        good: list[Result] = []
        for result in message.results:
            if result.kind:
                fault, report = _fault(result)
                self._do(self._job.failed(peer, result.id, fault, report, now))
                continue
            joined = bodies.pop(result.id, b"") or bytes(result.inline)
            outputs = _cut(joined, result.sizes)
            if outputs is None or result_digest(outputs) != result.digest:
                self._do(self._job.failed(peer, result.id, Fault.PEER, "a result that is not what it says", now))
                continue
            self._arrived[result.id] = outputs
            good.append(Result(result.id, result.digest))
        commands = self._job.returned(peer, good, now)
        for command in commands:
            if isinstance(command, Accept):
                outputs = self._arrived.get(command.result.unit)
                assert outputs is not None, "accepted as it came"
                await self._outputs.keep(command.result.stage, command.result.partition, outputs)
        for one in good:
            self._arrived.pop(one.unit, None)
        self._do(commands)
        if message.leaving:
            self._do(self._job.slots(peer, 0, now))

    # What this peer runs itself: units about which volunteers complain.

    async def _run_own(self, units: Sequence[Work]) -> None:
        me = self._local.peer_id
        for one in units:
            try:
                result = await self._repeat(one)
            except ShoalError as error:
                result = work.Result(one.unit, kind="broken", text=str(error)[: work.MAX_TEXT])
            await self._heard(me, work.Results((result,)), {})

    async def _repeat(self, one: Work) -> work.Result:
        """Runs a unit in a fresh guest of this peer's own."""
        messages = await self._units_message([one], len(self._results))
        unit = next(message.units[0] for message in messages if isinstance(message, work.Units))
        pieces = b"".join(message.body for message in messages if isinstance(message, work.Bytes))
        given = await given_to(
            unit, pieces or bytes(unit.inline), self._own_input, self._limits.memory_bytes, self._local.disk
        )
        guest = await self._sandbox.guest(self._runtime)
        try:
            await self._ask(guest, self._load)
            frame = unit_frame(unit, given, 0, self._results)
            reply, _ = await guest.call(frame, seed=unit_seed(self._id, unit), limits=self._limits)
        except GuestEnded as error:
            return work.Result(one.unit, kind="limit", text=str(error)[: work.MAX_TEXT])
        finally:
            guest.discard()
        said, outputs = frames.decode(reply, Reply)
        if said.error:
            return work.Result(one.unit, kind=kind_of(said), text=report_of(said, reply))
        inline = b"".join(outputs)
        return work.Result(one.unit, result_digest(outputs), tuple(map(len, outputs)), inline)

    async def _own_input(self, index: int) -> InputFiles:
        wanted = self._inputs[index]
        return await self._own_inputs.get(wanted.share, wanted.hints)

    # What is sent.

    async def _units_message(self, units: Sequence[Work], sent: int) -> list[Any]:
        """The messages that bring these units to a volunteer which has `sent` actions' results already."""
        assert self._plan is not None
        plan = self._plan
        said: list[Any] = []
        for action in range(sent, len(self._results)):
            said += _pieces(action_key(self._id, action), self._results[action])
        digest = bytes.fromhex(plan.digest)
        batch: list[work.Unit] = []
        size = 0
        for unit in units:
            stage = plan.stages[unit.stage]
            common: dict[str, Any] = {
                "id": unit.unit,
                "action": plan.action,
                "stage": unit.stage,
                "partition": unit.partition,
                "plan": digest,
                "results": len(self._results),
            }
            if stage.source is None:
                outputs, counts = await self._reads(stage.reads, unit.partition)
                joined = b"".join(outputs)
                if len(joined) > INLINE:
                    said += _pieces(unit.unit, joined)
                    joined = b""
                common |= {"reads": tuple(counts), "sizes": tuple(map(len, outputs)), "inline": joined}
                size += len(joined)
            elif unit.stage in self._partitions:
                pieces = self._partitions[unit.stage][unit.partition]
                common |= {"kind": stage.source.kind, "pieces": tuple(map(self._piece, pieces))}
                size += 100 * len(pieces)
            else:
                first, count = items(stage.source.count or 0, stage.partitions or 1, unit.partition)
                common |= {"kind": stage.source.kind, "first": first, "count": count}
            batch.append(work.Unit(**common))
            size += 300
            if size > MOST_SAID_BYTES or len(batch) == work.MAX_UNITS:
                said.append(work.Units(tuple(batch)))
                batch, size = [], 0
        if batch:
            said.append(work.Units(tuple(batch)))
        return said

    async def _reads(self, stages: Sequence[int], partition: int) -> tuple[list[bytes], list[int]]:
        outputs: list[bytes] = []
        counts: list[int] = []
        for read in stages:
            count = self._job.stages[read].count
            outputs += [await self._outputs.get(read, number, partition) for number in range(count)]
            counts.append(count)
        return outputs, counts

    def _piece(self, piece: Piece) -> work.Piece:
        path, _ = self._inputs[piece.input].files[piece.file]
        return work.Piece(piece.input, path, piece.offset, piece.length)


class _Said(msgspec.Struct):
    """What the owner's guest answers."""

    ok: str = ""
    plan: msgspec.Raw = msgspec.Raw(b"")
    value: Any = None
    text: str = ""
    saved: bool = False
    error: str = ""
    kind: str = ""
    traceback: str = ""
    line: int | None = None


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobError(f"The job's result makes no sense: {error}.") from None


def _fault(result: work.Result) -> tuple[Fault, Report | str]:
    match result.kind:
        case "job":
            try:
                return Fault.JOB, msgspec.json.decode(result.text, type=Report)
            except (msgspec.DecodeError, RecursionError):
                return Fault.PEER, "a report that makes no sense"
        case "plan":
            return Fault.JOB, f"The job plans differently each time: {result.text}"
        case "limit":
            return Fault.JOB, f"A unit went over its limits: {result.text}"
        case _:
            return Fault.TRANSIENT, result.text or result.kind


def _cut(joined: bytes, sizes: Sequence[int]) -> list[bytes] | None:
    if sum(sizes) != len(joined):
        return None
    outputs, at = [], 0
    for size in sizes:
        outputs.append(joined[at : at + size])
        at += size
    return outputs


def _pieces(of: bytes, body: bytes) -> list[work.Bytes]:
    step = work.MAX_PIECE_BYTES
    return [work.Bytes(of, at, len(body), body[at : at + step]) for at in range(0, max(len(body), 1), step)]


def _save(folder: Path, parts: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        (folder / f"part-{number:05}").write_bytes(part)


def _move_all(folder: Path, out: Path) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in sorted(folder.iterdir()):
        target = out / file.name
        shutil.move(file, target)
        paths.append(str(target))
    return paths
