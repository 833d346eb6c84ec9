"""Lookups of the DHT over the network: who is near a key, and which records are kept there.

`core.dht.lookup` decides who is asked next, `core.dht.density` whether a crowd sits around the key. If so, or if the
caller asks for it, more lookups go to points around the key, along paths that share no node with the first or with each
other, and the nodes that they find in the region of the key count as near too. An ordinary lookup goes one path.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import trio

from p2p.core.dht.density import Density, points_around
from p2p.core.dht.lookup import Claims, Lookup
from p2p.core.dht.recordstore import RecordStore
from p2p.core.dht.routing import Contact, K, Table, point
from p2p.errors import MalformedMessage
from p2p.ids import PeerId
from p2p.net.datagrams import Endpoint, Reply
from p2p.wire import datagrams, records
from p2p.wire.address import is_dialable_host
from p2p.wire.datagrams import NUMBER_BYTES, FindNode, FindValue, Nodes, Query, Values
from p2p.wire.nodeid import NODE_ID_BYTES
from p2p.wire.records import Record, RecordKind

PATHS = 4
"""Along how many paths that share no node a key is looked up that others crowd around."""
MAX_AROUND = 2 * K
"""The most nodes of a key's region that count as near besides the nearest."""
READ_REGION = 1.5
"""How much larger the region is that is read than the one that is written: estimates of it differ."""
READ_AT_ONCE = 6
MAX_SEEN_RECORDS = 1024

Heard = Callable[[Record], None]
Told = Counter[PeerId]
"""How many nodes have told of a record of each publisher."""
_Make = Callable[[bytes, bytes], Query]


class Ask(Protocol):
    """Sends a query that is made from a number and a node id, and waits for the answer; None if none came."""

    def __call__(
        self, whom: Contact, query: _Make, stalled: Callable[[], None] = lambda: None, /
    ) -> Awaitable[Reply | None]: ...


@dataclass
class Outcome:
    """The result of a lookup: the nodes and records that it found, and how many nodes it asked."""

    near: list[Contact]
    """The nearest nodes that answered, nearest first; then, if a crowd sits around the target, others of its region."""
    tokens: dict[bytes, bytes] = field(default_factory=dict)
    seen: dict[bytes, str] = field(default_factory=dict)
    """The host at which each of these nodes sees this one."""
    found: dict[tuple[PeerId, RecordKind], Record] = field(default_factory=dict)
    holders: int = 0
    asked: int = 0
    failures: int = 0
    hops: int = 0
    paths: int = 1


class Lookups:
    """The lookups of one node."""

    def __init__(
        self, endpoint: Endpoint, table: Table, store: RecordStore, ask: Ask, *, local_exempt: bool = True
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        self._store = store
        self._ask = ask
        self._local_exempt = local_exempt
        self.density = Density()

    async def find(self, target: bytes, *, widely: bool = False) -> Outcome:
        """Finds the nodes nearest to a target of 20 bytes; `widely`: also others of its region, if it is crowded."""
        outcome, claims = Outcome([]), Claims()
        path = self._path(target, (), claims)
        await self._walk(path, _find_node(target), outcome, None)
        self._end(path, target, outcome)
        if widely and self.density.is_crowded(target, outcome.near):
            outcome.near += await self._around(target, path, claims, outcome, K)
        return outcome

    async def get(
        self,
        key: bytes,
        kind: RecordKind,
        enough: int | None,
        heard: Heard,
        *,
        told: Told | None = None,
        thoroughly: bool = False,
    ) -> Outcome:
        """Gets the records of a kind under a key; along several paths if it is crowded, or if `thoroughly`."""
        outcome, claims = Outcome([]), Claims()
        reading = _Reading(self._endpoint, key, kind, enough, heard, Counter() if told is None else told, outcome)
        await reading.take(self._store.get(key, self._endpoint.now()))
        path = self._path(key, (), claims)
        await self._walk(path, _find_value(key), outcome, reading)
        self._end(path, key, outcome)
        if not reading.is_enough and (thoroughly or self.density.is_crowded(key, outcome.near)):
            around = await self._around(key, path, claims, outcome, K * READ_REGION)
            await self._read(around, key, reading)
            outcome.near += around
        return outcome

    def _end(self, path: Lookup, target: bytes, outcome: Outcome) -> None:
        outcome.near = [contact for contact in path.nearest() if contact.id in outcome.tokens]
        _count(outcome, path)
        if path.done:
            self.density.heard(target, outcome.near)
        # What a lookup of this node's own id told when the network was smaller is long untrue; the table is kept fresh.
        own = self._table.node
        self.density.heard(own.id, self._table.find_neighbors(own))

    def _path(self, target: bytes, more: Iterable[Contact], claims: Claims) -> Lookup:
        self._table.touch(point(target))
        seeds = [*self._table.find_neighbors(point(target)), *more]
        return Lookup(target, self._table.node.id, seeds, local_exempt=self._local_exempt, claims=claims)

    async def _around(
        self, target: bytes, first: Lookup, claims: Claims, outcome: Outcome, count: float
    ) -> list[Contact]:
        """Nodes in the region of the target in which `count` are expected, but for those of the first path."""
        radius = self.density.radius(target, count)
        if radius is None or len(outcome.near) < K:
            return []  # hardly anybody is there, and the first path has asked all
        paths = [self._path(place, first.unasked(), claims) for place in points_around(target, radius, PATHS - 1)]
        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(self._walk, path, _find_node(path.target), outcome, None)
        outcome.paths += len(paths)
        found: dict[bytes, Contact] = {}
        for path in paths:
            _count(outcome, path)
            found |= {one.id: one for one in path.nearest() if one.id in outcome.tokens}
        middle = point(target)
        return [one for one in sorted(found.values(), key=middle.distance_to) if middle.distance_to(one) <= radius][
            :MAX_AROUND
        ]

    async def _walk(self, path: Lookup, query: _Make, outcome: Outcome, reading: "_Reading | None") -> None:
        """Asks one node after the other, a few at a time, until the path is done or enough is read."""
        progress = trio.Event()

        async def ask(contact: Contact) -> None:
            def stalled() -> None:
                path.stalled(contact)
                progress.set()

            named = await self._answer_of(contact, query, outcome, reading, stalled)
            if named is None:
                path.failed(contact)
            else:
                path.answered(contact, named)
            progress.set()

        async with trio.open_nursery() as nursery:
            while True:
                while (contact := path.next()) is not None:
                    nursery.start_soon(ask, contact)
                if path.done or (reading is not None and reading.is_enough):
                    break
                progress = trio.Event()
                await progress.wait()
            nursery.cancel_scope.cancel()

    async def _read(self, contacts: Iterable[Contact], key: bytes, reading: "_Reading") -> None:
        """Asks each of these nodes for records."""
        limit = trio.CapacityLimiter(READ_AT_ONCE)

        async def ask(contact: Contact) -> None:
            async with limit:
                if not reading.is_enough:
                    reading.outcome.asked += 1
                    await self._answer_of(contact, _find_value(key), reading.outcome, reading)

        async with trio.open_nursery() as nursery:
            for contact in contacts:
                nursery.start_soon(ask, contact)

    async def _answer_of(
        self,
        contact: Contact,
        query: _Make,
        outcome: Outcome,
        reading: "_Reading | None",
        stalled: Callable[[], None] = lambda: None,
    ) -> list[Contact] | None:
        """Asks a node, and takes what it says. Returns whom it names; None if it says nothing that makes sense."""
        reply = await self._ask(contact, query, stalled)
        named = None if reply is None else named_in(reply, v6=self._endpoint.v6)
        if reply is None or named is None:
            return None
        answer = reply.answer
        assert isinstance(answer, Nodes | Values)
        outcome.tokens[contact.id] = answer.token
        outcome.seen[contact.id] = datagrams.unpack_address(answer.seen)[0]
        if isinstance(answer, Values) and reading is not None and await reading.take(answer.records):
            reading.has_answered(is_all=answer.total <= len(answer.records))
        return named


class _Reading:
    """The records of one kind under one key, as nodes answer with them."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: bytes,
        kind: RecordKind,
        enough: int | None,
        heard: Heard,
        told: Told,
        outcome: Outcome,
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._kind = kind
        self._enough = enough
        self._heard = heard
        self._told = told
        self.outcome = outcome
        self._checked: dict[bytes, PeerId] = {}
        """The records that were right, and their publishers."""
        self._weight = 0.0

    @property
    def is_enough(self) -> bool:
        return self._enough is not None and self._weight >= self._enough

    def has_answered(self, *, is_all: bool) -> None:
        """Counts a node that has answered with records: half, if it keeps more than fitted into the answer."""
        self.outcome.holders += 1
        self._weight += 1.0 if is_all else 0.5

    async def take(self, kept: Iterable[bytes]) -> bool:
        """Adds the records that are valid and of this kind. Returns whether any was."""
        good = False
        for raw in dict.fromkeys(kept):
            if self._take(raw):
                self._told[self._checked[raw]] += 1
                good = True
            await trio.lowlevel.checkpoint()  # each record has a signature to check
        return good

    def _take(self, raw: bytes) -> bool:
        if raw in self._checked:
            return True
        if len(self._checked) >= MAX_SEEN_RECORDS:
            return False
        try:
            record = records.read(raw, self._key, self._endpoint.now(), self._endpoint.codec.network)
        except MalformedMessage:
            return False
        if record.kind is not self._kind:
            return False
        self._checked[raw] = record.publisher
        slot = (record.publisher, record.kind)
        before = self.outcome.found.get(slot)
        if before is None or record.sequence > before.sequence:
            self.outcome.found[slot] = record
            self._heard(record)
        return True


def named_in(reply: Reply, *, v6: bool) -> list[Contact] | None:
    """The contacts that the answer names; None if the answer makes no sense."""
    answer = reply.answer
    if not isinstance(answer, Nodes | Values):
        return None
    try:
        datagrams.unpack_address(answer.seen)
        named = datagrams.unpack_contacts(answer.contacts, v6=v6)
    except MalformedMessage:
        return None
    contacts = [Contact(node, host, port) for node, host, port in named[:K] if port and _is_dialable(host)]
    # A node on the Internet cannot make this one query hosts in its private networks (`address.may_tell`).
    return [contact for contact in contacts if contact.scope >= reply.contact.scope]


def _find_node(target: bytes) -> _Make:
    return lambda number, to: FindNode(number, to, target, _PADDING)


def _find_value(key: bytes) -> _Make:
    return lambda number, to: FindValue(number, to, key, _PADDING)


def _count(outcome: Outcome, path: Lookup) -> None:
    outcome.asked += path.asked
    outcome.failures += path.failures
    outcome.hops = max(outcome.hops, path.hops)


_is_dialable = lru_cache(maxsize=4096)(is_dialable_host)
_PADDING = datagrams.padding_for(
    datagrams.overhead(FindNode(bytes(NUMBER_BYTES), bytes(NODE_ID_BYTES), bytes(NODE_ID_BYTES)))
)
