"""Puts together the discovery of one peer: all its ways to ask what others offer."""

from collections.abc import Callable
from random import Random

from p2p.discovery import browse, search
from p2p.discovery.dht import Overlays
from p2p.discovery.finders import Finders
from p2p.discovery.links import Links
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.pointers import MutableLinks
from p2p.discovery.trackers import Trackers
from p2p.discovery.volunteers import Volunteers
from p2p.net.dialer import Dialer
from p2p.reach.presence import Presence
from p2p.store.disk import Disk
from p2p.store.pointers import Pointers

Note = Callable[[str], None]


class Discovery:
    """The public class of this package: all ways to ask what others offer."""

    def __init__(
        self,
        dialer: Dialer,
        presence: Presence,
        pointers: Pointers,
        disk: Disk,
        trackers: Trackers,
        overlays: Overlays,
        neighbours: Neighbours,
        random: Random,
    ) -> None:
        self._dialer = dialer
        self.trackers = trackers
        self.overlays = overlays
        self.neighbours = neighbours
        self.links = Links(presence, trackers)
        self.finders = Finders(presence, trackers, overlays, neighbours, random)
        self.volunteers = Volunteers(dialer, trackers, overlays, neighbours)
        self.mutable_links = MutableLinks(dialer, pointers, disk, overlays, neighbours, self.finders)

    async def search(self, query: str, note: Note) -> list[search.Hit]:
        """Finds shares with all the words of the query: see `p2p.discovery.search`."""
        return await search.search(self.trackers, self.overlays, self.neighbours, self._dialer, query, note)

    async def browse(self, who: str, note: Note) -> list[browse.ListedShare]:
        """Gets the shares that a peer lists: see `p2p.discovery.browse`."""
        return await browse.browse(self._dialer, self.trackers, self.finders, who, note)
