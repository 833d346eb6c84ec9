"""Which shares are shown over TCP: those of the library, those that the user is fetching, and those that were opened.

Never what jobs read, pass on or keep, unless it was opened.
"""

from p2p.control.access.web_access import Hints, WebAccess
from p2p.ids import ShareId
from p2p.web.deps import Deps
from p2p.wire.link import PointerLink

MAX_REMEMBERED = 1000
NOWHERE: Hints = ((), ())


class Selection:
    """The shares and mutable links that are shown."""

    def __init__(self, deps: Deps, access: WebAccess) -> None:
        self._deps = deps
        self._access = access
        self._seen: set[ShareId] = set()
        """Shares of the library, as of the change `_as_of`."""
        self._as_of = -1

    async def hints(self, share: ShareId) -> Hints | None:
        """Where a share may be found, besides where it always may; None if it is not shown."""
        opened = self._access.opened(share)
        if opened is not None:
            return opened
        is_own = self._is_being_fetched(share) or await self._is_own(share)
        return NOWHERE if is_own and not await self._deps.jobs.made(share) else None

    def names(self, link: PointerLink) -> Hints | None:
        """Where the newest version of a name may be found; None if it is not shown. This peer's own names are."""
        return NOWHERE if link.publisher == self._deps.peer_id else self._access.opened(link)

    def led(self, link: PointerLink, share: ShareId, hints: Hints) -> None:
        """A mutable link led to this share, which is shown from now on if the link was opened."""
        if self._access.opened(link) is not None:
            self._access.led(share, hints)

    def _is_being_fetched(self, share: ShareId) -> bool:
        deps = self._deps
        return deps.swarms.progress_of(share) is not None and not deps.open_shares.being_read(share)

    async def _is_own(self, share: ShareId) -> bool:
        now = self._deps.changes.count
        if now != self._as_of or len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
            self._as_of = now
        if share in self._seen:
            return True
        if not await self._deps.shares.has(share):
            return False
        if now == self._deps.changes.count == self._as_of:
            self._seen.add(share)
        return True
