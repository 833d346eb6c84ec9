"""Publishing: keeps records of this peer's offers, addresses and pointers in the DHT, for as long as the peer runs.

`core.dht.publications` decides what is due and when. The times of past publications survive a restart, so a peer that
starts ten times an hour does not publish ten times; but what was not settled is published at once.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from p2p.advertising.adverts import gather
from p2p.advertising.deps import Deps
from p2p.advertising.inventory import Inventory, InventoryEntry
from p2p.concurrency.walls import Wall
from p2p.core.dht import publications
from p2p.core.dht.publications import Item
from p2p.core.dht.recordstore import FULL, WITHOUT_ROOM
from p2p.discovery.pointers import MutableLinks
from p2p.errors import StorageError
from p2p.store.dht_state import OverlayState, Publication
from p2p.wire import records
from p2p.wire.records import OfferedCapacity, Payload, Provider, Record, Whereabouts

if TYPE_CHECKING:
    from p2p.net.dht import Published

logger = logging.getLogger(__name__)

PUBLISH = Wall("publication in the DHT")

AT_ONCE = 4
PER_S = 5.0
"""About how many records are published per second, so that a peer with a thousand shares spreads its work over time."""
LOOK_INTERVAL_S = 300.0
"""How often the DHT is told which chunks a running fetch has so far."""
NODES_INTERVAL_S = 5.0
"""How often the publisher looks how many nodes are known."""
GROWTH_PAUSE_S = 10.0
"""How long a record is left alone, at least, however the number of known nodes changes."""


class Publisher:
    """Publishes one peer's records in the DHT. `run` must be started after the overlays."""

    def __init__(self, deps: Deps, mutable_links: MutableLinks, state: OverlayState) -> None:
        self._deps = deps
        self._mutable_links = mutable_links
        self._overlays = deps.overlays
        self._state = state
        self._network = deps.dialer.network
        self._inventory = Inventory(deps.library, deps.disk, deps.swarms)
        self._last: dict[bytes, Publication] = {}
        self._next: dict[bytes, float] = {}
        self._failures: Counter[bytes] = Counter()
        self._begun: Counter[bytes] = Counter()
        """How often each record's publication began in a row without coming to an end: there is a bug in it."""
        self._not_before: dict[bytes, float] = {}
        """When these may begin again."""
        self._tried: dict[bytes, bytes] = {}
        """The contents of the records that are not settled."""
        self._nodes: dict[bytes, int] = {}
        """How many nodes were known when each record was published."""
        self.without_room: set[bytes] = set()
        """The keys for which too few nodes took a record, as others had no room for it."""

    async def run(self) -> None:
        self._last = await self._deps.disk.run(self._state.publications)
        await self._overlays.joined.wait()
        while True:
            news = self._deps.changes.count
            offered = (await self._inventory.all())[: publications.MAX_SHARES]
            advert = gather(self._deps.adverts)
            due_at = await self._deps.disk.run(self._due, offered, advert.items, self._place)
            self.without_room &= {item.key for item in due_at}
            due = sorted((item for item, at in due_at.items() if at <= time.time()), key=lambda item: due_at[item])
            for first in range(0, len(due), AT_ONCE):
                await self._publish_some(due[first : first + AT_ONCE])
                if self._deps.changes.count > news:
                    break  # new shares must not wait for a thousand older ones
                await trio.sleep(AT_ONCE / PER_S if len(due) > AT_ONCE else 0)
            if due:
                continue
            await self._rest(news, min(LOOK_INTERVAL_S, max(0.1, min(due_at.values()) - time.time())))

    async def _rest(self, news: int, seconds: float) -> None:
        """Waits until something is due, this peer has something new, or more nodes are known."""
        nodes, until = self._overlays.size, trio.current_time() + seconds
        while self._deps.changes.count == news and self._overlays.size <= nodes and trio.current_time() < until:
            nodes = min(nodes, self._overlays.size)
            with trio.move_on_at(min(until, trio.current_time() + NODES_INTERVAL_S)):
                await self._deps.changes.after(news)

    def _due(self, offered: Sequence[InventoryEntry], advertised: Sequence[Item], place: str) -> dict[Item, float]:
        """Returns everything that is to be published, with the time when it is due.

        Blocks: a thousand shares take a while.
        """
        items = [publications.address_item(self._deps.presence.peer_id), *advertised]
        items += publications.pointer_items(self._mutable_links.to_publish())
        items += publications.provider_items((one.share, one.held) for one in offered)
        items += publications.keyword_items((one.share, one.name, one.size) for one in offered if one.listed)
        return {item: self._due_at(item, place) for item in items}

    async def _publish_some(self, items: Sequence[Item]) -> None:
        async with trio.open_nursery() as nursery:
            for item in items:
                nursery.start_soon(PUBLISH.contain, self._publish, item)

    async def _publish(self, item: Item) -> None:
        chance = self._deps.random.random()
        self._begun[item.key] += 1
        pause = publications.again_after(self._begun[item.key], chance, answered=False)
        self._not_before[item.key] = time.time() + pause
        nodes = self._overlays.size
        result = await self._store(item, item.key)
        for other in item.others:
            if _is_settled(result) or FULL not in result.refused:
                break
            result = await self._store(item, other)
        content = item.content(self._network, self._place)
        self._nodes[item.key] = nodes
        if _is_settled(result):
            await self._remember(item.key, self._last[item.key]._replace(content=content))
            self._failures.pop(item.key, None)
            self._tried.pop(item.key, None)
            self.without_room.discard(item.key)
            self._next[item.key] = publications.due_at(time.time(), item.kind, chance)
        else:
            trouble = ", ".join(set(result.refused)) or "no answer"
            logger.debug("%d nodes took the %s record: %s", result.stored, item.kind.name, trouble)
            self._failures[item.key] += 1
            self._tried[item.key] = content
            lacks_room = not WITHOUT_ROOM.isdisjoint(result.refused)
            (self.without_room.add if lacks_room else self.without_room.discard)(item.key)
            answered = result.stored > 0 or lacks_room
            pause = publications.again_after(self._failures[item.key], chance, answered=answered)
            self._next[item.key] = time.time() + pause
        del self._begun[item.key], self._not_before[item.key]

    async def _store(self, item: Item, key: bytes) -> "Published":
        now = int(self._overlays.clock())
        before = self._last.get(key)
        # The time alone would be enough if the clock were never set back.
        sequence = max(now, before.sequence + 1 if before else 0)

        def make(host: str) -> Record:
            if item.record is not None:
                return item.record
            payload = _at(item.payload, self._deps.presence.advertised_as(host))
            return records.seal(
                self._deps.dialer.identity,
                self._deps.dialer.network,
                key,
                payload,
                sequence=sequence,
                now=now,
                lasts_s=item.lasts_s,
            )

        result = await self._overlays.publish(key, make)
        await self._remember(key, Publication(sequence, b"", time.time()))
        return result

    async def _remember(self, key: bytes, publication: Publication) -> None:
        self._last[key] = publication
        try:
            await self._deps.disk.run(self._state.published, key, publication)
        except StorageError as error:
            logger.warning("it is published again after the next start: %s", error)

    @property
    def _place(self) -> str:
        return ",".join(sorted(map(str, self._deps.presence.advertised())))

    def _due_at(self, item: Item, place: str) -> float:
        if item.key in self._not_before:
            return self._not_before[item.key]
        last = self._last.get(item.key)
        if last is None or last.published > time.time():  # the clock was set back
            return 0.0
        content, failures = item.content(self._network, place), self._failures[item.key]
        grown = publications.has_grown(self._nodes.get(item.key, 0), self._overlays.size, settled=not failures)
        if item.key in self._nodes and grown:
            return last.published + GROWTH_PAUSE_S
        if failures and self._tried[item.key] == content:
            return self._next[item.key]
        if last.content != content:
            return 0.0
        again = publications.due_at(last.published, item.kind, self._deps.random.random())
        return self._next.setdefault(item.key, again)


def _is_settled(result: "Published") -> bool:
    """Whether the record will be found for as long as it lasts, whoever leaves."""
    return result.stored >= publications.ENOUGH_STORERS


def _at(payload: Payload, addresses: tuple[tuple[str, int], ...]) -> Payload:
    """Returns the payload with the publisher's addresses, if payloads of this type have any."""
    match payload:
        case Provider():
            return Provider(addresses, payload.held)
        case Whereabouts():
            return Whereabouts(addresses)
        case OfferedCapacity():
            return OfferedCapacity(payload.capacity, addresses)
        case _:
            return payload
