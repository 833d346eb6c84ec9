"""Mutable links: `shoal:<peer>/<name>` points to the newest share that a peer published under a name.

A pointer is a record (`wire.records`) signed by its publisher. Others can hide the newest pointer but cannot forge one,
so all that may know it are asked in parallel: the DHT, the local network, and the publisher itself if it can be found.
The pointer with the highest sequence ever seen is kept, and no older pointer is accepted again.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from p2p import ids
from p2p.discovery.dht import Overlays
from p2p.discovery.finders import Finders
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.questions import QUESTION
from p2p.errors import ConfigError, MalformedMessage, NotFound, PeerError
from p2p.formats import format_time, quoted
from p2p.ids import PeerId, ShareId
from p2p.net.dialer import Dialer
from p2p.progress import Progress
from p2p.store.disk import Disk
from p2p.store.pointers import Pointers
from p2p.wire import messages, records
from p2p.wire.link import Link, PeerHint, PointerLink, check_pointer_name
from p2p.wire.records import LONGEST_S, SKEW_S, Pointer, Record, RecordKind, pointer_key

logger = logging.getLogger(__name__)

RENEW_S = LONGEST_S[RecordKind.POINTER] / 2
ASK_TIMEOUT_S = 5.0
RESOLVE_TIMEOUT_S = 10.0
RESOLVE_RETRY_S = 3.0
GRACE_S = 1.0
"""How long to wait for the publisher's answer after all others have answered."""
MAX_HINTS = 16


def check_name(name: str) -> None:
    """Raises ConfigError unless this can be the name in a mutable link."""
    try:
        check_pointer_name(name)
    except ValueError as error:
        raise ConfigError(f"{quoted(name)} cannot be the name of a mutable link: {error}.") from None


class MutableLinks:
    """The pointers that this peer publishes, and those of others that it follows."""

    def __init__(
        self,
        dialer: Dialer,
        pointers: Pointers,
        disk: Disk,
        overlays: Overlays,
        neighbours: Neighbours,
        finders: Finders,
    ) -> None:
        self._dialer = dialer
        self._pointers = pointers
        self._disk = disk
        self._overlays = overlays
        self._neighbours = neighbours
        self._finders = finders

    @property
    def _peer_id(self) -> PeerId:
        return self._dialer.identity.peer_id

    async def point(self, name: str, share: ShareId) -> Record:
        """Makes this peer's pointer of that name point to the share."""
        return await self._disk.run(self._point, name, share)

    def _point(self, name: str, share: ShareId) -> Record:
        before = self._pointers.newest(self._peer_id, name)
        return self._make(name, share, 0 if before is None else before.sequence + 1)

    def to_publish(self) -> list[Record]:
        """Returns this peer's pointers, renewed if they would soon expire, and those that it follows. Blocking."""
        now = self._overlays.clock()
        found = []
        for record in self._pointers.of(self._peer_id):
            assert isinstance(record.payload, Pointer)
            is_dated = -SKEW_S <= now - record.issued <= RENEW_S  # a wrong clock may have dated it in the future
            if not is_dated or record.network is None:
                record = self._make(record.payload.name, ShareId(record.payload.share), record.sequence + 1)
            found.append(record)
        return found + [record for record in self._pointers.followed() if record.expires > now and record.network]

    def _make(self, name: str, share: ShareId, least: int) -> Record:
        now = int(self._overlays.clock())
        record = records.seal(
            self._dialer.identity,
            self._dialer.network,
            pointer_key(self._peer_id, name),
            Pointer(name, share),
            sequence=max(least, now),
            now=now,
            lasts_s=LONGEST_S[RecordKind.POINTER],
        )
        self._pointers.saw(record, self._peer_id)
        return record

    async def newest(
        self, link: PointerLink, given: Sequence[PeerHint], wait_s: float | None, progress: Progress
    ) -> tuple[Link, list[PeerHint]]:
        """Finds the share to which the link points now, and addresses of its publisher.

        Raises NotFound if nobody knows one for `wait_s` seconds (None: tries for ever).
        """
        progress.state, progress.name = "looking for the newest version", link.name
        with trio.move_on_after(float("inf") if wait_s is None else wait_s):
            while True:
                found = await self.resolve(link, given, progress.note)
                if found is not None:
                    return found
                await trio.sleep(RESOLVE_RETRY_S)
        raise NotFound(
            f"Nobody knew of {quoted(link.name)} by peer {ids.compared(link.publisher)} for "
            f"{format_time(wait_s or 0)}. Try again when its publisher is there."
        )

    async def known(self, link: PointerLink) -> set[ShareId]:
        """The shares to which the link leads, as far as this peer knows: the newest one seen, and what it fetched."""
        return await self._disk.run(self._known, link)

    def _known(self, link: PointerLink) -> set[ShareId]:
        shares = self._pointers.fetched(link.publisher, link.name)
        newest = self._pointers.newest(link.publisher, link.name)
        if newest is not None:
            assert isinstance(newest.payload, Pointer)
            shares.add(ShareId(newest.payload.share))
        return shares

    async def resolve(
        self, link: PointerLink, given: Sequence[PeerHint], note: Callable[[str], None]
    ) -> tuple[Link, list[PeerHint]] | None:
        """Finds the share to which the link points now, and addresses of its publisher; None if nobody knew a share.

        Besides the finders, the peers named in the link and those `given` by the user are asked. Ends as soon as the
        publisher itself has answered.
        """
        publisher, name = link.publisher, link.name
        hints: dict[PeerHint, None] = {}
        answered = trio.Event()
        found: list[Record] = []
        """What nodes of the DHT have said so far: a lookup that takes long must not hide it."""

        async with trio.open_nursery() as nursery:

            def heard(hint: PeerHint) -> None:
                if hint not in hints and len(hints) < MAX_HINTS:
                    hints[hint] = None
                    nursery.start_soon(QUESTION.absorb, ask_publisher, hint)

            async def ask_publisher(hint: PeerHint) -> None:
                if await self._ask(hint, link):
                    answered.set()

            async def ask_overlays() -> None:
                await self._overlays.joined_soon()
                await self._overlays.get(pointer_key(publisher, name), RecordKind.POINTER, found.append, enough=None)

            async def ask_all() -> None:
                async with trio.open_nursery() as asking:
                    for hint in (*given, *link.peers)[:MAX_HINTS]:
                        hints[hint] = None
                        self._overlays.hint(hint.address)
                        asking.start_soon(QUESTION.absorb, ask_publisher, hint)
                    # Neighbours may know the pointer if its publisher is away.
                    for hint in self._neighbours.hints()[:MAX_HINTS]:
                        asking.start_soon(QUESTION.absorb, self._ask, hint, link)
                    asking.start_soon(self._finders.find_peer, publisher, heard, link.trackers, note)
                    asking.start_soon(QUESTION.absorb, ask_overlays)

            async def stop() -> None:
                await answered.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            with trio.move_on_after(RESOLVE_TIMEOUT_S):
                await ask_all()
                await trio.sleep(GRACE_S if hints else 0)
            nursery.cancel_scope.cancel()
        for record in found:
            await self._disk.run(self._pointers.saw, record, self._peer_id)
        newest = await self._disk.run(self._pointers.newest, publisher, name)
        if newest is None:
            return None
        assert isinstance(newest.payload, Pointer)
        return Link(ShareId(newest.payload.share), trackers=link.trackers), list(hints)

    async def _ask(self, hint: PeerHint, link: PointerLink) -> bool:
        """Asks one peer for the newest pointer that it has seen, and stores that. Returns whether it is the publisher
        and had one.
        """
        try:
            with trio.move_on_after(ASK_TIMEOUT_S):
                connection = await self._dialer.dial(hint.address, hint.peer_id)
                try:
                    await connection.send(messages.GetPointer(publisher=link.publisher, name=link.name))
                    reply = await connection.receive()
                    if isinstance(reply, messages.PointerIs):
                        await self._disk.run(self._take, reply.record, link)
                        return connection.ends.peer_id == link.publisher
                finally:
                    connection.close()
        except PeerError as error:
            logger.debug("%s: %s", hint, error)
        return False

    def _take(self, raw: bytes, link: PointerLink) -> None:
        """Stores a pointer that came from a peer, if it is valid and the newest. Raises MalformedMessage."""
        record = records.read(raw, pointer_key(link.publisher, link.name), self._overlays.clock(), self._dialer.network)
        if record.publisher != link.publisher or record.kind is not RecordKind.POINTER:
            raise MalformedMessage("another pointer than was asked for")
        self._pointers.saw(record, self._peer_id)
