"""Finding who has a share: link hints, trackers, the DHT, the local network and peer exchange, all at once.

Whatever answers first is used; each may be absent, slow, or lying. A finder only ever names addresses to try: what is
there proves itself by its key, and what it sends by its hash.
"""

import logging
from collections.abc import Callable

import trio

from p2p import ids
from p2p.discovery.dht import Overlays
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, NotAllowed, NotFound, PeerError
from p2p.ids import PeerId
from p2p.net.web import check_url
from p2p.peer_context import Local
from p2p.sharing.fetching.outgoing import Sources
from p2p.wire.address import Address, Scope, is_dialable_host, parse_address, scope
from p2p.wire.link import Link, PeerHint
from p2p.wire.records import Kind, Provider, Record, address_key, addresses_of
from p2p.wire.tracker import Source, provider_key

logger = logging.getLogger(__name__)

MOST_LINK_TRACKERS = 4
FIRST_AGAIN_S, LAST_AGAIN_S = 0.2, 60.0
JOIN_S = 5.0
"""How long a single question waits for the DHT to be joined."""
LONELY_AFTER_S = 0.2
CONTENT_S = 300.0
"""Pause of a finder while others give chunks."""

Heard = Callable[[PeerHint], None]


async def find(local: Local, link: Link, sources: Sources, note: Callable[[str], None]) -> None:
    """Feeds the sources of a fetch until cancelled; `note` gets what the user should know."""
    key = provider_key(link.share_id)

    def heard(hint: PeerHint) -> None:
        if hint.peer_id != local.peer_id:
            sources.heard_of(hint)

    for hint in link.peers:
        local.way_in(hint.address)
    async with trio.open_nursery() as nursery:
        for url in _trackers(local, link, note):
            nursery.start_soon(_from_tracker, local, url, key, heard, sources, note)
        if local.overlays is not None:
            nursery.start_soon(_from_overlays, local, local.overlays, key, heard, sources)
        nursery.start_soon(_from_neighbours, local, heard)
        nursery.start_soon(_tell_if_lonely, local, link, sources, note)


async def find_peer(local: Local, peer: PeerId, heard: Heard) -> None:
    """Where a peer may be reached: once through all finders."""
    key = address_key(peer)

    def told(hint: PeerHint) -> None:
        if hint.peer_id == peer:
            heard(hint)

    async def ask_tracker(trackers: Trackers, url: str) -> None:
        try:
            for hint in hints_of((await trackers.sources(url, key)).sources, trusted=True):
                told(hint)
        except (PeerError, NotFound) as error:
            logger.debug("tracker %s: %s", url, error)

    async def ask_overlays(overlays: Overlays) -> None:
        with trio.move_on_after(JOIN_S):
            await overlays.joined.wait()
        await overlays.get(key, Kind.ADDRESS, lambda record: _tell(overlays, record, told))

    for hint in local.neighbours.hints():
        told(hint)
    address = local.contacts.address_of(peer)
    if address is not None:
        told(PeerHint(address, peer))
    async with trio.open_nursery() as nursery:
        for url in local.trackers.urls:
            nursery.start_soon(ask_tracker, local.trackers, url)
        if local.overlays is not None:
            nursery.start_soon(ask_overlays, local.overlays)


def _trackers(local: Local, link: Link, note: Callable[[str], None]) -> list[str]:
    urls = list(local.trackers.urls)
    for text in link.trackers[:MOST_LINK_TRACKERS]:
        try:
            url = check_url(text)
        except ConfigError as error:
            note(f"a tracker in the link is left out: {error}")
            continue
        if url not in urls:
            urls.append(url)
    return urls


async def _from_tracker(
    local: Local, url: str, key: bytes, heard: Heard, sources: Sources, note: Callable[[str], None]
) -> None:
    attempt = 0
    while True:
        try:
            answer = await local.trackers.sources(url, key)
        except NotAllowed as error:
            note(f"the tracker {url} of the link is not asked: {error}. If you trust it, name it: --tracker {url}")
            return
        except (PeerError, NotFound) as error:
            logger.debug("tracker %s: %s", url, error)
        else:
            for hint in hints_of(answer.sources, trusted=url in local.trackers.urls):
                local.way_in(hint.address)
                heard(hint)
            for source in answer.sources:
                if source.address is None:
                    _mention(local, source.peer, sources)
        attempt += 1
        await _pause(local, attempt, sources)


async def _from_overlays(local: Local, overlays: Overlays, key: bytes, heard: Heard, sources: Sources) -> None:
    attempt = 0

    def told(record: Record) -> None:
        _tell(overlays, record, heard)
        if isinstance(record.payload, Provider) and not record.payload.addresses:
            _mention(local, ids.to_text(record.publisher), sources)

    await overlays.joined.wait()
    while True:
        await overlays.get(key, Kind.PROVIDER, told)
        attempt += 1
        await _pause(local, attempt, sources)


async def _from_neighbours(local: Local, heard: Heard) -> None:
    """Neighbours do not say what they have: all are asked."""
    while True:
        for hint in local.neighbours.hints():
            heard(hint)
        await local.neighbours.changed()


async def _tell_if_lonely(local: Local, link: Link, sources: Sources, note: Callable[[str], None]) -> None:
    """A peer that knows nobody waits in vain, and its user should know."""
    await trio.sleep(LONELY_AFTER_S)
    overlays = local.overlays
    asked = overlays is not None and (overlays.joined.is_set() or overlays.knows_a_way_in)
    if not (asked or sources.any_known or local.trackers.urls or link.trackers or len(local.neighbours)):
        note("nobody is known to ask: name somebody with --peer HOST:PORT, --join HOST:PORT or --tracker URL")


async def _pause(local: Local, attempt: int, sources: Sources) -> None:
    """Until a finder is asked again: soon while there is nobody, seldom while chunks come."""
    pause = min(LAST_AGAIN_S, FIRST_AGAIN_S * 2.0 ** min(attempt - 1, 16))
    if sources.any_connected:
        pause = CONTENT_S
    await trio.sleep(pause * (0.8 + 0.4 * local.random.random()))


def _tell(overlays: Overlays, record: Record, heard: Heard) -> None:
    for host, port in addresses_of(record.payload):
        if overlays.is_plausible(host):
            heard(PeerHint(Address(host, port), record.publisher))


def hints_of(sources: tuple[Source, ...], *, trusted: bool) -> list[PeerHint]:
    """The addresses that a tracker told; only one that the user named may name private ones."""
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


def _mention(local: Local, peer_text: str, sources: Sources) -> None:
    """Somebody has it who cannot be dialled: it is told of us, and may call."""
    try:
        peer = PeerId(ids.from_text(peer_text))
    except ValueError:
        return
    if peer != local.peer_id:
        sources.not_dialable(peer)
