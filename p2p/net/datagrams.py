"""UDP for the DHT: one socket, signed datagrams, queries and their answers.

The signature of a query is checked last: once its form is right, it is for this node, `core.dht.admission` has admitted
its host, its id has enough work, and `wanted` says that it would be answered.

Nothing that arrives can make `run` raise: datagrams that are malformed, unsolicited or too many are counted and
dropped. An answer is accepted only if it comes from the address and the node that were asked, and carries the number of
the query. An answer is at most three times as long as its query.
"""

import logging
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from p2p import causes
from p2p.concurrency.walls import Wall
from p2p.core.dht.admission import QueryRates
from p2p.core.dht.routing import Contact
from p2p.core.dht.timing import ClockOffset, Patience
from p2p.errors import ConfigError, InternalError, MalformedMessage
from p2p.wire import datagrams
from p2p.wire.address import Scope, canonical, ip, scope
from p2p.wire.datagrams import (
    AMPLIFICATION,
    MAX_DATAGRAM_BYTES,
    NUMBER_BYTES,
    Answer,
    Datagram,
    DatagramCodec,
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

logger = logging.getLogger(__name__)

DATAGRAM = Wall("datagram")

_ELSEWHERE = "Choose another with --listen HOST:PORT."
MAX_DATAGRAMS_PER_TURN = 8
"""The most datagrams handled before other tasks have a turn: this many take some 3 ms at worst."""
MAX_FORGED_ANSWERS = 4
"""The most forged answers to one query; after this many, no more signatures are checked for it."""
BUFFER_BYTES = 1024 * 1024
SEEN_FROM = 64

Serve = Callable[[Query, Contact, int], "Answer | None"]
"""Answers a proven query, in a datagram of at most this many bytes."""
Wanted = Callable[[Query, Contact], bool]
"""Whether a query would be answered if it is signed: told cheaply, before the signature is checked."""
Met = Callable[[Contact, "int | None"], None]
"""Called when a node has proven its id. With None, an answer has proven its address too. With a number, the node has
only sent a query from the address: until it proves the address, it may be sent at most that many bytes."""

_ANSWER_TO: dict[type[Query], type[Answer]] = {Ping: Pong, FindNode: Nodes, FindValue: Values, Store: Stored}


@dataclass(eq=False)
class _Pending:
    """A query that was sent and is not answered yet."""

    address: tuple[str, int]
    expected: bytes | None
    kind: type[Answer]
    arrived: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None
    contact: Contact | None = None
    forged: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer to a query, and the node that sent the answer."""

    answer: Answer
    contact: Contact


class Endpoint:
    """Sends and answers DHT queries over one UDP socket. All addresses that it uses are of the socket's family."""

    def __init__(self, codec: DatagramCodec, udp: socket.socket) -> None:
        self.codec = codec
        self._socket = udp
        self.v6 = udp.family == socket.AF_INET6
        self._pending: dict[bytes, _Pending] = {}
        self._rates = QueryRates(trio.current_time())
        self.patience = Patience()
        self.clock = ClockOffset()
        self.counts: Counter[str] = Counter()
        self.heard_at = float("-inf")
        """When the last datagram with a valid signature arrived, by trio's clock."""
        self.seen_as: OrderedDict[str, str] = OrderedDict()
        """The host at which other nodes see this one, by the network prefix of the node that said so."""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def now(self) -> float:
        """Seconds since 1970, by this machine's clock, corrected by the clocks of others (`ClockOffset`)."""
        return time.time() + self.clock.seconds

    async def run(
        self,
        serve: Serve,
        met: Met,
        wanted: Wanted = lambda query, contact: True,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receives until cancelled, then closes the socket."""
        try:
            task_status.started()
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                for _ in range(MAX_DATAGRAMS_PER_TURN):
                    try:
                        data, source = self._socket.recvfrom(MAX_DATAGRAM_BYTES + 1)
                    except BlockingIOError:
                        break
                    except OSError:
                        continue  # this is an ICMP error about an earlier datagram
                    with suppress(InternalError), DATAGRAM.around():
                        self._receive(data, source[0].partition("%")[0], source[1], serve, met, wanted)
                await trio.lowlevel.checkpoint()
        finally:
            self._socket.close()

    def sees(self, host: str) -> bool:
        """Whether to believe a node that sees this one at the host: nodes in other networks must see it there too.

        A third of the prefixes is enough, so that a home with two Internet connections has both addresses. A host in a
        private network is always believed, since only peers in that network can tell.
        """
        told = list(self.seen_as.values())
        return scope(host) != Scope.GLOBAL or told.count(host) * 3 >= len(told)

    async def ask(
        self,
        contact: Contact | tuple[str, int],
        query: Callable[[bytes, bytes], Query],
        stalled: Callable[[], None] = lambda: None,
        *,
        once: bool = False,
    ) -> Reply | None:
        """Sends the query that `query` makes from a number and a node id, and waits for the answer; None if none came.

        After the soft timeout the query is sent again (unless `once`), and `stalled` is called. If only an address is
        given, a Ping first asks which node is there.
        """
        number = os.urandom(NUMBER_BYTES)
        expected = contact.id if isinstance(contact, Contact) else None
        host, port = contact.address if isinstance(contact, Contact) else contact
        if ip(host) is None:
            return None  # a host name would be looked up, and block everything
        address = canonical(host), port
        message = query(number, expected or b"")
        datagram = self.codec.write(message)
        pending = self._pending[number] = _Pending(address, expected, _ANSWER_TO[type(message)])
        self.counts["queries"] += 1
        started = trio.current_time()
        try:
            for attempt, wait in enumerate((self.patience.soft, self.patience.hard - self.patience.soft)):
                if (attempt == 0 or not once) and not self._send(datagram, address):
                    return None
                with trio.move_on_after(wait):
                    await pending.arrived.wait()
                    if pending.answer is None or pending.contact is None:
                        return None
                    if attempt == 0:
                        self.patience.measured(trio.current_time() - started)
                    return Reply(pending.answer, pending.contact)
                stalled()
            self.counts["unanswered"] += 1
            return None
        finally:
            del self._pending[number]

    def _send(self, datagram: bytes, address: tuple[str, int]) -> bool:
        """Sends the datagram, which may get lost. Returns False if no datagram can be sent to this address."""
        try:
            self._socket.sendto(datagram, address)
            self.counts["sent_bytes"] += len(datagram)
        except BlockingIOError:
            self.counts["unsent"] += 1
        except (OSError, OverflowError) as error:
            logger.debug("cannot send to %s: %s", address[0], error)
            return False
        return True

    def _receive(self, data: bytes, host: str, port: int, serve: Serve, met: Met, wanted: Wanted) -> None:
        self.counts["received_bytes"] += len(data)
        try:
            datagram = self.codec.read(data)
        except MalformedMessage:
            self.counts["malformed"] += 1
            return
        message = datagram.message
        if message.to != self.codec.node_id and not (isinstance(message, Ping) and not message.to):
            self.counts["misdirected"] += 1
        elif isinstance(message, Answer):
            self._take_answer(datagram, message, host, port, met)
        elif self._rates.admits(host, trio.current_time()):
            self._take_query(datagram, message, len(data), host, port, serve, met, wanted)
        else:
            self.counts["limited"] += 1

    def _take_answer(self, datagram: Datagram, answer: Answer, host: str, port: int, met: Met) -> None:
        pending = self._pending.get(answer.number)
        if pending is None or pending.address != (host, port) or pending.arrived.is_set():
            self.counts["unasked"] += 1
            return
        node = self.codec.proven(datagram) if pending.forged < MAX_FORGED_ANSWERS else None
        if node is None:
            pending.forged += 1
            self.counts["forged"] += 1
            return
        if (pending.expected is not None and node != pending.expected) or not isinstance(answer, pending.kind):
            # Another node is there now, or the answer makes no sense: it is useless to wait longer.
            self.counts["impostors"] += 1
            pending.arrived.set()
            return
        contact = Contact(node, host, port)
        self._rates.proven(host)
        self.heard_at = trio.current_time()
        self._learn(answer, contact)
        pending.answer = answer
        pending.contact = contact
        pending.arrived.set()
        met(contact, None)

    def _take_query(
        self,
        datagram: Datagram,
        query: Query,
        length: int,
        host: str,
        port: int,
        serve: Serve,
        met: Met,
        wanted: Wanted,
    ) -> None:
        node = self.codec.sender(datagram)
        if node == self.codec.node_id:
            self.counts["own"] += 1
            return
        if node is None or not wanted(query, contact := Contact(node, host, port)):
            self.counts["unwanted"] += 1
            return
        if isinstance(query, Store):
            self._rates.proven(host)  # its token was sent there
        if not self.codec.is_signed(datagram):
            self.counts["forged"] += 1
            return
        self.heard_at = trio.current_time()
        left = AMPLIFICATION * length
        answer = serve(query, contact, min(MAX_DATAGRAM_BYTES, left))
        if answer is not None:
            data = self.codec.write(answer)
            self._send(data, (host, port))
            left -= len(data)
        met(contact, left)

    def _learn(self, answer: Answer, contact: Contact) -> None:
        self.clock.heard(contact.prefix, answer.now - time.time())
        try:
            host, _ = datagrams.unpack_address(answer.seen)
        except MalformedMessage:
            return
        self.seen_as[contact.prefix] = host
        self.seen_as.move_to_end(contact.prefix)
        if len(self.seen_as) > SEEN_FROM:
            self.seen_as.popitem(last=False)


def open_socket(host: str, port: int) -> socket.socket:
    """Opens and binds a UDP socket for an endpoint. Raises ConfigError."""
    address = ip(host)
    if address is None:
        raise ConfigError(f"Cannot listen on {host}: the DHT needs an IP address.")
    udp = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        if address.version == 6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        udp.bind((host, port))
    except OSError as error:
        udp.close()
        raise ConfigError(
            f"Cannot listen on UDP {host} port {port}: {causes.explained(error, _ELSEWHERE, forbidden=_ELSEWHERE)}"
        ) from error
    return udp


def head_of(query: Query, contact: Contact, now: float) -> tuple[bytes, bytes, int, bytes]:
    """The fields with which every answer to the query begins."""
    return query.number, contact.id, int(now), datagrams.pack_address(contact.ip, contact.port)
