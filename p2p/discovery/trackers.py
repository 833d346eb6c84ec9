"""The trackers that this peer asks: those in its settings, and those in links.

Any of them may be absent, slow, or lying: an answer is bounded, checked, and used only as a hint.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from p2p import ids
from p2p.errors import ConfigError, MalformedMessage, NotFound, Refused
from p2p.ids import PeerId
from p2p.log import printable
from p2p.net.http import Answered, Web, check_url
from p2p.wire import tracker as wire
from p2p.wire.address import Address, parse_address
from p2p.wire.tracker import MAX_ANSWER_BYTES, PeerView, Problem, SearchAnswer, SourcesAnswer

A = TypeVar("A", bound=msgspec.Struct)


class Candidate(NamedTuple):
    """A volunteer that was found, and the address at which it can be dialled, if there is one."""

    peer: PeerId
    address: Address | None
    capacity: wire.Capacity


class Trackers:
    """The trackers of one peer in one network, at `urls`. Raises ConfigError for a URL that cannot be a tracker's."""

    def __init__(self, urls: Iterable[str], network: str) -> None:
        self._network = network
        self.urls = tuple(dict.fromkeys(check_url(url) for url in urls))
        self.web = Web(self.urls)

    async def close(self) -> None:
        """Closes all connections."""
        await self.web.close()

    async def sources(self, url: str, key: bytes) -> SourcesAnswer:
        """The peers that have the share with this provider key. Raises PeerError."""
        return await self._get(url, f"sources/{wire.key_text(key)}", SourcesAnswer)

    async def search(self, url: str, query: str, limit: int) -> SearchAnswer:
        """The listed shares with these words. Raises PeerError."""
        return await self._get(url, f"search?{urlencode({'q': query, 'limit': limit})}", SearchAnswer)

    async def peer(self, url: str, peer: PeerId, cursor: str = "") -> PeerView:
        """The shares that a peer lists. Raises PeerError, NotFound."""
        path = f"peers/{ids.to_text(peer)}?{urlencode({'limit': 200, 'cursor': cursor}, quote_via=quote)}"
        return await self._get(url, path, PeerView)

    async def volunteers(self, url: str, runtime: str) -> list[Candidate]:
        """The volunteers that offer a runtime. Raises PeerError."""
        answer = await self._get(url, f"volunteers?{urlencode({'runtime': runtime})}", wire.VolunteersAnswer)
        found = []
        for one in answer.volunteers:
            with suppress(ConfigError, ValueError):
                address = None if one.address is None else parse_address(one.address)
                found.append(Candidate(PeerId(ids.from_text(one.peer)), address, one.capacity))
        return found

    async def _get(self, url: str, path: str, kind: type[A]) -> A:
        network = {wire.NETWORK_HEADER: self._network}
        return read(await self.web.get(f"{url}/api/v1/{path}", network, most_bytes=MAX_ANSWER_BYTES), kind)

    async def announce(self, url: str, body: bytes, headers: dict[str, str]) -> Answered:
        """Posts a signed announce. Raises PeerError."""
        return await self.web.post(f"{url}/api/v1/announce", body, headers, most_bytes=MAX_ANSWER_BYTES)


def problem_in(answered: Answered) -> Problem:
    """The problem that a tracker reports, or its HTTP status if it reports none."""
    try:
        return msgspec.json.decode(answered.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(f"it answers with HTTP status {answered.status}")


def read(answered: Answered, kind: type[A]) -> A:
    """Decodes an answer of that kind. Raises NotFound, Refused, MalformedMessage."""
    if answered.status == 404:
        raise NotFound(printable(problem_in(answered).error))
    if answered.status != 200:
        raise Refused(printable(problem_in(answered).error)[:300])
    try:
        return msgspec.json.decode(answered.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"its answer makes no sense: {str(error)[:200]}") from None
