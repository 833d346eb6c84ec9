"""Trackers, as this peer uses them: it announces to those it is set to use, and asks those and the ones in links.

Each may be absent, slow, or lying. An announce that fails is tried again, ever less often; an answer is bounded,
checked, and believed only as a hint.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import trio

from p2p import ids
from p2p.advertising.inventory import Offers
from p2p.advertising.tracker_delta import Difference
from p2p.compute.owner import hiring
from p2p.core.standing import Backoff
from p2p.errors import ConfigError, MalformedMessage, NotFound, PeerError, Refused, StorageError
from p2p.ids import PeerId
from p2p.log import printable
from p2p.net.web import Answered, Web, check_url
from p2p.peer_context import Local
from p2p.wire import tracker as wire
from p2p.wire.address import Address, parse_address
from p2p.wire.records import address_key
from p2p.wire.tracker import MAX_ANSWER_BYTES, Announced, PeerView, Problem, SearchAnswer, SourcesAnswer

logger = logging.getLogger(__name__)

BYE_S = 2.0
DEBOUNCE_S = 0.05
MOST_STEPS = 200
CONFLICTS_AT_ONCE = 3

A = TypeVar("A", bound=msgspec.Struct)


@dataclass
class TrackerState:
    """How it stands with one tracker, for people."""

    url: str
    trouble: str = ""
    """Why it does not work at the moment; empty while it does."""
    announced: float | None = None
    """When an announce was taken last, by trio's clock."""
    shares: int = 0
    dialable: bool | None = None
    seen_host: str = ""
    refused: tuple[str, ...] = ()


class Candidate(NamedTuple):
    """A volunteer that was found, and where it can be dialled, if it can be."""

    peer: PeerId
    address: Address | None
    capacity: wire.Capacity


class Trackers:
    """The trackers of one peer. `run` announces until cancelled, and says good-bye."""

    def __init__(self, local: Local, urls: Iterable[str]) -> None:
        self._local = local
        self.urls = tuple(dict.fromkeys(check_url(url) for url in urls))
        self.web = Web(self.urls)
        self.states = {url: TrackerState(url) for url in self.urls}
        self._offers = Offers(local)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                for url in self.urls:
                    nursery.start_soon(self._announce, url)
                await trio.sleep_forever()
        finally:
            await self.web.close()

    # Asking.

    async def sources(self, url: str, key: bytes) -> SourcesAnswer:
        """Who has the share with this provider key. Raises PeerError."""
        return await self._get(url, f"sources/{wire.key_text(key)}", SourcesAnswer)

    async def search(self, url: str, query: str, limit: int) -> SearchAnswer:
        """Listed shares with these words. Raises PeerError."""
        return await self._get(url, f"search?{urlencode({'q': query, 'limit': limit})}", SearchAnswer)

    async def peer(self, url: str, peer: PeerId, cursor: str = "") -> PeerView:
        """What a peer lists. Raises PeerError, NotFound."""
        path = f"peers/{ids.to_text(peer)}?{urlencode({'limit': 200, 'cursor': cursor}, quote_via=quote)}"
        return await self._get(url, path, PeerView)

    async def volunteers(self, url: str, runtime: str) -> list[Candidate]:
        """Who offers a runtime. Raises PeerError."""
        answer = await self._get(url, f"volunteers?{urlencode({'runtime': runtime})}", wire.VolunteersAnswer)
        found = []
        for one in answer.volunteers:
            with suppress(ConfigError, ValueError):
                address = None if one.address is None else parse_address(one.address)
                found.append(Candidate(PeerId(ids.from_text(one.peer)), address, one.capacity))
        return found

    async def _get(self, url: str, path: str, kind: type[A]) -> A:
        network = {wire.NETWORK_HEADER: self._local.config.network.name}
        return _read(await self.web.get(f"{url}/api/v1/{path}", network, most_bytes=MAX_ANSWER_BYTES), kind)

    # Announcing.

    async def _announce(self, url: str) -> None:
        """Keeps one tracker informed."""
        difference = Difference()
        backoff = Backoff()
        state = self.states[url]
        # As if it were a share: who looks for this peer finds it as a source of its address key.
        here = wire.Provided(wire.key_text(address_key(self._local.peer_id)))
        due = trio.current_time()
        told_from = self._local.addresses
        try:
            while True:
                # Several changes at once are one announce.
                await trio.sleep(DEBOUNCE_S)
                news = self._local.news.count
                addresses = self._local.addresses
                try:
                    also = [here, *hiring.announced(self._local)]
                    await trio.to_thread.run_sync(difference.want, await self._offers.all(contents=True), also)
                    if difference.is_pending or addresses != told_from or trio.current_time() >= due:
                        interval = await self._tell(url, difference, state, len(also))
                        due = trio.current_time() + interval * (0.9 + 0.1 * self._local.random.random())
                except (PeerError, NotFound, StorageError) as error:
                    if not state.trouble:
                        logger.warning("tracker %s: %s", url, error)
                    state.trouble = str(error)
                    await trio.sleep(backoff.failed(self._local.random.random()))
                    continue
                # It sees for itself where an announce comes from.
                told_from = addresses
                state.trouble = ""
                backoff.worked()
                with trio.move_on_at(due):
                    await self._local.news.after(news)
        finally:
            if state.announced is not None and not state.trouble:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + BYE_S):
                    await self._say_bye(url, difference)

    async def _tell(self, url: str, difference: Difference, state: TrackerState, no_shares: int) -> float:
        """Announces until the tracker knows all; seconds until the next announce. Raises PeerError.

        So many keys that it is told are none of shares.
        """
        local = self._local
        conflicts = 0
        for _ in range(MOST_STEPS):
            announce, change = difference.step(url, local.config.network.name, local.dialer.port, _clock_ms(local))
            if local.volunteering is not None:
                announce = msgspec.structs.replace(announce, capacity=local.volunteering.capacity())
            answered = await self._post(url, announce)
            if answered.status == 409:
                conflicts += 1
                if conflicts > CONFLICTS_AT_ONCE:
                    raise Refused("it is told of this peer by somebody else too: does another process use this key?")
                difference.conflict(_problem(answered).sequence)
                continue
            answer = _read(answered, Announced)
            difference.taken(announce, change)
            self._learn(url, answer, state, no_shares)
            if not difference.is_pending:
                return float(answer.interval_s)
        raise Refused("it takes announces in, but is never done")

    async def _post(self, url: str, announce: wire.Announce) -> Answered:
        body, headers = wire.sign_announce(announce, self._local.dialer.identity)
        return await self.web.post(f"{url}/api/v1/announce", body, headers, most_bytes=MAX_ANSWER_BYTES)

    async def _say_bye(self, url: str, difference: Difference) -> None:
        announce, _ = difference.step(url, self._local.config.network.name, 0, _clock_ms(self._local))
        bye = msgspec.structs.replace(announce, bye=True, add=(), provide=(), drop=())
        try:
            await self._post(url, bye)
        except PeerError as error:
            logger.debug("tracker %s: %s", url, error)

    def _learn(self, url: str, answer: Announced, state: TrackerState, no_shares: int) -> None:
        state.announced = trio.current_time()
        state.shares = max(0, answer.shares - no_shares)
        state.dialable = answer.dialable
        state.seen_host = printable(answer.seen_host)
        state.refused = tuple(printable(text) for text in answer.refused)
        if answer.dialable is not None:
            reachability = self._local.reachability
            before = reachability.state
            reachability.tracker_says(url, answer.dialable, answer.seen_host)
            if reachability.state is not before:
                self._local.news.ring()
        for wanted in answer.wanted:
            try:
                peer, address = PeerId(ids.from_text(wanted.peer)), parse_address(wanted.address)
                key = wire.key_from_text(wanted.key)
            except (ValueError, ConfigError):
                continue
            self._local.calls.wanted(key, peer, address)


def _clock_ms(local: Local) -> int:
    return int(local.clock() * 1000)


def _problem(answered: Answered) -> Problem:
    try:
        return msgspec.json.decode(answered.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(f"it answers with HTTP status {answered.status}")


def _read(answered: Answered, kind: type[A]) -> A:
    if answered.status == 404:
        raise NotFound(printable(_problem(answered).error))
    if answered.status != 200:
        raise Refused(printable(_problem(answered).error)[:300])
    try:
        return msgspec.json.decode(answered.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"its answer makes no sense: {str(error)[:200]}") from None
