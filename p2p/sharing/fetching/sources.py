"""Sources: finds the peers from which a share is fetched, and asks them first for its manifest, then for its chunks.

The search lasts as long as the fetch; once the manifest is complete, the sources are handed to a `Receiver`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from p2p.core.shares.manifest import ShareLimits
from p2p.errors import BadData, ConfigError, PeerGone, ProtocolViolation, Refused, Unacceptable
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.progress import Progress
from p2p.sharing.exchange import Exchange
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.incoming import IncomingSources
from p2p.sharing.fetching.manifests import ManifestFetch
from p2p.sharing.fetching.outgoing import OutgoingSources
from p2p.sharing.fetching.receiver import Receiver
from p2p.store.target import Target
from p2p.wire import messages
from p2p.wire.frames import DataHeader
from p2p.wire.link import Link, PeerHint, parse_peer

OPEN_TIMEOUT_S = 20.0
KEEP_SOURCES_INTERVAL_S = 10.0
FIRST_KEEP_SOURCES_S = 0.1
MAX_KEPT_SOURCES = 32


class Sources:
    """The sources of one fetch. Call `start`, enter `running`, then enter `exchanging` once there is a receiver."""

    def __init__(self, deps: Deps, link: Link, progress: Progress, limits: ShareLimits | None = None) -> None:
        self._deps = deps
        self._link = link
        self._share: ShareId = link.share_id
        self._progress = progress
        self._receiver: Receiver | None = None
        self._receiving = trio.Event()
        self._outgoing: OutgoingSources | None = None
        self._asking: trio.Nursery | None = None
        self._earlier: Sequence[str] = ()
        self.manifests = ManifestFetch(deps.library, deps.disk, link.share_id, limits or deps.library.limits)
        self.first_request: float | None = None
        """When a source was first asked for something."""

    async def start(self, folder: Path) -> None:
        """Resumes from what an earlier fetch to this folder left. Raises StorageError."""
        records = self._deps.records
        await self._deps.disk.run(records.remember, self._share, folder)
        self._earlier = await self._deps.disk.run(records.sources, self._share)
        await self.manifests.start()

    @asynccontextmanager
    async def running(self, hints: Sequence[PeerHint]) -> AsyncIterator[trio.Nursery]:
        """Looks for sources while the body runs. The nursery wraps the body's errors."""
        deps, progress, share = self._deps, self._progress, self._share
        incoming = IncomingSources(deps, share, self._talk, self._is_member, self._given_by, progress)
        async with trio.open_nursery() as nursery:
            outgoing = OutgoingSources(deps, nursery, self._talk, self._is_member, self._given_by, progress, incoming)
            self._outgoing, self._asking = outgoing, nursery
            with deps.swarms.wanted(share, incoming.take):
                for hint in (*hints, *self._link.peers):
                    outgoing.add(hint)
                for text in self._earlier:
                    with suppress(ConfigError):
                        outgoing.add(parse_peer(text))
                if not deps.readers.is_restricted(share):  # who asks for it says that this peer wants it
                    nursery.start_soon(deps.finders.find, self._link, outgoing, progress.note)
                try:
                    yield nursery
                finally:
                    self._asking = None
                    incoming.close()
            nursery.cancel_scope.cancel()

    def add(self, hint: PeerHint) -> None:
        """Adds an address to try, while `running`."""
        if self._outgoing is not None:
            self._outgoing.add(hint)

    def ask(self, trackers: Sequence[str]) -> None:
        """Asks more trackers than those of the link, from now on, while `running`."""
        public = not self._deps.readers.is_restricted(self._share)
        if self._asking is not None and self._outgoing is not None and trackers and public:
            finders, note = self._deps.finders, self._progress.note
            self._asking.start_soon(finders.ask_more, self._share, trackers, self._outgoing, note)

    def heard_of(self, hint: PeerHint, named_by: str) -> None:
        """Adds an address that a peer at the host `named_by` named."""
        if self._outgoing is not None:
            self._outgoing.heard_of(hint, named_by)

    @contextmanager
    def exchanging(self, nursery: trio.Nursery, target: Target, receiver: Receiver) -> Iterator[None]:
        """Hands sources to the receiver, and makes the receiver's swarm that of the share, while the body runs."""
        with self._deps.swarms.exchanging(receiver.swarm):
            self._receiver = receiver
            self._receiving.set()
            nursery.start_soon(receiver.keep_on_disk)
            nursery.start_soon(self._keep_sources, target)
            yield

    async def _keep_sources(self, target: Target) -> None:
        """Saves to disk which sources to ask first after a restart."""
        assert self._outgoing is not None
        kept: list[str] = []
        while True:
            hints = [str(PeerHint(address, peer)) for peer, address in self._outgoing.useful.items()][
                -MAX_KEPT_SOURCES:
            ]
            if hints and hints != kept:
                kept = hints
                await self._deps.disk.run(target.record.keep_sources, hints)
            await trio.sleep(KEEP_SOURCES_INTERVAL_S if kept else FIRST_KEEP_SOURCES_S)

    def _is_member(self, peer: PeerId) -> bool:
        return self._receiver is not None and peer in self._receiver.swarm.members

    def _given_by(self, peer: PeerId) -> tuple[int, int]:
        """How many correct bytes of chunks a peer has sent, and how many it has sent over this connection."""
        if self._receiver is None:
            return 0, 0
        member = self._receiver.swarm.members.get(peer)
        return self._receiver.from_peers.get(peer, 0), 0 if member is None else member.downloaded

    async def _talk(self, connection: Connection) -> None:
        """Has the whole conversation with one source. Raises PeerError."""
        if not self._deps.readers.may_read(self._share, connection.ends.peer_id):
            raise Refused("it is not one of those that may read the share")
        if self.first_request is None:
            self.first_request = trio.current_time()
        try:
            await self.manifests.work(connection)
        except Unacceptable:  # whichever source gives it
            raise
        except BadData:
            self._deps.bans.strike(connection.ends.peer_id, trio.current_time())
            raise
        await self._receiving.wait()
        assert self._receiver is not None
        with trio.move_on_after(OPEN_TIMEOUT_S) as patience:
            await connection.send(messages.Open(share=self._share))
            reply = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it did not open the exchange in time")
        if isinstance(reply, messages.Failed):
            if reply.reason != messages.NOT_FOUND:
                raise Refused(reply.reason)
            await self._offer(connection)
        if isinstance(reply, DataHeader):
            raise ProtocolViolation("chunks before they were asked for")
        deps = self._deps
        exchange = Exchange(
            connection, self._receiver.swarm, deps.presence.contacts, deps.traffic, deps.disk, deps.router.answer
        )
        await exchange.run(reply)

    async def _offer(self, connection: Connection) -> None:
        """Offers the share to a peer that may be fetching it too, but has no manifest yet. Raises PeerError."""
        assert self._receiver is not None
        if self._receiver.held:
            await connection.send(messages.Offer(share=self._share))
            with suppress(Refused):
                await self._deps.router.converse(connection)
        raise Refused("it does not have the share")
