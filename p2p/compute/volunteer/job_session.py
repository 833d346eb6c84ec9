"""One job of one owner at a volunteer: its bundle, its inputs, its slots, and what the owner says.

    engaged --(bundle here, guests ready)--> at work --(JobEnd, silence, a fault of either side)--> over

The conversation is that of `wire.work`. What units read, the slots that run them, and what the owner is told are
`reading`, `slots` and `answers`. The owner hears of this peer from the first moment on, also while the bundle is still
fetched. What was not asked for, or is more than was agreed, ends the conversation.
"""

import logging
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2p.compute import bundles
from p2p.compute.bundles import Description
from p2p.compute.execution.kept_outputs import Reader
from p2p.compute.execution.runner import MOST_GIVEN_BYTES, runner
from p2p.compute.execution.unit_inputs import Reading
from p2p.compute.owner import hiring
from p2p.compute.volunteer.reports import Answers
from p2p.compute.volunteer.slots import WINDOW_PER_SLOT, Slots
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
from p2p.ids import ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.progress import Progress
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import Limits
from p2p.sandbox.runtimes import Runtime
from p2p.sharing.fetching import fetch
from p2p.sharing.fetching.fetch import Options
from p2p.sharing.reading.open_share import Held
from p2p.sharing.reading.open_shares import FOLDER
from p2p.wire import work
from p2p.wire.address import Address, may_tell
from p2p.wire.link import Link, PeerHint

if TYPE_CHECKING:
    from p2p.compute.volunteer.volunteering import Volunteering

logger = logging.getLogger(__name__)

SILENCE_S = 30.0
FETCH_S, BUNDLE_PATIENCE_S = 600.0, 30.0


def limits_of(offer: work.JobOffer) -> Limits:
    """What each unit of a job may take. Raises ValueError for what no sandbox would grant."""
    return Limits(
        wall_s=offer.wall_s,
        memory_bytes=offer.memory,
        output_bytes=offer.output_bytes,
        log_bytes=offer.log_bytes,
    )


class Engagement:
    """One job of one owner here, which has `slots` at first."""

    def __init__(self, volunteering: "Volunteering", connection: Connection, offer: work.JobOffer, slots: int) -> None:
        self._volunteering = volunteering
        self._local = volunteering.local
        self._connection = connection
        self.offer = offer
        self.owner = connection.ends.peer_id
        self.kept = volunteering.kept_for(offer.job, self.owner, offer.token)
        """Outputs that stay here for other volunteers."""
        self.gives_way = False
        """Whether it was told to make room."""
        self.wanted = volunteering.cores
        """How many slots its owner would use: all that there are, until it says otherwise."""
        self.over = trio.Event()
        self._limits = limits_of(offer)
        self._inputs: list[Held] = []
        self._fetched_before = self._bundle_bytes = 0
        self._reader = Reader(self._local.dialer, offer.job, offer.token, connection.ends.remote_host)
        most = min(offer.memory, MOST_GIVEN_BYTES)
        self._reading = Reading(offer.job, self._local.peer_id, self._inputs, self.kept, self._reader, most)
        self._answers = Answers(connection, lambda: 0 if volunteering.paused else self.slots, self._fetched)
        self._slots = Slots(slots, self._reading, self._answers, self.kept)
        self._ended_well = False
        self._folder = self._local.home / FOLDER / "jobs" / to_text(offer.job)

    @property
    def slots(self) -> int:
        """How many units of it run at once."""
        return self._slots.count

    @property
    def units_done(self) -> int:
        """Results so far."""
        return self._answers.made

    @property
    def lacks_slots(self) -> bool:
        """Whether units of it wait for one, or none are sent since it has none."""
        return len(self._slots) > 0 or not self.slots

    @property
    def connection(self) -> Connection:
        """That with its owner."""
        return self._connection

    @property
    def idle_s(self) -> float:
        """For how long its owner has given it nothing to do."""
        return self._slots.idle_s

    def tell_slots(self) -> None:
        """The owner is to know how many there are now: none while paused, when what is here already is finished."""
        self._answers.say_slots()

    def resize(self, slots: int) -> None:
        """It has so many from now on, which the owner is told."""
        self._slots.resize(slots)
        self.tell_slots()

    def give_way(self) -> None:
        """Ends the conversation; `over` is set once nothing of it is left."""
        self.gives_way = True
        self._connection.close()

    async def run(self) -> None:
        """Works until the job's end. Raises PeerError."""
        inputs = self._local.inputs
        for one in self.offer.inputs:
            told = [Address(host, port) for host, port in one.peers]
            near = self._connection.ends.remote_host
            hints = [PeerHint(address) for address in told if may_tell(address.host, near)] + self._owner_hints()
            self._inputs.append(inputs.use(ShareId(one.share), hints))
        self._fetched_before = sum(one.fetched for one in self._inputs)
        failure: PeerError | None = None
        try:
            held = [number for number, one in enumerate(self._inputs) if await inputs.holds(one.share)]
            window = self.slots * WINDOW_PER_SLOT
            await self._connection.send(work.JobAccepted(self.slots, window, tuple(held)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answers.run, self._slots.__len__)
                nursery.start_soon(self._begin, nursery)
                nursery.start_soon(self._ask_for_calls)
                nursery.start_soon(self._notice_silence)
                try:
                    await self._listen(nursery)
                finally:
                    self.wanted = 0  # a nursery that ends takes no more slots
                nursery.cancel_scope.cancel()
        except* PeerError as errors:
            failure = _first(errors)
        except* StorageError as errors:
            logger.warning("job %s: %s", short(self.offer.job), errors.exceptions[0])
            failure = PeerGone("this side's disk failed")
        finally:
            self._slots.count = self.wanted = 0  # the next owner need not wait for the sweeping
            self._volunteering.freed()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await self._clean_up()
        if failure is not None:
            raise failure

    async def _begin(self, nursery: trio.Nursery) -> None:
        """Fetches the bundle, and has the slots serve. Raises PeerError."""
        try:
            runtime, load, description = await self._fetch_bundle()
        except (NotFound, StorageError, SandboxFailed, MalformedMessage, ConfigError, Unacceptable) as error:
            await self._answers.refuse(str(error))
            raise PeerGone(f"its bundle is of no use: {error}") from error
        sandbox = self._local.sandbox
        self._slots.start(nursery, partial(runner, sandbox, runtime, self.offer.job, self._limits, load, description))

    def _fetched(self) -> int:
        """Bytes that came for the job besides what its owner says. A share that two jobs read counts for both."""
        inputs = sum(one.fetched for one in self._inputs)
        return self._bundle_bytes + inputs - self._fetched_before + self._reader.bytes_read

    # The bundle.

    async def _fetch_bundle(self) -> tuple[Runtime, bytes, Description]:
        """The job's runtime, the frame that loads it into a guest, and what it is besides."""
        local, bundle = self._local, ShareId(self.offer.bundle)
        options = Options(folder=self._folder / "bundle", wait_s=BUNDLE_PATIENCE_S, limits=bundles.LIMITS)
        with trio.move_on_after(FETCH_S) as patience:
            while bundle in local.fetching:
                await local.news.after(local.news.count)  # for another owner of the same job
            done = await fetch.fetch(local, Link(bundle), self._owner_hints(), options, Progress())
        if patience.cancelled_caught:
            raise NotFound("its bundle could not be had")
        self._bundle_bytes = done.received
        found = Path(done.paths[0])
        description, files = await trio.to_thread.run_sync(bundles.read, found)
        if (bundles.MODULE in files) != (self.offer.runtime == runtimes.MODULE):
            raise MalformedMessage(f"not a bundle for the runtime {self.offer.runtime}")
        known = self._volunteering.runtime(self.offer)
        if known is not None:
            return known, bundles.load_frame(to_text(self.offer.job), files, description), description
        runtime = runtimes.for_module(found / bundles.MODULE)
        await compiled.ensure_compiled(compiled.default_folder(), runtime, logger.debug)
        if runtime.digest != self.offer.digest:
            raise MalformedMessage("the module is not the one that was offered")
        return runtime, b"", description

    async def _ask_for_calls(self) -> None:
        shares = [ShareId(self.offer.bundle), *(one.share for one in self._inputs)]
        await hiring.ask_for_calls(self._local, self._connection, shares, at_once=not self.offer.port)

    def _owner_hints(self) -> list[PeerHint]:
        if not self.offer.port:
            return []
        return [PeerHint(Address(self._connection.ends.remote_host, self.offer.port), self.owner)]

    async def _clean_up(self) -> None:
        self._reader.close()
        if self._ended_well:
            await self.kept.clear()
        else:
            # The owner may come back, and go on.
            await self._volunteering.linger(self.offer.job, self.owner, self.kept)
        await self._local.inputs.release(*self._inputs)
        with suppress(StorageError):
            drop = self._local.records.drop
            await trio.to_thread.run_sync(drop, ShareId(self.offer.bundle), self._folder / "bundle")
        await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)

    # What the owner says.

    async def _notice_silence(self) -> None:
        """A message may be long on its way, over a slow line; an owner of whom nothing comes is gone."""
        before = -1
        while before != self._connection.bytes_in:
            before = self._connection.bytes_in
            await trio.sleep(SILENCE_S)
        raise PeerGone(f"nothing was heard of the owner for {SILENCE_S:.0f} seconds")

    async def _listen(self, nursery: trio.Nursery) -> None:
        while True:
            match await self._connection.receive():
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
                    self.resize(min(count, self.slots + self._volunteering.spare))
                    self._volunteering.freed()
                case work.Heartbeat():
                    pass
                case work.JobEnd():
                    self._ended_well = True
                    return
                case other:
                    raise ProtocolViolation(f"a {type(other).__name__} in the middle of a job")


def _first(errors: BaseExceptionGroup[PeerError]) -> PeerError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PeerError)
    return found
