"""Receiving: how a fetch takes part in a swarm. Chunks are requested, assembled, verified, written, and served.

`core.shares.download` decides which source is asked for which chunks; `verifier` hashes and writes them. Every 256 MiB
or five seconds, and at the end, a separate task makes the bytes durable and gives complete files their names.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from itertools import islice

import trio

from p2p.concurrency.throttle import Throttle
from p2p.core.shares import bitmap
from p2p.core.shares.download import Ask, AskNoMore, Command, Download, DropSource, Hurry
from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.errors import BadData, ProtocolViolation, ShoalError, StorageError
from p2p.ids import PeerId
from p2p.progress import Progress
from p2p.sharing.fetching.arriving import Arriving
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.source_places import SourcePlaces
from p2p.sharing.fetching.verifier import Arrived, Buffers, Verifier
from p2p.sharing.swarm import Party, Swarm
from p2p.store.stamps import Stamp
from p2p.store.target import Target
from p2p.wire import messages
from p2p.wire.address import Address, ip, is_dialable_host, may_tell
from p2p.wire.frames import MIN_DATA_BYTES, DataHeader
from p2p.wire.link import PeerHint

DURABLE_BYTES = 256 * 1024 * 1024
DURABLE_FILES = 2000
DURABLE_INTERVAL_S = 5.0
RATE_INTERVAL_S = 0.5
BUFFER_BYTES = 96 * 1024 * 1024
"""The most memory for the buffers of all sources, each of which may be in the middle of a chunk."""
MIN_SOURCES = 8
BUFFERS_AHEAD = 3
"""How many chunks may wait for the verifier."""
SMALL_BYTES = 64 * 1024
"""To verify and write a chunk smaller than this takes less time than to hand it to a thread."""
CHUNKS_BEHIND = 256
"""How many small chunks are handled with the one before them, while nothing else has a turn."""


class Receiver:
    """Receives the chunks of one fetch: the `Sink` of its swarm and, until the fetch is done, the swarm's `Holding`.

    A growing receiver fetches only what `want` asks for, until `finish`. `done` is set once everything wanted is in
    place; otherwise `failure` is the error that ended the fetch.
    """

    def __init__(
        self,
        deps: Deps,
        target: Target,
        progress: Progress,
        heard_of: Callable[[PeerHint, str], None],
        *,
        sequential: bool = False,
        throttle: Throttle | None = None,
        growing: bool = False,
    ) -> None:
        self.layout: Layout = target.layout
        self.swarm = Swarm(target.layout.manifest.share_id, self, self)
        self.done = False
        self._growing = growing
        self._finishing = False
        self._copying = not growing
        self._ended = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        """Tasks wait here until another chunk is stored, or the fetch ends."""
        self.failure: ShoalError | None = None
        self.from_peers: dict[PeerId, int] = {}
        self._deps = deps
        self._traffic = deps.traffic
        self._target = target
        self._progress = progress
        self._heard_of = heard_of
        wanted = 0 if growing else target.wanted
        self._download: Download[Party] = Download(
            self.layout, wanted, target.record.have, deps.random.randrange, sequential=sequential
        )
        self._throttle = throttle or Throttle(0)
        self._incoming: dict[Party, Arriving] = {}
        self._dirty: set[int] = set()
        self._dirty_bytes = 0
        self._missing = target.missing_chunks()
        self._whole = [entry for entry in target.fetched if not self._missing[entry] and entry not in target.placed]
        self._work = trio.Event()
        if self._download.complete:
            self._work.set()
        most = deps.max_sources
        largest = max(1, self.layout.largest_chunk)
        self.most_sources = max(min(MIN_SOURCES, most), min(most, BUFFER_BYTES // largest))
        self._buffers = Buffers(self.most_sources + BUFFERS_AHEAD, largest)
        self._places = SourcePlaces(self.most_sources)
        self._verifier = Verifier(target, self._verified)
        self._measured_at, self._measured = trio.current_time(), progress.received

    @property
    def _limited(self) -> bool:
        return self._throttle.bytes_per_s > 0 or self._traffic.download.bytes_per_s > 0

    # Holding.

    @property
    def held(self) -> int:
        """The chunks that are verified and written, as a bitmap."""
        return self._download.have

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        return self._target.reading(entry)

    def changed(self, entry: int, seen: Stamp | None, check: Callable[[], None]) -> int:
        return 0 if self._target.still_same(entry, seen, check) else self.spoiled(entry, "changed")

    def spoiled(self, entry: int, why: str, *, for_good: bool = False) -> int:
        """Stops serving a file of this fetch that another program has changed."""
        return bitmap.span(*self.layout.range_of(entry))

    # Sink: called by the exchanges.

    def joined(self, exchange: Party) -> None:
        now = trio.current_time()
        if self._deps.bans.banned_until(exchange.ends.peer_id) > now:
            return
        entry = self._places.enter(exchange, now)
        if entry.displaced is not None:
            self._displace(entry.displaced)
        buffer = self._buffers.take_nowait() if entry.admitted else None
        if buffer is not None:
            self._incoming[exchange] = Arriving(buffer)
            self._download.joined(exchange, now)
        elif entry.admitted:
            self._places.postpone(exchange)  # all buffers are being verified

    def left(self, exchange: Party) -> None:
        self._places.leave(exchange)
        self._drop(exchange)

    def _displace(self, exchange: Party) -> None:
        """Takes a source's place, which another gets. It stays in the swarm unless chunks are on their way."""
        awaits = self.awaits(exchange)
        self._drop(exchange)
        if awaits:
            exchange.end("its place as a source went to another")

    def _drop(self, exchange: Party) -> None:
        if self._incoming.pop(exchange, None) is not None:
            self._buffers.replace()
            self._do(self._download.gone(exchange, trio.current_time()))

    def offered(self, exchange: Party, chunks: int) -> None:
        if exchange in self._incoming:
            self._do(self._download.offers(exchange, chunks, trio.current_time()))

    def lost(self, exchange: Party, chunks: int) -> None:
        if exchange in self._incoming:
            self._do(self._download.lost(exchange, chunks, trio.current_time()))

    def choked(self, exchange: Party, position: int) -> None:
        if exchange in self._incoming:
            self._do(self._download.choked(exchange, position > 0, trio.current_time()))

    def heard_of(self, peers: tuple[tuple[bytes, str, int], ...], from_host: str) -> None:
        for peer, host, port in peers:
            sane = ip(host) is not None and is_dialable_host(host)
            if sane and may_tell(host, from_host) and peer != self._deps.presence.peer_id:
                # The id is left out: it may be false, and then the peer that is really there would be refused.
                self._heard_of(PeerHint(Address(host, port)), from_host)

    async def data(self, exchange: Party, header: DataHeader) -> None:
        """Receives a data frame's bytes from the connection, and the small chunks that have come whole behind it.

        Raises PeerError if they are not what was asked for.
        """
        exchange.downloaded += header.size
        incoming = self._incoming.get(exchange)
        if incoming is None or header.size > incoming.credit:
            raise ProtocolViolation("more chunks than were asked for")
        incoming.credit -= header.size
        if header.offset == 0:
            self._begin(exchange, incoming, header.chunk)
        end = header.offset + header.size
        if header.chunk != incoming.chunk or header.offset != incoming.filled or end > incoming.size:
            raise ProtocolViolation("a chunk's bytes out of place")
        if header.size < MIN_DATA_BYTES and end < incoming.size:
            raise ProtocolViolation("a chunk in crumbs, each of which costs as much as a frame")
        view = incoming.buffer[header.offset : end]
        if self._limited:
            await self._receive_slowly(exchange, view)
        else:
            await exchange.connection.receive_body(view)
        incoming.filled = end
        self._progress.received += header.size
        self._traffic.bytes_downloaded += header.size
        if incoming.wanted:
            self._download.progress(exchange, header.size, trio.current_time())
        if end == incoming.size:
            await self._came(exchange, incoming)
        else:
            self._places.on_its_way(exchange, header.size, trio.current_time())
            exchange.connection.use.arriving(header.size)

    async def _receive_slowly(self, exchange: Party, view: memoryview) -> None:
        """Receives bytes piece by piece, so that neither side sees the other do nothing for long."""
        size = min(self._throttle.piece_bytes, self._traffic.download.piece_bytes)
        for at in range(0, len(view), size):
            piece = view[at : at + size]
            with self._holding_back(exchange):
                await self._throttle.spend(len(piece))
                await self._traffic.download.spend(len(piece))
            await exchange.connection.receive_body(piece)

    @contextmanager
    def _holding_back(self, exchange: Party) -> Iterator[None]:
        """Notes that this side, while the body runs, leaves unread what the source sends."""
        self._download.held_back(exchange, True, trio.current_time())
        try:
            yield
        finally:
            if exchange in self._incoming:
                self._download.held_back(exchange, False, trio.current_time())

    def awaits(self, exchange: Party) -> bool:
        return exchange in self._incoming and bool(self._download.sources[exchange].asked)

    def holds_back(self, exchange: Party) -> bool:
        return exchange in self._incoming and self._download.sources[exchange].held_back

    def _begin(self, exchange: Party, incoming: Arriving, chunk: int) -> None:
        incoming.wanted = self._download.needs(exchange, chunk)
        if not incoming.wanted and chunk not in incoming.cancelled:
            raise ProtocolViolation("a chunk that was not asked for")
        incoming.place = self.layout.place(chunk)
        incoming.chunk, incoming.size, incoming.filled = chunk, incoming.place.size, 0

    async def _came(self, exchange: Party, incoming: Arriving) -> None:
        """Handles a whole chunk. Large ones go to the verifier; a small one is verified here in less time."""
        chunk = incoming.chunk
        incoming.chunk = -1
        incoming.cancelled.discard(chunk)
        if not self._download.needs(exchange, chunk):
            return
        chunks = [(incoming.place, incoming.buffer[: incoming.size])]
        arrived = Arrived(exchange, chunk, chunks, incoming.buffer)
        if incoming.size < SMALL_BYTES:
            if not self._limited:
                chunks += self._behind(exchange, incoming, chunk)
            arrived.verify_and_write(self._target)
            self._settled(arrived)
        else:
            self._verifier.hand_in(arrived)
            buffer = self._buffers.take_nowait()
            if buffer is None:
                with self._holding_back(exchange):
                    buffer = await self._buffers.take()
            incoming.buffer = buffer

    def _behind(self, exchange: Party, incoming: Arriving, chunk: int) -> Iterator[tuple[ChunkPlace, memoryview]]:
        """Takes the small chunks that follow this one, as far as they were asked for and have come whole."""
        take, asked, size = exchange.connection.take, self._download.sources[exchange].asked, 0
        for following, place in enumerate(islice(self.layout.places(chunk + 1), CHUNKS_BEHIND), chunk + 1):
            if following not in asked or place.size > incoming.credit or place.size >= SMALL_BYTES:
                break
            if (view := take(following, place.size)) is None:
                break
            incoming.credit -= place.size
            incoming.cancelled.discard(following)
            size += place.size
            yield place, view
        if size:
            exchange.downloaded += size
            self._progress.received += size
            self._traffic.bytes_downloaded += size
            self._download.progress(exchange, size, trio.current_time())

    def _verified(self, arrived: Arrived[Party]) -> None:
        self._buffers.give(arrived.buffer)
        self._settled(arrived)

    def _settled(self, arrived: Arrived[Party]) -> None:
        """Handles the outcome: the chunks are written and are served, one is wrong, or the disk failed."""
        exchange, first, good = arrived.source, arrived.first, arrived.good
        peer, now = exchange.ends.peer_id, trio.current_time()
        if arrived.failure is not None:
            self.fail(arrived.failure)
            return
        # A large chunk, which comes alone, may have come from another source in the meantime.
        if good and not self._download.have >> first & 1:
            if exchange in self._incoming:
                self._do(self._download.received(exchange, first, good, now))
            size = self.layout.run_bytes(first, good)
            self.from_peers[peer] = self.from_peers.get(peer, 0) + size
            self._places.useful(exchange, size, now)
            exchange.connection.use.got(size)
            self._stored(first, [place.entry for place, _ in arrived.chunks[:good]], size)
        if good < len(arrived.chunks):
            self._deps.bans.strike(peer, now)
            self._progress.trouble = "a source sent wrong bytes; they were thrown away"
            wrong = first + good
            exchange.end_after(messages.Bad(chunk=wrong), BadData(f"chunk {wrong} does not match its hash"))

    def copied(self, chunk: int) -> None:
        """Handles a chunk that was copied from other files of this machine, and verified."""
        if not self.held >> chunk & 1:
            self._stored(chunk, [self.layout.place(chunk).entry], self.layout.size(chunk))

    def _stored(self, first: int, entries: list[int], size: int) -> None:
        """Handles chunks that are written: `first` and those that follow it, each with its entry; `size` in bytes."""
        self._do(self._download.stored(first, len(entries)))
        self.swarm.gained(bitmap.span(first, len(entries)))
        if self._download.wanted >> first & 1:  # otherwise it is counted once it is wanted
            self._progress.done += size
        self._dirty.update(entries)
        self._dirty_bytes += size
        for entry in entries:
            self._missing[entry] -= 1
            if not self._missing[entry]:
                self._whole.append(entry)
        self._changed.unpark_all()
        enough = self._finishing or (self._download.complete and not self._growing)
        if self._dirty_bytes >= DURABLE_BYTES or len(self._whole) >= DURABLE_FILES or enough:
            self._work.set()

    def _do(self, commands: list[Command[Party]]) -> None:
        for command in commands:
            match command:
                case Ask(exchange, first, count):
                    self._incoming[exchange].credit += self.layout.run_bytes(first, count)
                    exchange.say(messages.Want(first=first, count=count))
                case AskNoMore(exchange, first, count):
                    self._incoming[exchange].cancelled.update(range(first, first + count))
                    exchange.say(messages.Cancel(first=first, count=count))
                case Hurry(exchange, first, count):
                    exchange.say(messages.Hurry(first=first, count=count))
                case DropSource(exchange, reason):
                    exchange.end(reason)

    # Tasks, and waiting for the end.

    async def ended(self) -> None:
        """Waits until the fetch is done or has failed."""
        await self._ended.wait()

    def want(self, chunks: int) -> None:
        """Fetches these chunks too. Raises the error that ended the fetch; StorageError if the disk has no room."""
        if self.failure is not None:
            raise self.failure
        new = chunks & ~self._download.wanted
        if new:
            self._target.check_space(self._download.wanted | new)
            self._progress.size += self.layout.bytes_in(new)
            self._progress.done += self.layout.bytes_in(new & self.held)
            self._do(self._download.want(new, trio.current_time()))

    def hurry(self, chunks: int) -> None:
        """Fetches those of these chunks that are wanted before all others."""
        self._do(self._download.hurry(chunks, trio.current_time()))

    async def arrived(self, chunks: int) -> bool:
        """Waits until one more of these chunks has come. Returns False at once if all of them are here.

        Raises the error that ended the fetch.
        """
        before = chunks & ~self.held
        while self.failure is None and before and before == chunks & ~self.held:
            await self._changed.park()
        if self.failure is not None:
            raise self.failure
        return bool(before)

    def finish(self, *, copies: bool) -> None:
        """Ends a growing fetch: makes what came durable, then sets `done`.

        With `copies`, also makes the files that were not fetched because they are equal to others.
        """
        self._finishing = True
        self._copying = copies
        self._work.set()

    def tick(self) -> None:
        """Updates the figures of the progress display; called a few times per second."""
        now, progress = trio.current_time(), self._progress
        for exchange, incoming in self._incoming.items():
            (whole, part), arrived = incoming.arrived, exchange.connection.arrived
            if incoming.arrived != arrived:
                # On a slow line, a single frame may take minutes.
                incoming.arrived = arrived
                self._download.heard(exchange, arrived[1] - part if arrived[0] == whole else 0, now)
        self._do(self._download.tick(now))
        if (waiting := self._places.next(now)) is not None:
            self.joined(waiting)
            self.offered(waiting, waiting.theirs)
        progress.sources = self._download.useful
        if now - self._measured_at >= RATE_INTERVAL_S:
            progress.measured(progress.received - self._measured, now - self._measured_at)
            self._measured_at, self._measured = now, progress.received
        progress.state = "fetching" if progress.sources else "waiting for sources"
        if self._growing and self._download.complete:
            progress.state = "waiting for readers"
        elif progress.sources and not self._download.covers():
            progress.state = "waiting for sources"
            progress.trouble = "those connected lack some of it"
        elif progress.done >= progress.size:
            progress.state = "putting files into place"

    @asynccontextmanager
    async def verifying(self) -> AsyncIterator[None]:
        """Verifies chunks while the body runs, which must last for as long as chunks may come."""
        try:
            async with self._verifier.running():
                yield
        finally:
            self._buffers.close()

    async def keep_on_disk(self) -> None:
        """Makes bytes durable and gives whole files their names, until all is done or the disk fails."""
        try:
            await self._copy()
            while not self._finished():
                with trio.move_on_after(DURABLE_INTERVAL_S):
                    await self._work.wait()
                self._work = trio.Event()
                await self._settle()
                await self._copy()
                self._progress.files_done = len(self._target.placed)
        except StorageError as error:
            self.fail(error)
        else:
            self.done = True
            self._ended.set()

    def _finished(self) -> bool:
        enough = self._finishing and not self._dirty if self._growing else self._download.complete
        return enough and not self._whole and not self._uncopied()

    def _uncopied(self) -> list[int]:
        return self._target.uncopied() if self._copying else []

    async def _copy(self) -> None:
        if originals := self._uncopied():
            chunks = await self._deps.disk.run(self._target.fill_copies, originals)
            self._download.copied(chunks)
            self.swarm.gained(chunks)

    async def _settle(self) -> None:
        if self._dirty or self._whole:
            dirty, self._dirty, self._dirty_bytes = self._dirty, set(), 0
            whole, self._whole = self._whole, []
            await self._deps.disk.run(self._target.settle, [*dirty.union(whole)], whole)

    def fail(self, error: ShoalError) -> None:
        """Ends the fetch. Tasks that wait for it get this error, or an earlier one if there was one."""
        self.failure = self.failure or error
        self._ended.set()
        self._changed.unpark_all()
