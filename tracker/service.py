"""The tracker's decisions: who may announce what, what expires, who may be told which address.

The event loop never waits for the disk: one thread writes (`writing`), a few read (`reading`, `queries`). Outside input
is first read and checked against a rate limit; only then is anything else done with it.
"""

import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import msgspec
import trio

from p2p.concurrency.walls import Wall
from p2p.errors import ConfigError, MalformedMessage, Refused, StorageError
from p2p.ids import PeerId, ShareId
from p2p.net.dialer import Dialer
from p2p.net.http import check_url, origin
from p2p.net.http_server.refusals import TooMuch, subject
from p2p.wire.tracker import (
    MAX_RESULTS,
    Announce,
    Announced,
    Kind,
    PeerView,
    SearchAnswer,
    ShareView,
    SourcesAnswer,
    Statistics,
    VolunteersAnswer,
    Wanted,
    read_announce,
)
from tracker import queries
from tracker.changes import Conflict, NoRoom, Said
from tracker.database import Database
from tracker.dialback import DialBack, DialTarget
from tracker.feed import Feed
from tracker.index import Filter
from tracker.limits import Limits, Rates, TooLong
from tracker.reading import Reading
from tracker.store import HISTORY_S, Store
from tracker.writing import Writer

UPKEEP = Wall("periodic task of the tracker")

PENDING_INTERVAL_S = 5
"""How soon an announcer asks again whether it can be dialled."""
CALLED_INTERVAL_S = 20
"""How often a peer that cannot be dialled announces: the answer tells it which peers want it to call them."""
CALLED_PER_S = 50
"""About how many such announces per second there may be; with more of these peers, each announces less often."""
INTERVAL_S = 900
TIDY_INTERVAL_S = 1.0
MOMENT_INTERVAL_S = 60
FRESH_S = 1.0
_READ_IN_THREAD_BYTES = 32 * 1024
_BYTES_PER_TURN = 256 * 1024
"""How many bytes of a body count as one more announce: while a large body is decoded, no other thread can run."""

DECODERS = 3

logger = logging.getLogger(__name__)


class Service:
    """What the tracker's API and pages call. In its methods, `asker` is the host that the request came from.

    `url` is where others reach the tracker, as written in links. With `strict`, an announce must name this URL as its
    tracker. Without `strict`, it must name the host that the request says it is sent to; whoever sends the request can
    write any host there, so an announce to another tracker can be replayed to this one.
    """

    def __init__(
        self,
        database: Database,
        dialer: Dialer,
        *,
        url: str,
        strict: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        torrents: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self.url = url
        self.network = dialer.network
        self.limits = limits or Limits()
        self.peer_id = dialer.identity.peer_id
        self._strict = strict
        self._clock = clock
        self._torrents = torrents
        self._random = random.Random()
        self._decoders = trio.CapacityLimiter(DECODERS)
        self._reading = Reading(database, self.limits)
        self._writer = Writer(Store(database, self.limits), clock, self.limits.waiting_announces)
        self._dial_back = DialBack(dialer, self.limits, self._reached)
        self._feed = Feed(self._look, self.limits.event_streams)
        self._of_addresses = Rates(self.limits.announce_rate, self.limits.announce_burst)
        self._of_peers = Rates(self.limits.peer_rate, self.limits.peer_burst)
        self._figures: tuple[float, Statistics] | None = None
        self._looking = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the tracker's tasks until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._writer.run)
            await nursery.start(self._dial_back.run)
            await nursery.start(self._feed.run)
            nursery.start_soon(self._regularly, self.tidy, TIDY_INTERVAL_S)
            nursery.start_soon(self._regularly, self.remember, MOMENT_INTERVAL_S)
            task_status.started()

    def stop(self) -> None:
        """Ends the streams of changes."""
        self._feed.stop()

    # Announcing.

    async def announce(
        self, body: bytes, peer_text: str, signature_text: str, *, host: str, reached_by: str
    ) -> Announced | Conflict:
        """Accepts what a peer announces, if it meant this tracker. `reached_by` is the Host header of the request.

        Raises MalformedMessage, Refused, TooMuch, StorageError.
        """
        now = trio.current_time()
        address = subject(host)
        self._of_addresses.take(address, now, 1 + len(body) // _BYTES_PER_TURN)
        if len(body) > _READ_IN_THREAD_BYTES:
            peer, announce = await trio.to_thread.run_sync(
                read_announce, body, peer_text, signature_text, limiter=self._decoders
            )
        else:
            peer, announce = read_announce(body, peer_text, signature_text)
        changes = len(announce.add) + len(announce.provide) + len(announce.drop)
        self._of_peers.take(peer, now, 1 + changes / 100)
        self._check(announce, reached_by)
        outcome = await self._writer.take_in(Said(peer, announce, host, address))
        if isinstance(outcome, Conflict):
            return outcome
        if isinstance(outcome, NoRoom):
            raise TooMuch(outcome.reason, INTERVAL_S)
        place = DialTarget(peer, host, announce.port)
        wanted: tuple[Wanted, ...] = ()
        if not announce.bye:
            self._dial_back.look(place, now, outcome.dialable)
            if outcome.dialable is False:
                identifier, wall = outcome.id, self._clock()
                with suppress(TooMuch, TooLong):  # the announce counts all the same
                    wanted = await self._reading.ask(
                        lambda connection: queries.wanted(connection, identifier, host, wall), host
                    )
        return Announced(
            sequence=announce.sequence,
            interval_s=await self._interval(announce, place, outcome.dialable),
            seen_host=host[:64],
            dialable=outcome.dialable,
            shares=outcome.shares,
            refused=outcome.refused,
            wanted=wanted,
        )

    def _check(self, announce: Announce, reached_by: str) -> None:
        """Raises Refused for an announce that was not meant for this tracker."""
        if announce.network != self.network:
            raise Refused(f"This tracker belongs to the network {self.network!r}. Announce elsewhere, or join it.")
        try:
            scheme, *named = origin(check_url(announce.tracker))
            _, *ours = origin(self.url if self._strict else check_url(f"{scheme}://{reached_by}"))
        except ConfigError as error:
            raise MalformedMessage(f"The announce names no tracker: {error}") from None
        if named != ours:
            raise Refused(f"The announce is for another tracker. This one is {self.url}.")

    async def _interval(self, announce: Announce, place: DialTarget, dialable: bool | None) -> int:
        most = max(1, announce.expires_s // 2)
        if dialable:
            return min(INTERVAL_S, most)
        if self._dial_back.is_pending(place) and dialable is None:
            return PENDING_INTERVAL_S
        figures = await self._look()
        waiting = figures.now.peers - figures.dialable
        return min(max(CALLED_INTERVAL_S, waiting // CALLED_PER_S), INTERVAL_S, most)

    async def _reached(self, place: DialTarget, dialable: bool) -> None:
        try:
            await self._writer.change(lambda store: store.reached(place.peer, place.host, place.port, dialable))
        except StorageError as error:
            logger.warning("%s", error)
            return
        self._dial_back.keep(place, dialable, trio.current_time())

    # Asking.

    async def search(
        self,
        query: str,
        *,
        kind: Kind | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        limit: int = 50,
        cursor: str = "",
        asker: str,
    ) -> SearchAnswer:
        """Listed shares whose name or files have all of the words. Raises MalformedMessage for an invalid cursor."""
        asked, now = Filter(kind, min_size, max_size), self._clock()
        return await self._reading.ask(
            lambda connection: queries.search(
                connection, query, asked, limit=_most(limit), cursor=cursor, now=now, tracker=self.url
            ),
            asker,
        )

    async def share(self, share: ShareId, asker: str) -> ShareView:
        """A listed share. Raises NotFound."""
        now = self._clock()
        return await self._reading.ask(
            lambda connection: queries.share(connection, share, asker, now, self.url, self._random), asker
        )

    async def peer(self, peer: PeerId, *, limit: int = 50, cursor: str = "", asker: str) -> PeerView:
        """A live peer and the shares it lists. Raises NotFound, MalformedMessage."""
        now = self._clock()
        return await self._reading.ask(
            lambda connection: queries.peer(
                connection, peer, limit=_most(limit), cursor=cursor, now=now, tracker=self.url
            ),
            asker,
        )

    async def volunteers(
        self,
        *,
        runtime: str | None = None,
        cores: int = 0,
        memory: int = 0,
        limit: int = 50,
        cursor: str = "",
        asker: str,
    ) -> VolunteersAnswer:
        """Live peers that offer at least this much compute, the most idle cores first. Raises MalformedMessage."""
        now = self._clock()
        return await self._reading.ask(
            lambda connection: queries.volunteers(
                connection,
                runtime=runtime,
                cores=cores,
                memory=memory,
                limit=_most(limit),
                cursor=cursor,
                asker=asker,
                now=now,
            ),
            asker,
        )

    async def statistics(self, hours: float = 24.0, asker: str = "") -> Statistics:
        """The figures of the network now and over the last hours, for a host or, without one, for the tracker."""
        figures, until = await self._look(), self._clock()
        span = min(max(hours, 0.0) * 3600, HISTORY_S)
        moments = await self._reading.ask(lambda connection: queries.history(connection, until - span, until), asker)
        return msgspec.structs.replace(figures, history=moments)

    async def sources(self, key: bytes, asker: str) -> SourcesAnswer:
        """Who has the share with this provider key: a random sample."""
        now = self._clock()
        return await self._reading.ask(
            lambda connection: queries.sources(connection, key, asker, now, self._random), asker
        )

    def changes(self, host: str) -> AsyncGenerator[Statistics, None]:
        """Yields the statistics without history: now, and then whenever they have changed, at most once per second.

        The first step raises TooMuch if there are too many listeners; networks share their places.
        """
        return self._feed.changes(host)

    async def tidy(self) -> None:
        """Removes what has expired."""
        now = self._clock()
        await self._writer.change(lambda store: store.expire(now))
        while await self._writer.change(lambda store: store.sweep(now)):
            pass

    async def _look(self) -> Statistics:
        """The present figures, at most one second old. One counts for all that look at the same time."""
        async with self._looking:
            at = trio.current_time()
            if self._figures is None or at - self._figures[0] >= FRESH_S:
                self._figures = at, await self._count()
            return self._figures[1]

    async def _count(self) -> Statistics:
        """Computes the present figures."""
        now = self._clock()
        figures = await self._reading.ask(lambda connection: queries.statistics(connection, now), "")
        torrents, torrent_peers = self._torrents()
        return msgspec.structs.replace(figures, torrents=torrents, torrent_peers=torrent_peers)

    async def remember(self) -> None:
        """Adds the present figures to the history, and forgets the oldest."""
        moment = (await self._count()).now
        await self._writer.change(lambda store: store.forget(moment.time))
        await self._writer.change(lambda store: store.remember(moment))

    async def _regularly(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Runs the work at regular intervals. Continues after an error: a disk that is full now may have room later."""
        while True:
            await UPKEEP.contain(work)
            await trio.sleep(every_s - self._clock() % every_s)


def _most(limit: int) -> int:
    return min(max(limit, 1), MAX_RESULTS)
