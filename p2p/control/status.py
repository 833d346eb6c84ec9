"""Describes the state of this peer: its addresses, who can reach it, whom it knows, and what it is doing."""

from pathlib import Path

import trio

from p2p.advertising.dht_publisher import Publisher
from p2p.advertising.tracker_announcer import TrackerAnnouncer, TrackerState
from p2p.compute.owner.jobs import Jobs
from p2p.concurrency import walls
from p2p.control.answers import DhtStatus, StatusAnswer, TrackerStatus
from p2p.control.shares import SharesView
from p2p.discovery.dht import Overlays
from p2p.discovery.neighbours import Neighbours
from p2p.ids import to_text
from p2p.reach.presence import Presence
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.store import posix
from p2p.wire.address import Address, Scope

_SCOPES = {Scope.MACHINE: "this machine", Scope.PRIVATE: "the local network", Scope.GLOBAL: "everywhere"}


class StatusView:
    """Gives the status of the peer whose home is `home`, in the network named `network`."""

    def __init__(
        self,
        home: Path,
        network: str,
        presence: Presence,
        shares: SharesView,
        swarms: Swarms,
        traffic: Traffic,
        overlays: Overlays,
        neighbours: Neighbours,
        announcer: TrackerAnnouncer,
        publisher: Publisher,
        jobs: Jobs,
    ) -> None:
        self._home = home
        self._network = network
        self._presence = presence
        self._shares = shares
        self._swarms = swarms
        self._traffic = traffic
        self._overlays = overlays
        self._neighbours = neighbours
        self._announcer = announcer
        self._publisher = publisher
        self._jobs = jobs
        self._started = trio.current_time()

    async def answer(self) -> StatusAnswer:
        """Returns the status as it is shown to the user."""
        rows = await self._shares.rows()
        presence = self._presence
        reachability = presence.reachability
        return StatusAnswer(
            peer=to_text(presence.peer_id),
            home=str(self._home),
            network=self._network,
            addresses=tuple(map(str, presence.addresses)),
            reachability=reachability.state.value,
            reachability_set=reachability.never,
            reachable_from=None if reachability.scope is None else _SCOPES[reachability.scope],
            seen_as=tuple(sorted(self._swarms.seen_as())),
            uptime_s=round(trio.current_time() - self._started),
            memory_bytes=posix.resident_bytes(),
            shares=len(rows),
            shared_bytes=sum(row.size for row in rows),
            stale=tuple(row.name for row in rows if row.stale),
            dht=self._dht() if self._overlays.is_on else None,
            neighbours=len(self._neighbours),
            trackers=tuple(map(_tracker, self._announcer.states.values())),
            connections=self._swarms.connections,
            uploaded=self._traffic.bytes_uploaded,
            downloaded=self._traffic.bytes_downloaded,
            fetches=tuple(progress for _, progress in self._swarms.fetches),
            jobs=tuple(underway.view for underway in self._jobs.under_way),
            bugs=walls.bugs.count,
        )

    def _dht(self) -> DhtStatus:
        overlays = self._overlays
        addresses = tuple(str(Address(*node.endpoint.address)) for node in overlays.nodes)
        without_room = len(self._publisher.without_room)
        return DhtStatus(overlays.size, overlays.joined.is_set(), overlays.records, addresses, without_room)


def _tracker(state: TrackerState) -> TrackerStatus:
    return TrackerStatus(
        url=state.url,
        trouble=state.trouble,
        announced_s=None if state.announced is None else round(trio.current_time() - state.announced),
        shares=state.shares,
        dialable=state.dialable,
        refused=state.refused,
    )
