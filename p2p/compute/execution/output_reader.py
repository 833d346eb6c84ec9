"""Reads outputs that other volunteers keep (`kept_outputs`), and checks each against the digest that the owner gave."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from p2p.compute.execution.unit import digest_of, output_digest
from p2p.errors import BadData, PeerError, PeerGone, ProtocolViolation
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.wire import work
from p2p.wire.address import Address, ip, may_tell
from p2p.wire.frames import MIN_DATA_BYTES, DataHeader
from p2p.wire.messages import AnyMessage, Unknown

READ_TIMEOUT_S = 60.0
LEAST_BYTES = 4096
"""How much a holder has to send within READ_TIMEOUT_S, or a whole message. A large one may take longer on a slow
connection.
"""
MAX_READ_BYTES = 256 * 1024 * 1024


class OutputNotKept(PeerError):
    """Raised if a peer no longer keeps an output that it kept earlier."""


@dataclass(frozen=True)
class OutputLocation:
    """Where one output is kept: by which peer, and as which output of which unit."""

    unit: bytes
    digest: bytes
    number: int
    peer: PeerId
    address: Address


class OutputReader:
    """Reads outputs that others keep, over one connection to each peer that keeps some.

    `told_from` is the host of the owner, which names these peers: only addresses that an owner at this host can know
    are dialled. It is None if this peer is the owner.
    """

    def __init__(self, dialer: Dialer, job: bytes, token: bytes, told_from: str | None = None) -> None:
        self._dialer = dialer
        self._told_from = told_from
        self._job = job
        self._token = token
        self._connections: dict[PeerId, Connection] = {}
        self._turns: dict[PeerId, trio.Lock] = {}
        self.bytes_read = 0

    async def get(self, place: OutputLocation, size: int) -> bytes:
        """Reads one output of `size` bytes and checks it. Raises PeerError."""
        async with self._turns.setdefault(place.peer, trio.Lock()):
            # An idle connection may have ended in the meantime: then a new one is tried.
            again = place.peer in self._connections
            while True:
                try:
                    return await self._get(place, size)
                except PeerError:
                    self._close(place.peer)
                    if not again:
                        raise
                    again = False

    async def _get(self, place: OutputLocation, size: int) -> bytes:
        connection = self._connections.get(place.peer)
        if connection is None:
            host = place.address.host
            if self._told_from is not None and (ip(host) is None or not may_tell(host, self._told_from)):
                raise OutputNotKept("it is said to be at an address that the owner cannot know")
            connection = await self._dialer.dial(place.address, place.peer)
            self._connections[place.peer] = connection
        try:
            heard = _Heard(connection)
            return await _while_heard(heard, partial(self._ask, heard, place, size))
        except BaseException:
            self._close(place.peer)
            raise

    async def _ask(self, heard: "_Heard", place: OutputLocation, size: int) -> bytes:
        connection = heard.connection
        await connection.send(work.GetOutput(self._job, self._token, place.unit, place.number))
        said = await heard.receive()
        if isinstance(said, work.OutputGone):
            raise OutputNotKept("it does not keep the output any more")
        if not isinstance(said, work.OutputIs):
            raise ProtocolViolation("something else where an output belongs")
        if digest_of(said.digests) != place.digest or place.number >= len(said.digests) or said.size != size:
            raise BadData("an output that is not what its maker said")
        if size > MAX_READ_BYTES:
            raise ProtocolViolation("more bytes than there is room for")
        body = bytearray(size)  # the system gives it memory only as the bytes come
        at = 0
        while at < size:
            header = await heard.receive()
            if not isinstance(header, DataHeader) or (header.chunk, header.offset) != (place.number, at):
                raise ProtocolViolation("something else where a piece of an output belongs")
            end = at + header.size
            if end > size or (end < size and header.size < MIN_DATA_BYTES):
                raise ProtocolViolation("an output in pieces of a wrong size")
            await connection.receive_body(memoryview(body)[at:end])
            self.bytes_read += header.size
            at = end
        output = bytes(body)
        if output_digest(output) != said.digests[place.number]:
            raise BadData("an output that is not what its maker said")
        return output

    def _close(self, peer: PeerId) -> None:
        connection = self._connections.pop(peer, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Ends the connections."""
        for peer in list(self._connections):
            self._close(peer)


class _Heard:
    """What a connection brings during a conversation."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._messages = self._bytes = 0

    async def receive(self) -> AnyMessage | Unknown | DataHeader:
        message = await self.connection.receive()
        self._messages += 1
        return message

    def enough(self) -> bool:
        """Whether a message, or LEAST_BYTES of one, has come since this was asked last."""
        messages, self._messages = self._messages, 0
        before, self._bytes = self._bytes, sum(self.connection.arrived)
        return bool(messages) or self._bytes - before >= LEAST_BYTES


async def _while_heard(heard: _Heard, conversation: Callable[[], Awaitable[bytes]]) -> bytes:
    """Holds the conversation. Raises PeerGone once next to nothing has come for READ_TIMEOUT_S, and its own errors."""
    result: bytes | PeerError | None = None

    async def notice_silence() -> None:
        heard.enough()
        while True:
            await trio.sleep(READ_TIMEOUT_S)
            if not heard.enough():
                break
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice_silence)
        try:
            result = await conversation()
        except PeerError as error:
            result = error
        nursery.cancel_scope.cancel()
    if isinstance(result, bytes):
        return result
    raise result or PeerGone(f"next to nothing came of it for {READ_TIMEOUT_S:.0f} seconds")
