"""This peer in the DHT: a node in each overlay (IPv4, IPv6), on the UDP port of the same number as its TCP port.

This peer joins the overlays through any address that it knows: those of nodes from its last run, those given with
`--join`, and those named by a link, the local network or a tracker. The proof of work for the node id is made in a
thread, once per network.
"""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import trio

from p2p.concurrency.walls import Wall
from p2p.core.dht.publications import ENOUGH_HOLDERS
from p2p.errors import ConfigError, StorageError
from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.store.dht_state import OverlayState
from p2p.store.disk import Disk
from p2p.wire.address import Address, Scope, ip, is_dialable_host, parse_address, scope
from p2p.wire.datagrams import DatagramCodec
from p2p.wire.nodeid import find_nonce
from p2p.wire.records import FULL_SHARD, Record, RecordKind

if TYPE_CHECKING:  # a peer that is not in the DHT starts without what is
    from p2p.net.dht import Dht, MakeRecord, Published
    from p2p.net.lookups import Told

logger = logging.getLogger(__name__)

OVERLAYS = Wall("part in the DHT")

MAX_HINTED = 64
JOIN_TIMEOUT_S = 5.0
"""How long one request waits until this peer has joined the DHT."""
KEEP_CONTACTS_INTERVAL_S = 300.0
FIRST_KEEP_CONTACTS_S = 20.0
RESOLVE_INTERVAL_S = 600.0
UNJOINED_RESOLVE_INTERVAL_S = 15.0


class Overlays:
    """This peer's nodes in all overlays. They own `sockets`, one per address family.

    If `sockets` is None, this peer does not use the DHT: it never joins, and finds nothing there.
    """

    def __init__(
        self,
        identity: Identity,
        state: OverlayState,
        disk: Disk,
        network: str,
        bits: int,
        sockets: Sequence[socket.socket] | None,
        join: Sequence[str],
        random: Random,
    ) -> None:
        self._identity = identity
        self._state = state
        self._disk = disk
        self._network = network
        self._bits = bits
        self.is_on = sockets is not None
        """Whether this peer uses the DHT."""
        self._sockets = sockets or ()
        self._join = [parse_address(text) for text in join]
        self._random = random
        self._hinted: deque[Address] = deque(maxlen=MAX_HINTED)
        self._resolved: set[Address] = set()
        self._kept: list[Address] = []
        self.nodes: list[Dht] = []
        self.joined = trio.Event()
        """Set once another node has been found in one of the overlays."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes part until cancelled. Reports that it has started before the proof of work for the node id is made."""
        from p2p.net.datagrams import Endpoint
        from p2p.net.dht import Dht

        task_status.started()
        unused = list(self._sockets)
        try:
            nonce = await self._nonce()
            self._kept = [Address(*contact) for contact in await self._disk.run(self._state.contacts)]
            async with trio.open_nursery() as nursery:
                for udp in self._sockets:
                    endpoint = Endpoint(DatagramCodec(self._identity, nonce, self._network, self._bits), udp)
                    node = Dht(endpoint, partial(self._ways_in, endpoint.v6), random=self._random)
                    unused.remove(udp)
                    await nursery.start(node.run)
                    self.nodes.append(node)
                    nursery.start_soon(self._tell_joined, node)
                nursery.start_soon(OVERLAYS.keep, self._resolve, self._random)
                nursery.start_soon(OVERLAYS.keep, self._keep_contacts, self._random)
        finally:
            for udp in unused:
                udp.close()

    @property
    def size(self) -> int:
        """How many nodes this peer knows."""
        return sum(len(node.table) for node in self.nodes)

    @property
    def knows_a_way_in(self) -> bool:
        """Whether there is any address through which to try to join."""
        return bool(self._join or self._hinted or self._kept)

    @property
    def records(self) -> int:
        """How many records this peer keeps for others."""
        return sum(len(node.store) for node in self.nodes)

    def clock(self) -> float:
        """Seconds since 1970, by the clock of most of the network or, if no network was joined, by this machine's."""
        return max(node.endpoint.now() for node in self.nodes) if self.nodes else time.time()

    async def joined_soon(self) -> bool:
        """Waits a little until this peer has joined the DHT. Returns whether it has, at once if the DHT is off."""
        if self.is_on:
            with trio.move_on_after(JOIN_TIMEOUT_S):
                await self.joined.wait()
        return self.joined.is_set()

    def hint(self, address: Address) -> None:
        """Notes that there may be a node at this address."""
        if ip(address.host) is None or not is_dialable_host(address.host):
            return
        if address not in self._hinted:
            self._hinted.append(address)
        self._try(address)

    def is_plausible(self, host: str) -> bool:
        """Whether a record may name the host: not if the host's scope is narrower than that of every known node.

        So nobody on the Internet can make this peer dial machines in its private network.
        """
        if not is_dialable_host(host):
            return False
        width = scope(host)
        contacts = (contact for node in self.nodes for contact in node.contacts())
        return width == Scope.GLOBAL or any(scope(contact.ip) <= width for contact in contacts)

    def rejoin(self) -> None:
        """Joins again, since the network may have changed."""
        for node in self.nodes:
            node.rejoin()

    async def get(
        self,
        key: bytes,
        kind: RecordKind,
        heard: Callable[[Record], None] = lambda record: None,
        *,
        enough: int | None = ENOUGH_HOLDERS,
        told: "Told | None" = None,
        thoroughly: bool = False,
    ) -> dict[PeerId, Record]:
        """Gets the records of a kind under a key from all overlays, by publisher; `heard` gets each as it arrives.

        `told` and `thoroughly` are explained at `Dht.get`.
        """
        found: dict[PeerId, Record] = {}

        async def look(node: "Dht") -> None:
            outcome = await node.get(key, kind, enough=enough, heard=heard, told=told, thoroughly=thoroughly)
            for record in outcome.found.values():
                keep_newest(found, record)

        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(look, node)
        return found

    async def walk(self, keys: Iterable[bytes], kind: RecordKind, heard: Callable[[Record], None]) -> None:
        """Finds the records under the keys of one name (`records.shards`). Tries a key only if those before are full.

        `heard` gets each record as it arrives.
        """
        for key in keys:
            if len(await self.get(key, kind, heard)) < FULL_SHARD:
                return

    async def publish(self, key: bytes, make: "MakeRecord") -> "Published":
        """Stores a record in all overlays."""
        from p2p.net.dht import Published

        done: list[Published] = []

        async def store(node: "Dht") -> None:
            done.append(await node.publish(key, make))

        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(store, node)
        return Published(sum(one.stored for one in done), tuple(text for one in done for text in one.refused))

    # Ways to join.

    async def _nonce(self) -> bytes:
        nonce = await self._disk.run(self._state.nonce, self._bits)
        if nonce is None:
            find = partial(find_nonce, self._identity.peer_id, self._bits, trio.from_thread.check_cancelled)
            nonce = await trio.to_thread.run_sync(find)  # takes minutes: not in the disk's threads
            try:
                await self._disk.run(self._state.keep_nonce, self._bits, nonce)
            except StorageError as error:
                logger.warning("the next start must find a node id again: %s", error)
        return nonce

    def _ways_in(self, v6: bool) -> Iterator[tuple[str, int]]:
        for address in dict.fromkeys((*self._hinted, *self._resolved, *self._kept)):
            if _is_v6(address) == v6:
                yield address.host, address.port

    def _try(self, address: Address) -> None:
        for node in self.nodes:
            if node.endpoint.v6 == _is_v6(address):
                node.hint((address.host, address.port))
                if not node.joined.is_set():
                    node.rejoin()

    async def _resolve(self) -> None:
        """Resolves the names in `--join` again and again, since they may mean other machines later."""
        while self._join:
            found: set[Address] = set()
            for address in self._join:
                with suppress(OSError):
                    for info in await trio.socket.getaddrinfo(address.host, address.port, type=trio.socket.SOCK_DGRAM):
                        found.add(Address(str(info[4][0]), address.port))
            self._resolved = found or self._resolved
            for address in found:
                self._try(address)
            await trio.sleep(RESOLVE_INTERVAL_S if self.joined.is_set() else UNJOINED_RESOLVE_INTERVAL_S)

    async def _tell_joined(self, node: "Dht") -> None:
        await node.joined.wait()
        self.joined.set()

    async def _keep_contacts(self) -> None:
        """Saves the contacts now and then, and soon after joining, so that short commands join faster the next time."""
        await self.joined.wait()
        pause = FIRST_KEEP_CONTACTS_S
        while True:
            await trio.sleep(pause)
            pause = KEEP_CONTACTS_INTERVAL_S
            contacts = [contact.address for node in self.nodes for contact in node.contacts()]
            if contacts:
                await self._disk.run(self._state.keep_contacts, contacts)


def keep_newest(found: dict[PeerId, Record], record: Record) -> None:
    """Adds a record, but keeps for each publisher only the one with the highest sequence."""
    before = found.get(record.publisher)
    if before is None or record.sequence > before.sequence:
        found[record.publisher] = record


def open_sockets(bound: Iterable[Address]) -> tuple[list[socket.socket], list[str]]:
    """Opens UDP sockets for these TCP addresses, one per family. Returns them, and notes for the user.

    If the port number is taken for UDP, another one is used: other nodes see where datagrams come from.
    """
    from p2p.net.datagrams import open_socket

    opened: list[socket.socket] = []
    notes: list[str] = []
    families: set[bool] = set()
    for address in bound:
        if _is_v6(address) in families:
            continue
        try:
            try:
                udp = open_socket(address.host, address.port)
            except ConfigError:
                udp = open_socket(address.host, 0)
                notes.append(f"UDP port {address.port} is taken: the DHT is on {udp.getsockname()[1]} instead")
        except ConfigError as error:
            notes.append(f"{error} This peer goes without the DHT there.")
            continue
        families.add(_is_v6(address))
        opened.append(udp)
    return opened, notes


def _is_v6(address: Address) -> bool:
    parsed = ip(address.host)
    return parsed is not None and parsed.version == 6
