"""One `shoal get`, from its link to the answer: where the link leads now, and the fetch."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from p2p import ids
from p2p.concurrency.throttle import Throttle
from p2p.control import answers
from p2p.control.protocol import GetRequest
from p2p.discovery.discovery import Discovery
from p2p.errors import NotFound
from p2p.formats import format_time
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetched
from p2p.sharing.fetching.supply import Options
from p2p.sharing.reading.open_shares import OpenShares
from p2p.wire.link import Link, PeerHint, PointerLink, parse_any_link, parse_peer

RESOLVE_RETRY_S = 3.0

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
            link, known = await newest(self._discovery, named, hints, request.wait_s, progress)
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


async def newest(
    discovery: Discovery, link: PointerLink, hints: list[PeerHint], wait_s: float | None, progress: Progress
) -> tuple[Link, list[PeerHint]]:
    """Returns the share to which the link leads now. Raises NotFound if it is not found within `wait_s`.

    `hints` are peers that may know, besides those in the link.
    """
    progress.state = "looking for the newest version"
    progress.name = link.name
    with trio.move_on_after(float("inf") if wait_s is None else wait_s):
        while True:
            found = await discovery.mutable_links.resolve(link, hints, progress.note)
            if found is not None:
                return found
            await trio.sleep(RESOLVE_RETRY_S)
    raise NotFound(
        f"Nobody knew of {link.name!r} by peer {ids.compared(link.publisher)} for {format_time(wait_s or 0)}. "
        "Try again when its publisher is there."
    )


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
