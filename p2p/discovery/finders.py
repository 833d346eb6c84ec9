"""Finding the peers with a share: by link hints, trackers, the DHT, the local network and peer exchange, in parallel.

Answers are used as they come; any of these finders may be absent, slow, or lying. A finder only names addresses to
try: a peer there proves its identity by its key, and what it sends is verified by hash.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Protocol

import trio

from p2p import ids
from p2p.core.dht.publications import ENOUGH_HOLDERS
from p2p.discovery.dht import Overlays
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.questions import QUESTION
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, NotAllowed, NotFound, PeerError
from p2p.ids import PeerId, ShareId
from p2p.net.http import check_url
from p2p.reach.presence import Presence
from p2p.wire.address import Address, Scope, is_dialable_host, parse_address, scope
from p2p.wire.link import Link, PeerHint
from p2p.wire.records import Provider, Record, RecordKind, address_key, addresses_of
from p2p.wire.tracker import Source, provider_key

logger = logging.getLogger(__name__)

MAX_LINK_TRACKERS = 4
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 60.0
LONELY_AFTER_S = 0.2
SUPPLIED_INTERVAL_S = 300.0
"""The pause of a finder while sources give chunks."""

THOROUGH_EACH = 4
"""The DHT is read thoroughly, which takes some hundred queries, each so many times that nothing was found."""

Heard = Callable[[PeerHint], None]


class Seeker(Protocol):
    """A fetch, or another object that looks for sources of a share."""

    @property
    def any_known(self) -> bool:
        """Whether the seeker knows any address to try."""

    @property
    def any_connected(self) -> bool:
        """Whether any source gives the seeker chunks now."""

    def heard_of(self, hint: PeerHint) -> None:
        """Notes that there may be a source at this address."""

    def not_dialable(self, peer_id: PeerId) -> None:
        """Notes that the peer has the share, but no address at which it can be dialled."""


class Finders:
    """Runs all of this peer's finders for a `Seeker`, in parallel."""

    def __init__(
        self, presence: Presence, trackers: Trackers, overlays: Overlays, neighbours: Neighbours, random: Random
    ) -> None:
        self._presence = presence
        self._trackers = trackers
        self._overlays = overlays
        self._neighbours = neighbours
        self._random = random

    async def find(self, link: Link, seeker: Seeker, note: Callable[[str], None]) -> None:
        """Names sources to a seeker until cancelled; `note` gets what the user should know."""
        key, heard = provider_key(link.share_id), self._others(seeker)
        for hint in link.peers:
            self._overlays.hint(hint.address)
        async with trio.open_nursery() as nursery:

            def keep(finder: Callable[[], Awaitable[None]]) -> None:
                nursery.start_soon(QUESTION.keep, finder, self._random)

            for url in self._urls(link.trackers, note):
                keep(partial(self._from_tracker, url, key, heard, seeker, note))
            if self._overlays.is_on:
                keep(partial(self._from_overlays, key, heard, seeker))
            keep(partial(self._from_neighbours, heard))
            keep(partial(self._tell_if_lonely, link, seeker, note))

    async def ask_more(self, share: ShareId, urls: Sequence[str], seeker: Seeker, note: Callable[[str], None]) -> None:
        """Asks trackers that a later link to the share names, besides `find`, until cancelled."""
        key, heard = provider_key(share), self._others(seeker)
        async with trio.open_nursery() as nursery:
            for url in self._urls(urls, note):
                if url not in self._trackers.urls:
                    ask = partial(self._from_tracker, url, key, heard, seeker, note)
                    nursery.start_soon(QUESTION.keep, ask, self._random)

    async def find_peer(
        self, peer: PeerId, heard: Heard, of_link: Sequence[str] = (), note: Callable[[str], None] = lambda text: None
    ) -> None:
        """Asks each finder once where a peer may be reached, and passes the addresses to `heard`.

        `of_link` are the trackers of a link, which are asked too.
        """
        key = address_key(peer)

        def told(hint: PeerHint) -> None:
            if hint.peer_id == peer:
                heard(hint)

        async def ask_tracker(url: str) -> None:
            try:
                answer, trusted = await self._trackers.sources(url, key), url in self._trackers.urls
                for hint in hints_of(answer.sources, trusted=trusted):
                    told(hint)
            except NotAllowed as error:
                note(_not_asked(url, error))
            except (PeerError, NotFound) as error:
                logger.debug("tracker %s: %s", url, error)

        async def ask_overlays() -> None:
            await self._overlays.joined_soon()
            await self._overlays.get(key, RecordKind.ADDRESS, lambda record: self._tell(record, told))

        for hint in self._neighbours.hints():
            told(hint)
        address = self._presence.contacts.address_of(peer)
        if address is not None:
            told(PeerHint(address, peer))
        async with trio.open_nursery() as nursery:
            for url in self._urls(of_link, note):
                nursery.start_soon(QUESTION.absorb, ask_tracker, url)
            nursery.start_soon(QUESTION.absorb, ask_overlays)

    def _others(self, seeker: Seeker) -> Heard:
        def heard(hint: PeerHint) -> None:
            if hint.peer_id != self._presence.peer_id:
                seeker.heard_of(hint)

        return heard

    def _urls(self, of_link: Sequence[str], note: Callable[[str], None]) -> list[str]:
        """The trackers to ask: those of this peer, and some of those that the link names."""
        urls = list(self._trackers.urls)
        for text in of_link[:MAX_LINK_TRACKERS]:
            try:
                url = check_url(text)
            except ConfigError as error:
                note(f"a tracker in the link is left out: {error}")
                continue
            if url not in urls:
                urls.append(url)
        return urls

    async def _from_tracker(
        self, url: str, key: bytes, heard: Heard, seeker: Seeker, note: Callable[[str], None]
    ) -> None:
        attempt = 0
        while True:
            try:
                answer = await self._trackers.sources(url, key)
            except NotAllowed as error:
                note(_not_asked(url, error))
                return
            except (PeerError, NotFound) as error:
                logger.debug("tracker %s: %s", url, error)
            else:
                for hint in hints_of(answer.sources, trusted=url in self._trackers.urls):
                    self._overlays.hint(hint.address)
                    heard(hint)
                for source in answer.sources:
                    if source.address is None:
                        self._mention(source.peer, seeker)
            attempt += 1
            await self._pause(attempt, seeker)

    async def _from_overlays(self, key: bytes, heard: Heard, seeker: Seeker) -> None:
        attempt, is_found = 0, False

        def told(record: Record) -> None:
            self._tell(record, heard)
            if isinstance(record.payload, Provider) and not record.payload.addresses:
                self._mention(ids.to_text(record.publisher), seeker)

        await self._overlays.joined.wait()
        while True:
            # What was found before and gives nothing may be what hides the others; and now and then, nothing may be.
            thoroughly = not seeker.any_connected and (is_found or attempt % THOROUGH_EACH == THOROUGH_EACH - 1)
            enough = None if thoroughly else ENOUGH_HOLDERS
            found = await self._overlays.get(key, RecordKind.PROVIDER, told, enough=enough, thoroughly=thoroughly)
            is_found |= bool(found)
            attempt += 1
            await self._pause(attempt, seeker)

    async def _from_neighbours(self, heard: Heard) -> None:
        """Names all neighbours, since beacons do not say which shares a peer has."""
        while True:
            for hint in self._neighbours.hints():
                heard(hint)
            await self._neighbours.changed()

    async def _tell_if_lonely(self, link: Link, seeker: Seeker, note: Callable[[str], None]) -> None:
        """Notes for the user if there is nobody to ask, so that waiting is useless."""
        await trio.sleep(LONELY_AFTER_S)
        overlays = self._overlays
        asked = overlays.is_on and (overlays.joined.is_set() or overlays.knows_a_way_in)
        if not (asked or seeker.any_known or self._trackers.urls or link.trackers or len(self._neighbours)):
            note("nobody is known to ask: name somebody with --peer HOST:PORT, --join HOST:PORT or --tracker URL")

    async def _pause(self, attempt: int, seeker: Seeker) -> None:
        """Waits before a finder is asked again: a short time while there is no source, a long one while chunks come."""
        pause = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt - 1, 16))
        if seeker.any_connected:
            pause = SUPPLIED_INTERVAL_S
        await trio.sleep(pause * (0.8 + 0.4 * self._random.random()))

    def _tell(self, record: Record, heard: Heard) -> None:
        for host, port in addresses_of(record.payload):
            if self._overlays.is_plausible(host):
                heard(PeerHint(Address(host, port), record.publisher))

    def _mention(self, peer_text: str, seeker: Seeker) -> None:
        """Names a source that cannot be dialled to the seeker. That source learns of this peer too, and may call it."""
        try:
            peer = PeerId(ids.from_text(peer_text))
        except ValueError:
            return
        if peer != self._presence.peer_id:
            seeker.not_dialable(peer)


def _not_asked(url: str, error: NotAllowed) -> str:
    return f"the tracker {url} of the link is not asked: {error}. If you trust it, name it: --tracker {url}"


def hints_of(sources: tuple[Source, ...], *, trusted: bool) -> list[PeerHint]:
    """The addresses that a tracker named: private ones only if the user has named that tracker (`trusted`)."""
    found = []
    for source in sources:
        if source.address is None:
            continue
        try:
            address, peer = parse_address(source.address), PeerId(ids.from_text(source.peer))
        except (ConfigError, ValueError):
            continue
        if is_dialable_host(address.host) and (trusted or scope(address.host) == Scope.GLOBAL):
            found.append(PeerHint(address, peer))
    return found
