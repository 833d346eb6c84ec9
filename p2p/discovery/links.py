"""Links to what this peer shares."""

from collections.abc import Callable

from p2p.discovery.trackers import Trackers
from p2p.ids import ShareId
from p2p.reach.presence import Presence
from p2p.wire.link import Link

MakeLink = Callable[[ShareId, str, int], str]
"""The link to a share of this name and so many bytes."""


class Links:
    """Makes links that name this peer's addresses, where it can be dialled, and its trackers."""

    def __init__(self, presence: Presence, trackers: Trackers) -> None:
        self._presence = presence
        self._trackers = trackers

    def maker(self) -> MakeLink:
        """Makes links as they are now; may be called in a thread."""
        hints, urls = self._presence.hints(), self._trackers.urls
        return lambda share, name, size: str(Link(share, name, size, hints, urls))

    def to(self, share: ShareId, name: str, size: int) -> str:
        """The link to a share of this peer, of so many bytes."""
        return self.maker()(share, name, size)
