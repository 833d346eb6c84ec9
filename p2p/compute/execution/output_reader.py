"""Reads outputs that other volunteers keep (`kept_outputs`), and checks each against the digest that the owner gave."""

from dataclasses import dataclass

import trio

from p2p.compute.execution.reassembly import Reassembly
from p2p.compute.execution.unit import digest_of, output_digest
from p2p.errors import BadData, PeerError, PeerGone, ProtocolViolation
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.wire import work
from p2p.wire.address import Address, ip, may_tell

READ_TIMEOUT_S = 60.0
"""How long a holder may send nothing. A whole message may take longer on a slow connection."""
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
            await connection.send(work.GetOutput(self._job, self._token, place.unit, place.number))
            said = await _next(connection)
            if isinstance(said, work.OutputGone):
                raise OutputNotKept("it does not keep the output any more")
            if not isinstance(said, work.OutputIs):
                raise ProtocolViolation("something else where an output belongs")
            if digest_of(said.digests) != place.digest or place.number >= len(said.digests) or said.size != size:
                raise BadData("an output that is not what its maker said")
            body = await self._body(connection, place.unit, said.size)
        except BaseException:
            self._close(place.peer)
            raise
        if output_digest(body) != said.digests[place.number]:
            raise BadData("an output that is not what its maker said")
        return body

    async def _body(self, connection: Connection, unit: bytes, size: int) -> bytes:
        reassembly = Reassembly(MAX_READ_BYTES)
        while True:
            piece = await _next(connection)
            if not isinstance(piece, work.Bytes) or piece.of != unit or piece.total != size:
                raise ProtocolViolation("something else where a piece of an output belongs")
            self.bytes_read += len(piece.body)
            if reassembly.add(piece):
                return reassembly.pop(unit) or b""

    def _close(self, peer: PeerId) -> None:
        connection = self._connections.pop(peer, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Ends the connections."""
        for peer in list(self._connections):
            self._close(peer)


async def _next(connection: Connection) -> object:
    message: object = None
    failure: PeerError | None = None

    async def notice_silence() -> None:
        before = -1
        while before != connection.bytes_in:
            before = connection.bytes_in
            await trio.sleep(READ_TIMEOUT_S)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice_silence)
        try:
            message = await connection.receive()
        except PeerError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if message is None:
        raise failure or PeerGone(f"nothing came of it for {READ_TIMEOUT_S:.0f} seconds")
    return message
