"""Search: finds shares by words, through trackers, or through the keyword records of the DHT if no tracker answers.

Peers of the local network are asked too: there may be no tracker and no node of the DHT but them, and they know at once
what they share. A result is what some peer claims about a share, and names that peer. The result's link contains only
the share's id, the claimed name and size, and the tracker or neighbour that knew the share.

Only so many results are shown, and identities are free. So those who answered take turns: each tracker, each neighbour,
and the DHT. There, publishers take turns, first those of whom most nodes have told: as storers let networks take turns
when they answer, a network that stores many records has each of them told of by few nodes. So 64 identities of eight
networks, each with a full record, do not hide the results of others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, islice

import msgspec
import trio

from p2p import ids
from p2p.discovery.browse import ListedShare, shares_at
from p2p.discovery.dht import Overlays
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.questions import QUESTION
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, NotFound, PeerError
from p2p.ids import PeerId, ShareId
from p2p.log import printable
from p2p.net.dialer import Dialer
from p2p.round_robin import in_turns
from p2p.wire import keywords
from p2p.wire.link import Link, PeerHint
from p2p.wire.records import Record, RecordKind, Titles, keyword_key, shards
from p2p.wire.tracker import MAX_QUERY_CHARS, MIN_PREFIX_CHARS, Found, SearchAnswer

logger = logging.getLogger(__name__)

SEARCH_TIMEOUT_S = 10.0
NEARBY_FIRST_S, NEARBY_S = 0.5, 3.0
"""How long a search waits for peers of the local network: after others have answered, and from its start on."""
MAX_NEIGHBOURS = 32
MAX_LISTED = 1000
"""The most shares of one neighbour that are looked at."""
MAX_HITS = 100
"""The most results that are shown."""
TOO_SHORT = "Search for a word of at least {} letters or digits."


class Hit(msgspec.Struct, frozen=True):
    """One result of a search; its size is in bytes."""

    share: ShareId
    name: str
    size: int
    files: int | None
    sources: int
    """How many peers have the share or, if it was found in the DHT, how many claim to."""
    age_s: int | None
    signer: PeerId
    """The peer that first gave the share this name."""
    link: str
    matched: str | None = None
    """The file in the share that matched, if the share's name did not."""


async def search(
    trackers: Trackers,
    overlays: Overlays,
    neighbours: Neighbours,
    dialer: Dialer,
    query: str,
    note: Callable[[str], None],
) -> list[Hit]:
    """Finds shares with all the words, those with the most sources first.

    Raises ConfigError for words that cannot be searched for, NotFound if there is nobody to ask.
    """
    query = query.encode(errors="replace").decode()  # bytes of a command-line argument that are not text
    if len(query) > MAX_QUERY_CHARS:
        raise ConfigError(f"A search has at most {MAX_QUERY_CHARS} characters. Use fewer words.")
    least = MIN_PREFIX_CHARS if trackers.urls else keywords.MIN_WORD_CHARS
    wanted = keywords.wanted(query, least)
    if not wanted:
        raise ConfigError(TOO_SHORT.format(least))
    nearby = Nearby(neighbours, dialer, wanted)
    afar: list[list[Hit]] = []
    failure: ConfigError | NotFound | None = None
    until = trio.current_time() + NEARBY_S
    async with trio.open_nursery() as nursery:
        nursery.start_soon(QUESTION.absorb, nearby.run)
        try:
            afar = await _afar(trackers, overlays, query, note)
        except (ConfigError, NotFound) as error:
            failure = error
        any_found = any(afar)
        await nearby.soon(NEARBY_FIRST_S if any_found else max(NEARBY_FIRST_S, until - trio.current_time()), any_found)
        nursery.cancel_scope.cancel()
    if failure is not None and not nearby.any_answered:
        raise failure
    return _merged([*nearby.hits, *afar])


async def _afar(trackers: Trackers, overlays: Overlays, query: str, note: Callable[[str], None]) -> list[list[Hit]]:
    """Asks the trackers, or the DHT if none answers. Returns the results of each. Raises ConfigError, NotFound."""
    hits: list[list[Hit]] = []
    answered = 0

    async def ask(url: str) -> None:
        nonlocal answered
        try:
            with trio.fail_after(SEARCH_TIMEOUT_S):
                answer = await trackers.search(url, query, MAX_HITS)
        except (PeerError, NotFound) as error:
            note(f"tracker {url}: {error}")
        except trio.TooSlowError:
            note(f"tracker {url} did not answer within {SEARCH_TIMEOUT_S:.0f} seconds")
        else:
            answered += 1
            hits.append(list(_from_tracker(url, answer)))
            if answer.partial:
                note(f"tracker {url} has more matches than it ranks: add a word")

    async with trio.open_nursery() as nursery:
        for url in trackers.urls:
            nursery.start_soon(QUESTION.absorb, ask, url)
    if answered:
        return hits
    if not overlays.is_on:
        if trackers.urls:
            raise NotFound("No tracker answers. Name another with --tracker URL, or take part in the DHT.")
        raise NotFound("There is nobody to ask: name a tracker with --tracker URL, or take part in the DHT.")
    if not (found := await _over(overlays, query)):
        note("no tracker was asked or answered; over the DHT only whole words of a share's name are found")
    return [found]


async def _over(overlays: Overlays, query: str) -> list[Hit]:
    """The shares that the DHT has for the most specific word, filtered by the others. NotFound if no node is known."""
    wanted = keywords.wanted(query)
    if not wanted:
        raise ConfigError(TOO_SHORT.format(keywords.MIN_WORD_CHARS))
    if not await overlays.joined_soon():
        raise NotFound(
            "No tracker answers, and no node of the DHT was found. Name one with --join HOST:PORT or --tracker URL."
        )
    found: list[Record] = []
    told: Counter[PeerId] = Counter()
    with trio.move_on_after(SEARCH_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            for key in shards(keyword_key, keywords.most_telling(wanted)):
                get = partial(overlays.get, key, RecordKind.KEYWORD, found.append, enough=None, told=told)
                nursery.start_soon(get)
    said: dict[ShareId, dict[PeerId, tuple[str, int]]] = {}
    shares: dict[PeerId, list[ShareId]] = {}
    for record in found:
        assert isinstance(record.payload, Titles)
        for title in record.payload.titles:
            if keywords.matches(wanted, title.title):
                share = ShareId(title.share)
                said.setdefault(share, {})[record.publisher] = (title.title, title.size)
                shares.setdefault(record.publisher, []).append(share)
    publishers = sorted(shares, key=lambda publisher: -told[publisher])
    return [_said(share, said[share]) for share in dict.fromkeys(in_turns([shares[one] for one in publishers]))]


class Nearby:
    """Asks the peers of the local network, as they are heard of, which of their shares have all the words."""

    def __init__(self, neighbours: Neighbours, dialer: Dialer, wanted: list[str]) -> None:
        self._neighbours = neighbours
        self._dialer = dialer
        self._wanted = wanted
        self._asked: set[PeerHint] = set()
        self._asking = 0
        self._found: dict[ShareId, dict[PeerId, tuple[ListedShare, PeerHint]]] = {}
        self._ended = trio.Event()
        self.any_answered = False

    async def run(self) -> None:
        """Asks until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for hint in self._neighbours.hints():
                    if hint not in self._asked and len(self._asked) < MAX_NEIGHBOURS:
                        self._asked.add(hint)
                        self._asking += 1
                        nursery.start_soon(QUESTION.absorb, self._ask, hint)
                await self._neighbours.changed()

    async def soon(self, seconds: float, is_found: bool) -> None:
        """Waits up to so many seconds for all that were asked and, unless something is found already, for somebody."""
        if not self._neighbours.are_heard:
            return
        with trio.move_on_after(seconds):
            while self._asking or not (self.any_answered or is_found):
                await self._ended.wait()

    @property
    def hits(self) -> list[list[Hit]]:
        """What was found so far, by the neighbour that was the first to tell of it."""
        hits: dict[PeerId, list[Hit]] = {}
        for share, by in self._found.items():
            hits.setdefault(next(iter(by)), []).append(self._hit(share, by))
        return list(hits.values())

    async def _ask(self, hint: PeerHint) -> None:
        try:
            for one in await shares_at(self._dialer, hint, MAX_LISTED):
                if hint.peer_id is not None and keywords.matches(self._wanted, one.name):
                    self._found.setdefault(one.share, {})[hint.peer_id] = one, hint
                await trio.lowlevel.checkpoint()
            self.any_answered = True
        except PeerError as error:
            logger.debug("%s: %s", hint, error)
        finally:
            self._asking -= 1
            self._ended.set()
            self._ended = trio.Event()

    @staticmethod
    def _hit(share: ShareId, by: dict[PeerId, tuple[ListedShare, PeerHint]]) -> Hit:
        signer, (one, _) = next(iter(by.items()))
        link = Link(share, one.name, one.size, tuple(hint for _, hint in by.values()))
        return Hit(share, one.name, one.size, one.files, len(by), None, signer, str(link))


def _said(share: ShareId, by: dict[PeerId, tuple[str, int]]) -> Hit:
    signer, (name, size) = next(iter(by.items()))
    name = printable(name)
    return Hit(share, name, size, None, len(by), None, signer, str(Link(share, name, size)))


def _from_tracker(url: str, answer: SearchAnswer) -> Iterable[Hit]:
    for found in answer.results:
        hit = _hit(url, found)
        if hit is not None:
            yield hit


def _hit(url: str, found: Found) -> Hit | None:
    try:
        share, signer = ShareId(ids.from_text(found.share)), PeerId(ids.from_text(found.signer))
    except ValueError:
        return None
    name = printable(found.name)
    link = str(Link(share, name, found.size, trackers=(url,)))
    matched = None if found.matched is None else printable(found.matched)
    return Hit(share, name, found.size, found.files, found.sources, found.age_s, signer, link, matched)


def _merged(found: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Some of the results of all who answered: each share once, as the answer with the most sources has it."""
    best: dict[ShareId, Hit] = {}
    for hit in chain.from_iterable(found):
        if hit.share not in best or hit.sources > best[hit.share].sources:
            best[hit.share] = hit
    shown = islice(dict.fromkeys(hit.share for hit in in_turns(found)), MAX_HITS)
    # Among shares with as many sources, the trackers' own order, by match and sources, is kept.
    return sorted((best[share] for share in shown), key=lambda hit: -hit.sources)
