"""Makes links to what this peer shares."""

from collections.abc import Callable

from p2p.discovery.trackers import Trackers
from p2p.ids import ShareId
from p2p.reach.presence import Presence
from p2p.wire.link import Link, PointerLink

MakeLink = Callable[[ShareId, str, int], str]
"""Makes the link to a share from the share's id, its name, and its size in bytes."""


class Links:
    """Makes links that name this peer's trackers and, if it can be dialled, its addresses."""

    def __init__(self, presence: Presence, trackers: Trackers) -> None:
        self._presence = presence
        self._trackers = trackers

    def maker(self) -> MakeLink:
        """A function that makes links with the present addresses; it may be called in a thread."""
        hints, urls = self._presence.hints(), self._trackers.urls
        return lambda share, name, size: str(Link(share, name, size, hints, urls))

    def to(self, share: ShareId, name: str, size: int) -> str:
        """Makes the link to a share of this peer; `size` is in bytes."""
        return self.maker()(share, name, size)

    def mutable_maker(self) -> Callable[[str], str]:
        """A function that makes the mutable link of a name with the present addresses; it may be called in a thread."""
        peer, hints, urls = self._presence.peer_id, self._presence.hints(), self._trackers.urls
        return lambda name: str(PointerLink(peer, name, hints, urls))
