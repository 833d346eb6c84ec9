"""One job of one owner at a volunteer: its bundle, its inputs, its slots, and the messages of its owner.

    engaged --(bundle here, guests ready)--> at work --(JobEnd, silence, a fault of either side)--> over

The conversation is that of `wire.work`. `unit_inputs` gets what units read, `slots` runs them, and `reports` sends
outcomes to the owner. This peer sends signs of life from the start, even while the bundle is still being fetched. A
message that was not asked for, or more data than was agreed, ends the conversation.
"""

import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from p2p.compute import bundles
from p2p.compute.bundles import Description
from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.execution.output_reader import OutputReader
from p2p.compute.execution.runner import MAX_UNIT_INPUT_BYTES, runner
from p2p.compute.execution.unit_inputs import UnitInputs
from p2p.compute.volunteer.deps import Deps
from p2p.compute.volunteer.lateness import Lateness
from p2p.compute.volunteer.reports import Reports
from p2p.compute.volunteer.slots import WINDOW_PER_SLOT, GuestSlots
from p2p.errors import (
    ConfigError,
    MalformedMessage,
    NotFound,
    PeerError,
    PeerGone,
    ProtocolViolation,
    SandboxFailed,
    StorageError,
    Unacceptable,
)
from p2p.ids import PeerId, ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.progress import Progress
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sharing.fetching.supply import Options
from p2p.sharing.reading.open_share import OpenShare
from p2p.wire import messages, work
from p2p.wire.address import Address, may_tell
from p2p.wire.frames import DataHeader
from p2p.wire.link import Link, PeerHint

logger = logging.getLogger(__name__)

SILENCE_TIMEOUT_S = 30.0
BUNDLE_TIMEOUT_S, BUNDLE_SOURCE_TIMEOUT_S = 600.0, 30.0
ASK_INTERVAL_S = 5.0


class JobHost(Protocol):
    """What a `JobSession` needs from the volunteer that it belongs to."""

    @property
    def cores(self) -> int: ...

    @property
    def paused(self) -> bool: ...

    @property
    def spare(self) -> int:
        """Cores that no job has and that nobody waits for."""

    @property
    def unit_time_s(self) -> float:
        """For how long a unit may run at most."""

    def freed(self) -> None:
        """To be called when a job has given cores back."""

    def cap_reached(self, job: bytes) -> None:
        """To be called when a unit of the job has run for `unit_time_s`."""

    def runtime(self, offer: work.JobOffer) -> Runtime | None:
        """Returns the requested runtime if this peer has exactly that build; otherwise None."""

    def kept_for(self, job: bytes, owner: PeerId, token: bytes) -> OutputStore:
        """Returns the store in which outputs of a job are kept."""

    async def linger(self, job: bytes, owner: PeerId, host: str, kept: OutputStore) -> None:
        """Keeps the outputs of a job for a while after its owner has left, as the owner may return."""


def limits_of(offer: work.JobOffer, cap_s: float) -> GuestLimits:
    """Returns the limits of each unit of a job. Raises ValueError for limits that no sandbox would grant."""
    return GuestLimits(
        cap_s=cap_s,
        wall_s=offer.wall_s,
        memory_bytes=offer.memory,
        output_bytes=offer.output_bytes,
        log_bytes=offer.log_bytes,
    )


class JobSession:
    """Works on one job of one owner, at first with `slots` slots. `folder` is used by this session only."""

    def __init__(
        self, host: JobHost, deps: Deps, connection: Connection, offer: work.JobOffer, slots: int, folder: Path
    ) -> None:
        self._host = host
        self._deps = deps
        self._connection = connection
        self.offer = offer
        self.owner = connection.ends.peer_id
        self.kept = host.kept_for(offer.job, self.owner, offer.token)
        """Outputs that this peer keeps for other volunteers."""
        self.gives_way = False
        """Whether the job was told to make room."""
        self.wanted = host.cores
        """How many slots the owner would use: all that there are, unless it says otherwise."""
        self.over = trio.Event()
        self._limits = limits_of(offer, host.unit_time_s)
        self._inputs: list[OpenShare] = []
        self._fetched_before = self._bundle_bytes = 0
        self._reader = OutputReader(deps.dialer, offer.job, offer.token, connection.ends.remote_host)
        most = min(offer.memory, MAX_UNIT_INPUT_BYTES)
        self._reading = UnitInputs(offer.job, deps.presence.peer_id, self._inputs, self.kept, self._reader, most)
        self._reports = Reports(
            connection, lambda: 0 if host.paused else self.slots, self._fetched, lambda: self._slots.starved
        )
        self._slots = GuestSlots(slots, self._reading, self._reports, self.kept, self)
        self.since = trio.current_time()
        """Since when the job has had its cores, or since it last handed one over."""
        self._late = Lateness(0, self.since)
        self._bundle: Progress | None = Progress()
        """How far the bundle is, until it is here."""
        self._ended_well = False
        self._folder = folder

    @property
    def slots(self) -> int:
        """How many of the job's units run at once."""
        return self._slots.count

    @property
    def cores(self) -> int:
        """How many cores the job takes: a slot that was removed has its core until it has finished its unit."""
        return self._slots.cores

    @property
    def stopped(self) -> bool:
        """Whether its units were ended by a pause, which lasts."""
        return self._slots.stopped

    @property
    def units_done(self) -> int:
        """How many results the job has so far."""
        return self._reports.made

    @property
    def lacks_slots(self) -> bool:
        """Whether units of the job wait for a slot, or none are sent because the job has no slot."""
        return len(self._slots) > 0 or not self.slots

    @property
    def connection(self) -> Connection:
        """The connection to the job's owner."""
        return self._connection

    @property
    def idle_s(self) -> float:
        """For how long the owner has given the job nothing to do, or how late its bundle or its inputs are."""
        if self._bundle is None:
            return self._slots.idle_s
        return self._late.seconds(self._bundle.done, trio.current_time())

    def tell_slots(self) -> None:
        """Tells the owner how many slots there are now.

        While paused, that is none, but units already here are finished.
        """
        self._reports.say_slots()

    def stop(self, why: str) -> None:
        """Ends all units at once; the owner is told why, and that it is nobody's fault."""
        self._slots.stop(why)

    def go_on(self) -> None:
        """Runs units again after `stop`."""
        self._slots.go_on()

    def hand_over(self) -> None:
        """Gives one core to the next owner, as soon as the unit that runs there has ended."""
        self.since = trio.current_time()
        self.resize(self.slots - 1)
        if not self.slots:
            self._slots.return_waiting("its cores are another owner's turn now")

    def slot_ended(self) -> None:
        self._host.freed()

    def cap_reached(self) -> None:
        self._host.cap_reached(self.offer.job)

    def resize(self, slots: int) -> None:
        """Sets how many slots the job has, and tells the owner."""
        self._slots.resize(slots)
        self.tell_slots()

    def give_way(self) -> None:
        """Ends the conversation. `over` is set once nothing of the job is left."""
        self.gives_way = True
        self._connection.close()

    async def run(self) -> None:
        """Works on the job until it ends. Raises PeerError."""
        inputs = self._deps.open_shares
        for one in self.offer.inputs:
            told = [Address(host, port) for host, port in one.peers]
            near = self._connection.ends.remote_host
            hints = [PeerHint(address) for address in told if may_tell(address.host, near)] + self._owner_hints()
            self._inputs.append(inputs.open(ShareId(one.share), hints))
        self._fetched_before = sum(one.fetched for one in self._inputs)
        failure: PeerError | None = None
        try:
            held = [number for number, one in enumerate(self._inputs) if await inputs.holds(one.share)]
            window = self.slots * WINDOW_PER_SLOT
            await self._connection.send(work.JobAccepted(self.slots, window, tuple(held), self._limits.cap_s))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reports.run, self._slots.__len__)
                nursery.start_soon(self._begin, nursery)
                nursery.start_soon(self._ask_for_calls)
                nursery.start_soon(self._notice_silence)
                try:
                    await self._listen(nursery)
                finally:
                    self.wanted = 0  # a nursery that is ending accepts no more slots
                nursery.cancel_scope.cancel()
        except* PeerError as errors:
            failure = _first(errors)
        except* StorageError as errors:
            logger.warning("job %s: %s", short(self.offer.job), errors.exceptions[0])
            failure = PeerGone("this side's disk failed")
        finally:
            self._slots.count = self.wanted = 0  # the next owner need not wait for the clean-up
            self._host.freed()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await self._clean_up()
        if failure is not None:
            raise failure

    async def _begin(self, nursery: trio.Nursery) -> None:
        """Fetches the bundle, and starts the slots. Raises PeerError."""
        try:
            runtime, load, description = await self._fetch_bundle()
        except (NotFound, StorageError, SandboxFailed, MalformedMessage, ConfigError, Unacceptable) as error:
            await self._reports.refuse(str(error))
            raise PeerGone(f"its bundle is of no use: {error}") from error
        sandbox = self._deps.sandbox
        self._slots.start(nursery, partial(runner, sandbox, runtime, self.offer.job, self._limits, load, description))

    def _fetched(self) -> int:
        """How many bytes arrived for the job besides those that its owner sent.

        A share that two jobs read counts for both.
        """
        inputs = sum(one.fetched for one in self._inputs)
        return self._bundle_bytes + inputs - self._fetched_before + self._reader.bytes_read

    # The bundle.

    async def _fetch_bundle(self) -> tuple[Runtime, bytes, Description]:
        """Fetches the bundle.

        Returns the job's runtime, the frame that loads the job into a guest, and its description.
        """
        deps, bundle = self._deps, ShareId(self.offer.bundle)
        assert self._bundle is not None
        options = Options(
            folder=self._folder / "bundle",
            wait_s=BUNDLE_SOURCE_TIMEOUT_S,
            limits=bundles.LIMITS,
            private=True,
        )
        with trio.move_on_after(BUNDLE_TIMEOUT_S) as patience:
            await deps.swarms.until_free(bundle)  # by another owner of the same job
            done = await deps.open_shares.fetch(Link(bundle), self._owner_hints(), options, self._bundle)
        if patience.cancelled_caught:
            raise NotFound("its bundle was unavailable")
        self._bundle, self._bundle_bytes = None, done.received
        found = Path(done.paths[0])
        description, files = await self._deps.disk.run(bundles.read, found)
        if (bundles.MODULE in files) != (self.offer.runtime == runtimes.MODULE):
            raise MalformedMessage(f"not a bundle for the runtime {self.offer.runtime}")
        known = self._host.runtime(self.offer)
        if known is not None:
            return known, bundles.load_frame(to_text(self.offer.job), files, description), description
        runtime = runtimes.for_module(found / bundles.MODULE)
        idle = self._deps.sandbox.idle
        await compiled.ensure_compiled(compiled.default_folder(), runtime, logger.debug, idle=idle)
        if runtime.digest != self.offer.digest:
            raise MalformedMessage("the module is not the one that was offered")
        return runtime, b"", description

    async def _ask_for_calls(self) -> None:
        shares = [ShareId(self.offer.bundle), *(one.share for one in self._inputs)]
        await ask_for_calls(self._deps, self._connection, shares, at_once=not self.offer.port)

    def _owner_hints(self) -> list[PeerHint]:
        if not self.offer.port:
            return []
        return [PeerHint(Address(self._connection.ends.remote_host, self.offer.port), self.owner)]

    async def _clean_up(self) -> None:
        self._reader.close()
        if self._ended_well:
            await self.kept.clear()
        else:
            # The owner may return and continue.
            await self._host.linger(self.offer.job, self.owner, self._connection.ends.remote_host, self.kept)
        await self._deps.open_shares.release(*self._inputs)
        with suppress(StorageError):
            drop = self._deps.records.drop
            await self._deps.disk.run(drop, ShareId(self.offer.bundle), self._folder / "bundle")
        await self._deps.disk.run(shutil.rmtree, self._folder, True)

    # Messages from the owner.

    async def _notice_silence(self) -> None:
        """Ends the job if its owner sends nothing for too long. A message that arrives slowly is a sign of life."""
        before = -1
        while before != self._connection.bytes_in:
            before = self._connection.bytes_in
            await trio.sleep(SILENCE_TIMEOUT_S)
        raise PeerGone(f"nothing was heard of the owner for {SILENCE_TIMEOUT_S:.0f} seconds")

    async def _listen(self, nursery: trio.Nursery) -> None:
        pace = Pace(self._connection)
        while True:
            message = await self._connection.receive()
            if not isinstance(message, work.Bytes | DataHeader):
                await pace.spend(message, len(self._slots))
            match message:
                case work.Units(units):
                    self._slots.take(units)
                case work.Reads(unit, kept, holders):
                    self._reading.reads(unit, kept, holders)
                case work.Bytes() as piece:
                    if self._reading.arrived(piece):
                        nursery.start_soon(self.kept.forget_before, len(self._reading.results))
                case work.CancelUnits(ids):
                    self._slots.cancel(ids)
                case work.Slots(count):
                    self.wanted = count
                    self.resize(min(count, self.slots + self._host.spare))
                    self._host.freed()
                case work.Heartbeat():
                    self._connection.use.heard()
                case work.JobEnd():
                    self._ended_well = True
                    return
                case other:
                    raise ProtocolViolation(f"a {type(other).__name__} in the middle of a job")


async def ask_for_calls(deps: Deps, connection: Connection, shares: Sequence[ShareId], *, at_once: bool) -> None:
    """Asks the owner to call about shares that are being fetched but of which it sends nothing. Runs until cancelled.

    With `at_once`, for an owner that cannot be dialled, asks at once; otherwise only after dialling has failed for a
    while. Raises PeerError.
    """
    owner = connection.ends.peer_id
    due: dict[ShareId, float] = {}
    while True:
        news, now = deps.changes.count, trio.current_time()
        for share in shares:
            if deps.swarms.taker(share) is None or deps.swarms.is_exchanging(share, owner):
                due.pop(share, None)
            elif due.setdefault(share, now if at_once else now + ASK_INTERVAL_S) <= now:
                due[share] = now + ASK_INTERVAL_S
                await connection.send(messages.DialMe(share=share))
        with trio.move_on_after(ASK_INTERVAL_S):
            await deps.changes.after(news)


def _first(errors: BaseExceptionGroup[PeerError]) -> PeerError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PeerError)
    return found
