"""The owner's side of a job: its plans, its volunteers, and what they bring back.

What is decided is in `core.job`; here its commands are carried out. The job's own code runs in guests only, here too:
the plan and the last step of each action are made in a guest of the owner's sandbox. Outputs of units are brought to
the owner and handed on from there, so that no volunteer's end loses them.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p.core import plan as plans
from p2p.core.attempts import (
    OVER,
    Accept,
    Cancel,
    Command,
    Drop,
    Ended,
    Fault,
    Finish,
    Known,
    Result,
    Send,
    State,
    Work,
)
from p2p.core.job import Job
from p2p.core.matching import Need
from p2p.core.plan import Plan
from p2p.core.report import Report
from p2p.errors import JobError, NotFound, PeerError, PeerGone, ProtocolViolation, ShoalError, StorageError
from p2p.ids import H, PeerId, ShareId, short
from p2p.net.connection import Connection
from p2p.services import bundles, hiring
from p2p.services.dispatch import Dispatch
from p2p.services.job_log import JobLog
from p2p.services.job_setup import Setup
from p2p.services.job_view import View, Watch
from p2p.services.kept import Place, Reader
from p2p.services.local import Local
from p2p.services.member import Member, Said
from p2p.services.outputs import Made, Outputs, Remote
from p2p.services.pieces import Spool
from p2p.services.planner import Answer, CommandPlanner, Planner, guest_planner
from p2p.services.recruiting import Recruiter
from p2p.services.repeating import Repeater
from p2p.services.units import cut, result_digest
from p2p.wire import work
from p2p.wire.address import Address, prefix
from p2p.wire.messages import DialMe

logger = logging.getLogger(__name__)

TICK_S = 0.25
HOLDERS_S = 3.0
WIND_UP_S = 5.0
SAVED_AT_ONCE = 16
ANSWER_S = 30.0


@dataclass(frozen=True)
class Ending:
    """What a job returned, and the folder with the files that it saved, if it did."""

    value: Any
    text: str
    saved: Path | None


class Run:
    """One job under way."""

    def __init__(self, local: Local, setup: Setup, view: View) -> None:
        self._local = local
        self._setup = setup
        self._view = view
        self._watch = Watch(view)
        self._id = setup.id
        self._outputs = Outputs(local.journal, setup.id, setup.folder / "outputs")
        self._results: list[bytes] = []
        self.members: dict[PeerId, Member] = {}
        """Who is at work for it."""
        self._joined = trio.Event()
        self._dispatch = Dispatch(
            setup.id, setup.inputs, self._outputs, self._results, setup.partition_bytes, self._address_of
        )
        self._reader = Reader(local.dialer, setup.id, setup.token)
        need = Need(setup.runtime.name, setup.limits.memory_bytes, 1)
        self.recruiter = Recruiter(local, need, setup.peers, setup.volunteers, self._engage)
        self._load = bundles.load_frame(view.job, setup.files, setup.description) if setup.runtime.resident else b""
        self._repeater = Repeater(local, setup, self._load, self._dispatch, self._reader, self._results)
        self._started = False
        self.over = False
        """Whether its user has cancelled it for good."""
        self._log = JobLog(local.journal, setup.id, local.peer_id)
        self._finish = trio.Event()
        self._stopped: ShoalError | None = None
        self._plan: Plan | None = None
        self._job: Job
        self._nursery: trio.Nursery
        self._progressed = trio.current_time()

    async def all(self) -> Ending:
        """Runs it to its end.

        Raises JobError for the job's own fault; NotFound when nobody works for `wait_s`, and StorageError, after which
        it can go on some other time.
        """
        setup, journal = self._setup, self._local.journal
        limits = msgspec.json.encode([setup.limits.wall_s, setup.limits.memory_bytes, setup.limits.output_bytes])
        context = plans.job_context(setup.bundle, setup.runtime.digest, limits)
        actions = await trio.to_thread.run_sync(journal.actions, self._id)
        self._results += [action.result for action in actions]
        self._started = True
        self._job = Job(self._local.peer_id, context, setup.limits.wall_s, [action.digest for action in actions])
        outcome: Ending | ShoalError | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._outputs.write)
            nursery.start_soon(self._tick)
            nursery.start_soon(self.recruiter.run)
            try:
                async with self._planner() as planner:
                    outcome = await self._actions(planner)
            except ShoalError as error:
                outcome = error
            finally:
                self._look()
                await self._wind_up(over=self.over or isinstance(outcome, Ending | JobError))
            nursery.cancel_scope.cancel()
        assert outcome is not None
        if isinstance(outcome, ShoalError):
            raise outcome
        self._view.state = "done"
        return outcome

    async def _wind_up(self, *, over: bool) -> None:
        """Writes what is still to be written. Of a job that may go on, volunteers keep the outputs for a while."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WIND_UP_S):
            async with trio.open_nursery() as nursery:
                for member in self.members.values() if over else ():
                    nursery.start_soon(member.end, self._id)
                with suppress(StorageError):
                    await self._outputs.settle()
                await self._log.write(self._job.action)
        self._reader.close()

    # Actions.

    @asynccontextmanager
    async def _planner(self) -> AsyncIterator[Planner]:
        setup = self._setup
        if not setup.runtime.resident:
            yield CommandPlanner(None if setup.inputs else setup.description.partitions)
            return
        count, sandbox = len(setup.inputs), self._local.sandbox
        async with guest_planner(
            sandbox, setup.runtime, self._id, self._load, setup.limits, count, self._log.planning
        ) as planner:
            yield planner

    async def _actions(self, planner: Planner) -> Ending:
        while True:
            said = await planner.next(self._results)
            if isinstance(said, Answer):
                self._do(self._job.done())
                saved = self._setup.folder / "saved"
                exists = await trio.to_thread.run_sync(saved.exists)
                return Ending(said.value, said.text, saved if exists else None)
            await self._run_action(planner, said)

    async def _run_action(self, planner: Planner, plan: Plan) -> None:
        of_bytes, sources = self._dispatch.cut(plan)
        counts = plans.sizes(plan, of_bytes)
        self._dispatch.begin(counts)
        again = self._setup.again and self._plan is None
        known = await self._still_held(await self._outputs.begin(plan.action, again=again))
        self._plan, self._finish = plan, trio.Event()
        self._view.state, self._view.action = "running", plan.action
        self._do(self._job.planned(plan, counts, sources, trio.current_time(), known))
        if known:
            self._view.units_known += sum(stage.done for stage in self._job.stages)
        for peer, member in self.members.items():
            self._prefer(peer, member)
        await self._finish.wait()
        if self._stopped is not None:
            raise self._stopped
        result = await self._combined(planner, plan, counts[-1])
        digest = H("action", result)
        self._dispatch.end()
        await self._outputs.finish(digest, result)
        self._results.append(result)
        self._do(self._job.finished(digest))

    async def _still_held(self, known: list[Known]) -> list[Known]:
        """Of results from before those whose outputs can be had: volunteers that keep some are waited for a little."""
        holders = {one.holder for one in known if one.holder is not None}
        with trio.move_on_after(HOLDERS_S):
            while not holders <= self.members.keys():
                await self._joined.wait()
        for holder in holders - self.members.keys():
            self._outputs.lost(holder)
        return [one for one in known if one.holder is None or one.holder in self.members]

    async def _combined(self, planner: Planner, plan: Plan, count: int) -> bytes:
        """The action's result, of the units of its final stage. What `save` made goes into the job's folder."""
        final = plan.stages[-1].index
        if plan.kind != "save":
            return await planner.finish(plan, await self._outputs.get([(final, n, 0) for n in range(count)]))
        folder = self._setup.folder / "saved"
        if plan.action:
            folder = folder / f"action-{plan.action}"
        for first in range(0, count, SAVED_AT_ONCE):
            numbers = range(first, min(first + SAVED_AT_ONCE, count))
            parts = await self._outputs.get([(final, n, 0) for n in numbers])
            await trio.to_thread.run_sync(_write, folder, numbers, parts)
        return await planner.finish(plan, [])

    # Commands of the state machine.

    def _do(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Send(volunteer, units):
                    if volunteer == self._local.peer_id:
                        self._nursery.start_soon(self._run_own, units)
                    else:
                        self.members[volunteer].units(units)
                case Cancel(volunteer, units):
                    if volunteer in self.members:
                        self.members[volunteer].cancel(units)
                case Drop(volunteer, reason):
                    if volunteer in self.members:
                        self.recruiter.refused(volunteer, reason)
                        self.members[volunteer].drop(reason)
                case Finish():
                    self._finish.set()
                case Ended(state, reason):
                    if state is not State.DONE:
                        self._stop(JobError(reason))
                case _:
                    pass

    def _stop(self, error: ShoalError) -> None:
        """It cannot go on; the first reason counts."""
        self._stopped = self._stopped or error
        self._finish.set()

    async def _tick(self) -> None:
        patience = self._setup.wait_s
        while True:
            await trio.sleep(TICK_S)
            now = trio.current_time()
            self._do(self._job.tick(now))
            self._look()
            if self._outputs.failure is not None:
                self._stop(self._outputs.failure)
            await self._log.write(self._job.action)
            at_work = any(units or self.members[peer].slots for peer, units in self._job.volunteers().items())
            if at_work or self._job.state is not State.RUNNING:
                self._progressed = now
            elif patience is not None and now - self._progressed > patience:
                why = self._view.why or "the volunteers are gone or paused"
                self._stop(NotFound(f"Nobody works for this job: {why}."))

    @property
    def need(self) -> Need:
        """What it could use now."""
        setup = self._setup
        units = sum(stage.count - stage.done for stage in self._job.stages) if self._started else 1
        return Need(setup.runtime.name, setup.limits.memory_bytes, max(units, 1))

    def _look(self) -> None:
        self._watch.look(self._job, self._plan, self.members, TICK_S)
        self._view.why = "" if self._view.volunteers else self.recruiter.why()

    # Volunteers.

    async def _engage(self, connection: Connection) -> None:
        """Offers the job, and has a volunteer that takes it work, to the conversation's end. Raises PeerError."""
        peer, setup = connection.ends.peer_id, self._setup
        offer = work.JobOffer(
            job=self._id,
            bundle=setup.bundle,
            runtime=setup.runtime.name,
            digest=setup.runtime.digest,
            memory=setup.limits.memory_bytes,
            wall_s=setup.limits.wall_s,
            output_bytes=setup.limits.output_bytes,
            log_bytes=setup.limits.log_bytes,
            token=setup.token,
            inputs=tuple(
                work.Input(one.share, tuple((hint.address.host, hint.address.port) for hint in one.hints[:8]))
                for one in setup.inputs
            ),
            port=hiring.serving_port(self._local, connection),
        )
        await connection.send(offer)
        with trio.move_on_after(ANSWER_S) as patience:
            answer = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it did not answer the offer")
        if isinstance(answer, work.JobRefused):
            self.recruiter.declined(peer, answer.reason)
            return
        if not isinstance(answer, work.JobAccepted):
            raise ProtocolViolation("something else where the answer to an offer belongs")
        if self._job.state in OVER or not self.recruiter.hire(peer):
            await connection.send(work.JobEnd(self._id))
            return
        spool = Spool(setup.folder / "arriving" / short(peer), setup.limits.output_bytes, 2 * answer.slots)
        member = Member(connection, answer, self._dispatch.messages, partial(self._undeliverable, peer), spool)
        self.members[peer] = member
        self._joined.set()
        self._joined = trio.Event()
        try:
            now = trio.current_time()
            relation = prefix(connection.ends.remote_host)
            self._do(self._job.joined(peer, answer.slots, now, window=answer.window, relation=relation))
            self._prefer(peer, member)
            await member.run(partial(self._heard, peer))
        except StorageError as error:
            self._stop(error)
        finally:
            self.recruiter.engaged.discard(peer)
            self._watch.left(self.members.pop(peer))
            now = trio.current_time()
            self._outputs.lost(peer)
            self._do([*self._job.left(peer, now), *self._job.unheld(peer, now)])
            await spool.clear()

    def _undeliverable(self, peer: PeerId, one: Work) -> None:
        """What a unit reads is lost: it waits until that is made again."""
        now = trio.current_time()
        self._do(self._job.failed(peer, one.unit, Fault.INPUT, "what it reads is lost", now))

    def _address_of(self, peer: PeerId) -> Address | None:
        member = self.members.get(peer)
        return None if member is None else member.address

    def _prefer(self, peer: PeerId, member: Member) -> None:
        """What it has the inputs of it gets first."""
        if member.held:
            for stage, partitions in self._dispatch.near(member.held).items():
                self._job.near(peer, stage, partitions)

    async def _heard(self, peer: PeerId, message: Said, spool: Spool) -> None:
        now = trio.current_time()
        if isinstance(message, DialMe):
            if message.share in {self._setup.bundle, *(one.share for one in self._setup.inputs)}:
                self._local.calls.asked_by(peer, ShareId(message.share))
            return
        if isinstance(message, work.Heartbeat):
            self._job.heard(peer, now, message.ids)
            return
        if isinstance(message, work.Slots):
            self._do(self._job.slots(peer, message.count, now))
            return
        made: dict[bytes, Made] = {}
        good: list[Result] = []
        for result in message.results:
            place = self._job.place(peer, result.id)
            if result.log and place is not None:
                self._log.add(self._job.action, place, peer, result)
            if result.kind:
                for unit in result.missing:
                    self._nursery.start_soon(self._pull, unit)
                fault, report = _fault(result)
                self._do(self._job.failed(peer, result.id, fault, report, now))
                continue
            outputs = await self._made(peer, result, spool)
            if outputs is None:
                self._do(self._job.failed(peer, result.id, Fault.PEER, "a result that is not what it says", now))
                continue
            made[result.id] = outputs
            holder = outputs.holder if isinstance(outputs, Remote) else None
            good.append(Result(result.id, result.digest, holder))
        commands = self._job.returned(peer, good, now)
        # Nothing may come between: whoever finishes the action finds all outputs that were accepted.
        for command in commands:
            if isinstance(command, Accept):
                self._outputs.keep(command.result, made[command.result.unit])
                self._watch.accepted(peer)
        self._do(commands)
        await spool.drop([result.id for result in message.results])
        await self._outputs.room()

    async def _made(self, peer: PeerId, result: work.Result, spool: Spool) -> Made | None:
        """What came with a result, or before it; None if it is not what the result says."""
        place, plan = self._job.place(peer, result.id), self._plan
        if place is None or plan is None:
            return []  # nobody asked for it, or nobody does any more
        outputs = plan.stages[place[0]].outputs
        if len(result.sizes) != max(outputs, 1):
            return None
        if result.kept:
            able = outputs > 0 and self.members[peer].address is not None
            return Remote(result.id, result.digest, result.sizes, peer) if able else None
        path = spool.take(result.id) if not result.inline else None
        if path is not None:
            return await self._outputs.verified(path, result.id, result.sizes, result.digest)
        made = cut(result.inline, result.sizes)
        return made if made is not None and result_digest(made) == result.digest else None

    async def _pull(self, unit: bytes) -> None:
        """Brings outputs here that a volunteer could not have from the one that keeps them, or has them made again."""
        place = self._outputs.place_of(unit)
        remote = None if place is None else self._outputs.remote(*place)
        if place is None or remote is None:
            return
        address = self._address_of(remote.holder)
        with self._dispatch.pulling(*place) as mine:
            if not mine:
                return
            try:
                if address is None:
                    raise PeerGone("who keeps it is gone")
                outputs = []
                for number, size in enumerate(remote.sizes):
                    where = Place(unit, remote.digest, number, remote.holder, address)
                    outputs.append(await self._reader.get(where, size))
                known = Known(unit, *place, remote.digest, None)
                made = await self._outputs.store(unit, outputs)
            except PeerError as error:
                logger.debug("outputs of partition %d of stage %d are lost: %s", *reversed(place), error)
                self._outputs.lost_unit(unit)
                self._do(self._job.missing(*place, remote.holder, trio.current_time()))
            except StorageError as error:
                self._stop(error)
            else:
                if self._outputs.remote(*place) == remote:
                    self._outputs.keep(known, made)
                    self._job.kept(*place)

    # What this peer runs itself: units about which volunteers complain.

    async def _run_own(self, units: Sequence[Work]) -> None:
        me = self._local.peer_id
        for one in units:
            made = await self._repeater.run(one)
            now = trio.current_time()
            if made.kind:
                fault, report = _fault(work.Result(one.unit, kind=made.kind, text=made.text))
                self._do(self._job.failed(me, one.unit, fault, report, now))
                continue
            commands = self._job.returned(me, [Result(one.unit, result_digest(made.outputs))], now)
            for command in commands:
                if isinstance(command, Accept):
                    self._outputs.keep(command.result, made.outputs)
                    self._watch.accepted(me)
            self._do(commands)


def _fault(result: work.Result) -> tuple[Fault, Report | str]:
    match result.kind:
        case "job":
            try:
                return Fault.JOB, msgspec.json.decode(result.text, type=Report)
            except (msgspec.DecodeError, RecursionError):
                return Fault.PEER, "a report that makes no sense"
        case "plan":
            return Fault.JOB, Report("plan", f"The job plans differently each time: {result.text}")
        case "limit":
            return Fault.JOB, Report("limit", f"A unit went over its limits: {result.text}")
        case "input" if result.missing:
            return Fault.INPUT, result.text
        case _:
            return Fault.TRANSIENT, result.text or result.kind


def _write(folder: Path, numbers: Sequence[int], parts: Sequence[bytes]) -> None:
    """Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, part in zip(numbers, parts, strict=True):
            (folder / f"part-{number:05}").write_bytes(part)
    except OSError as error:
        raise StorageError(f"Cannot keep the job's files in {folder}: {error.strerror}. Is the disk full?") from error
