"""A node of the DHT: Kademlia over signed datagrams, with a separate overlay for each address family.

The node answers queries, keeps records for others, publishes and gets records, and keeps its routing table fresh;
`net.lookups` finds the nodes. The decisions are in `core.dht`; `advertising.dht_publisher` decides what is published
and when. Nodes that store records are not trusted: to get a record, several nodes are asked, and whatever they return
is checked again. The package `kademlia` provides the routing structures; its server is not used, since it answers any
sender and checks nothing.
"""

import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

import msgspec
import trio

from p2p.concurrency.walls import Wall
from p2p.core.dht.publications import ENOUGH_HOLDERS
from p2p.core.dht.recordstore import RecordStore
from p2p.core.dht.routing import Contact, K, Table, point
from p2p.core.dht.timing import ClockOffset
from p2p.errors import MalformedMessage, Refused
from p2p.net.datagrams import Endpoint, Reply, head_of
from p2p.net.lookups import Lookups, Outcome, Told
from p2p.wire import datagrams, records
from p2p.wire.address import Scope
from p2p.wire.datagrams import (
    NUMBER_BYTES,
    TOKEN_BYTES,
    Answer,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Query,
    Store,
    Stored,
    Values,
)
from p2p.wire.nodeid import NODE_ID_BYTES
from p2p.wire.records import Record, RecordKind

logger = logging.getLogger(__name__)

UPKEEP = Wall("upkeep of the DHT node")

SECRET_INTERVAL_S = 300.0
REFRESH_AFTER_S = 900.0
MAINTENANCE_INTERVAL_S = 60.0
LONELY_BELOW = 4
"""With fewer contacts than this, the node soon tries to join again."""
SILENCE_TIMEOUT_S = 120.0
"""After this long without a word from any node, all known contacts may be gone."""
LATE_JOIN_S = 1.0
"""After this long, what a first lookup has found so far is enough to begin with."""
FIRST_REJOIN_S, LAST_REJOIN_S = 1.0, 60.0
SLEPT_S = 60.0
"""A difference between the machine's two clocks that shows that the machine slept, or that its clock was set."""
MAX_PROBES = 64
PROBES_AT_ONCE = 8
MAX_WAYS_IN = 256
MIN_CONTACTS = 8
MAX_RECORDS = 16

Address = tuple[str, int]
MakeRecord = Callable[[str], "Record | None"]
"""Makes the record to store with nodes that see this one at the host; None if there is none for them."""


class Published(msgspec.Struct, frozen=True):
    """The result of publishing a record: how many nodes store it now, and why other nodes do not."""

    stored: int
    refused: tuple[str, ...]


class Dht:
    """This peer's node in one overlay. `ways_in` is called when needed, and returns addresses to join through."""

    def __init__(
        self,
        endpoint: Endpoint,
        ways_in: Callable[[], Iterable[Address]] = tuple,
        *,
        local_exempt: bool = True,
        random: Random | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.node_id = endpoint.codec.node_id
        self._ways_in = ways_in
        self._local_exempt = local_exempt
        self._random = random or Random()
        self._contact_bytes = NODE_ID_BYTES + (18 if endpoint.v6 else 6)
        self.table = Table(self.node_id, local_exempt=local_exempt)
        self.store = RecordStore(self.node_id)
        self._lookups = Lookups(endpoint, self.table, self.store, self._ask, local_exempt=local_exempt)
        self._secrets = [os.urandom(16), os.urandom(16)]
        self._probing: set[bytes] = set()
        self._send_probe, self._receive_probe = trio.open_memory_channel[Contact | Address](MAX_PROBES)
        self._wake = trio.Event()
        self.joined = trio.Event()
        """Set once a first lookup has found other nodes, or has found some and takes long."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves, joins and keeps the table alive until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.endpoint.run, self._serve, self._met, self._wants)
            for task in (self._probe_some, self._maintain, self._rotate_secrets):
                nursery.start_soon(UPKEEP.keep, task, self._random)
            task_status.started()

    # Queries from others.

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        now = self.endpoint.now()
        head = head_of(query, contact, now)
        match query:
            case Ping():
                return Pong(*head)
            case FindNode(target=target):
                token = self._token(contact, self._secrets[0])
                room = budget - datagrams.overhead(Nodes(*head, token, b"")) - 2
                return Nodes(*head, token, self._contacts(target, contact, room))
            case FindValue(key=key):
                return self._values(head, key, contact, budget, now)
            case Store():
                try:
                    self._keep(query, contact, now)
                except (MalformedMessage, Refused) as error:
                    return Stored(*head, str(error)[:64])
                return Stored(*head)

    def _contacts(self, target: bytes, asker: Contact, room: int) -> bytes:
        """The contacts nearest to the target, as many as fit into `room` bytes."""
        most = min(K, room // self._contact_bytes)
        if most < 1:
            return b""
        near = self.table.find_neighbors(point(target), most, exclude=asker)
        return datagrams.pack_contacts((node.id, node.ip, node.port) for node in near)

    def _values(
        self, head: tuple[bytes, bytes, int, bytes], key: bytes, contact: Contact, budget: int, now: float
    ) -> Values:
        kept = self.store.spread(key, now, self._random.shuffle)
        token = self._token(contact, self._secrets[0])
        room = budget - datagrams.overhead(Values(*head, token, b"", (), 0)) - 6
        # A few contacts always fit, so that the asker gets nearer to the key however many records are kept here.
        reserved = MIN_CONTACTS * self._contact_bytes
        chosen: list[bytes] = []
        for raw in kept:
            if len(raw) + 3 <= room - reserved and len(chosen) < MAX_RECORDS:
                chosen.append(raw)
                room -= len(raw) + 3
        return Values(*head, token, self._contacts(key, contact, room), tuple(chosen), len(kept))

    def _wants(self, query: Query, contact: Contact) -> bool:
        """Whether a query may be answered: a `Store` only with a token that was sent to its address."""
        return not isinstance(query, Store) or any(
            hmac.compare_digest(query.token, self._token(contact, secret)) for secret in self._secrets
        )

    def _keep(self, query: Store, contact: Contact, now: float) -> None:
        record = records.read(query.record, query.key, now, self.endpoint.codec.network)
        if not record.at_home(contact.ip):
            raise Refused("not your address")
        exempt = self._local_exempt and contact.scope != Scope.GLOBAL
        self.store.put(record, "" if exempt else contact.ip, now)

    def _token(self, contact: Contact, secret: bytes) -> bytes:
        place = datagrams.pack_address(contact.ip, contact.port) + contact.id
        return hmac.digest(secret, place, "sha256")[:TOKEN_BYTES]

    # The routing table.

    def _met(self, contact: Contact, unproven_bytes: int | None) -> None:
        if unproven_bytes is None or self.table.knows(contact):
            if (evictable := self.table.add_contact(contact)) is not None:
                self._want_probe(evictable)
        elif unproven_bytes >= _PROBE_BYTES:
            self._want_probe(contact)

    def hint(self, address: Address) -> None:
        """Notes that there may be a node at this address, which came from a link, the local network or a tracker."""
        if len(self.table) < K:
            self._want_probe(address)

    def _want_probe(self, whom: Contact | Address) -> None:
        if isinstance(whom, Contact):
            if whom.id in self._probing:
                return
            self._probing.add(whom.id)
        try:
            self._send_probe.send_nowait(whom)
        except trio.WouldBlock:
            if isinstance(whom, Contact):
                self._probing.discard(whom.id)

    async def _probe_some(self) -> None:
        limit = trio.CapacityLimiter(PROBES_AT_ONCE)
        async with trio.open_nursery() as nursery:
            async for whom in self._receive_probe:
                await limit.acquire_on_behalf_of(probe := object())
                nursery.start_soon(self._probe, whom, partial(limit.release_on_behalf_of, probe))

    async def _probe(self, whom: Contact | Address, ended: Callable[[], None]) -> None:
        try:
            await UPKEEP.contain(self._ping, whom)
        finally:
            ended()
            if isinstance(whom, Contact):
                self._probing.discard(whom.id)

    async def _ping(self, whom: Contact | Address) -> None:
        # A node whose address is unproven gets a single datagram; its own query was long enough to allow that.
        once = isinstance(whom, Contact) and not self.table.knows(whom)
        was_alone = not len(self.table)
        if await self._ask(whom, Ping, once=once) is not None and was_alone:
            self.rejoin()

    async def _ask(
        self,
        whom: Contact | Address,
        query: Callable[[bytes, bytes], Query],
        stalled: Callable[[], None] = lambda: None,
        *,
        once: bool = False,
    ) -> Reply | None:
        """Sends a query. Removes a node that does not answer from the table, unless nothing comes from any node."""
        asked_at = trio.current_time()
        reply = await self.endpoint.ask(whom, query, stalled, once=once)
        if reply is None and isinstance(whom, Contact) and self.endpoint.heard_at >= asked_at:
            self.table.remove_contact(whom)
        return reply

    # Lookups.

    async def find(self, target: bytes) -> Outcome:
        """Finds the nodes nearest to a target of 20 bytes."""
        return await self._lookups.find(target)

    async def get(
        self,
        key: bytes,
        kind: RecordKind,
        *,
        enough: int | None = ENOUGH_HOLDERS,
        heard: Callable[[Record], None] = lambda record: None,
        told: Told | None = None,
        thoroughly: bool = False,
    ) -> Outcome:
        """Gets the records of a kind under a key: for each publisher, the one with the highest sequence found.

        Ends once `enough` nodes have answered with records (None: once all have). `heard` is called for each record as
        it arrives, beginning with those that this node keeps itself; `told` counts how many nodes told of each.
        `thoroughly`: along several paths, and farther from the key, whoever is near it.
        """
        return await self._lookups.get(key, kind, enough, heard, told=told, thoroughly=thoroughly)

    async def publish(self, key: bytes, make: MakeRecord) -> Published:
        """Stores a record with the nodes nearest to its key, and with others of its region if that is crowded."""
        outcome = await self._lookups.find(key, widely=True)
        stored: list[Contact] = []
        refused: list[str] = []
        made: dict[str, Record | None] = {}

        async def store(contact: Contact, record: Record) -> None:
            token = outcome.tokens[contact.id]
            reply = await self._ask(contact, lambda number, to: Store(number, to, token, key, record.raw))
            if reply is not None and isinstance(reply.answer, Stored):
                if reply.answer.refused:
                    refused.append(reply.answer.refused)
                else:
                    stored.append(contact)

        async with trio.open_nursery() as nursery:
            for contact in outcome.near:
                host = outcome.seen[contact.id]
                if not self.endpoint.sees(host):
                    continue  # otherwise this node could be made to sign a false address of its own
                if host not in made:
                    made[host] = make(host)
                if (record := made[host]) is not None:
                    nursery.start_soon(store, contact, record)
        mine = next((record for record in made.values() if record is not None), None)
        target = point(key)
        if mine is not None and (
            len(outcome.near) < K or self.table.node.distance_to(target) < max(map(target.distance_to, outcome.near))
        ):
            try:
                self.store.put(mine, "", self.endpoint.now())
            except Refused as error:
                refused.append(str(error))
        return Published(len(stored), tuple(refused))

    # Staying in the overlay.

    async def join(self, addresses: Iterable[Address]) -> int:
        """Asks which nodes are at the addresses, then looks up this node's own id. Returns how many are known now."""
        async with trio.open_nursery() as nursery:
            for address in list(addresses)[:MAX_WAYS_IN]:
                nursery.start_soon(self._ask, address, Ping)
        if len(self.table):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._join_late)
                await self.find(self.node_id)
                nursery.cancel_scope.cancel()
        if len(self.table):
            self.joined.set()
        return len(self.table)

    async def _join_late(self) -> None:
        """Ends the wait of others for a first lookup that takes long, as where liars name nodes that are not there."""
        await trio.sleep(LATE_JOIN_S)
        if len(self.table):
            self.joined.set()

    def rejoin(self) -> None:
        """Joins again at once, since the network may have changed."""
        self._wake.set()

    async def _maintain(self) -> None:
        pause = FIRST_REJOIN_S
        clocks = time.time() - time.monotonic()
        while True:
            if self._wake.is_set():
                self._wake = trio.Event()
                pause = FIRST_REJOIN_S
                await self.join(self._ways_in())
            elif self._is_alone:
                await self.join(self._ways_in())
                pause = min(LAST_REJOIN_S, pause * 2)
            with trio.move_on_after(
                (pause if self._is_alone else MAINTENANCE_INTERVAL_S) * self._random.uniform(0.8, 1.2)
            ):
                await self._wake.wait()
            drift, clocks = time.time() - time.monotonic() - clocks, time.time() - time.monotonic()
            if abs(drift) > SLEPT_S:
                self.endpoint.clock = ClockOffset()
                self.rejoin()
            while self.store.expire(self.endpoint.now()):
                await trio.lowlevel.checkpoint()
            await self._refresh()

    @property
    def _is_alone(self) -> bool:
        """Whether the known contacts are too few, or may all be gone: they stay in the table while no node answers."""
        silent = trio.current_time() - self.endpoint.heard_at > SILENCE_TIMEOUT_S
        return len(self.table) < LONELY_BELOW or silent

    async def _refresh(self) -> None:
        """Looks up a random id in each bucket in which nothing has been looked up for long."""
        for low, high in self.table.stale_ranges(time.monotonic(), REFRESH_AFTER_S):
            target = self._random.randint(low, min(high, 2**160 - 1))
            await self.find(target.to_bytes(NODE_ID_BYTES, "big"))

    async def _rotate_secrets(self) -> None:
        while True:
            await trio.sleep(SECRET_INTERVAL_S)
            self.rotate_secret()

    def rotate_secret(self) -> None:
        """Changes the secret with which tokens are made. A token is valid until the second change after its issue."""
        self._secrets = [os.urandom(16), self._secrets[0]]

    def contacts(self) -> Sequence[Contact]:
        """The contacts known now, to be saved for the next start."""
        return list(self.table)


_PROBE_BYTES = datagrams.overhead(Ping(bytes(NUMBER_BYTES), bytes(NODE_ID_BYTES)))
