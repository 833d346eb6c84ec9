"""One `shoal get`, from its link to the answer: where the link leads now, and the fetch."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from p2p import ids
from p2p.concurrency.throttle import Throttle
from p2p.control import answers
from p2p.control.protocol import GetRequest
from p2p.discovery.discovery import Discovery
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetched
from p2p.sharing.fetching.supply import Options
from p2p.sharing.reading.open_shares import OpenShares
from p2p.wire.link import Link, PointerLink, parse_any_link, parse_peer

Found = Callable[[Link], Awaitable[None]]
"""Is told which share a fetch is of."""


class Getting:
    """Carries out what the user asks of `get`."""

    def __init__(self, discovery: Discovery, open_shares: OpenShares) -> None:
        self._discovery = discovery
        self._open_shares = open_shares

    async def get(
        self, request: GetRequest, progress: Progress, throttle: Throttle, found: Found, *, keep_serving: bool
    ) -> answers.GetAnswer:
        """Fetches a share, as fast as `throttle` allows. Raises ShoalError."""
        named = parse_any_link(request.link)
        hints = [parse_peer(text) for text in request.peers]
        follows = None
        if isinstance(named, PointerLink):
            follows = (named.publisher, named.name)
            link, known = await self._discovery.mutable_links.newest(named, hints, request.wait_s, progress)
            hints += known
        else:
            link = named
        await found(link)
        options = Options(
            folder=Path(request.out),
            select=request.select,
            exclude=request.exclude,
            naming=request.names,
            trust_names=request.trust_names,
            into_existing=request.into_existing,
            sequential=request.sequential,
            overwrite=request.overwrite,
            wait_s=request.wait_s,
            throttle=throttle,
            keep_serving=keep_serving,
            follows=follows,
        )
        return _answer(await self._open_shares.fetch(link, hints, options, progress))


def _answer(result: Fetched) -> answers.GetAnswer:
    return answers.GetAnswer(
        paths=tuple(map(str, result.paths)),
        bytes=result.bytes,
        received=result.received,
        seconds=round(result.seconds, 3),
        sources={ids.to_text(peer): count for peer, count in result.sources.items()},
        mapped=tuple(
            answers.MappedFile(shared, str(path)) for shared, path in result.mapped[: answers.MAX_FILES_NAMED]
        ),
        mapped_count=len(result.mapped),
        skipped=tuple(answers.SkippedFile(s.path, s.why) for s in result.skipped[: answers.MAX_FILES_NAMED]),
        skipped_count=len(result.skipped),
    )
