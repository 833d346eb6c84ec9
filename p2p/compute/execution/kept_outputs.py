"""Large outputs of units, kept by the volunteer that made them, for the units of the same job that read them.

They go from volunteer to volunteer, so that the owner's line does not carry the shuffle. A reader shows the job's
token, asks for one output of one unit, and checks what it gets against the digest that the owner told it; whatever
cannot be had is the owner's to mend: it fetches it itself, or has it made again.

Not shares, as other files that peers exchange: a shuffle is many small reads of each file, each by one reader, and the
manifest, the exchange and the chunk hashes of a share would cost more than the bytes.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import trio

from p2p.compute.execution.reassembly import Arriving
from p2p.compute.execution.unit import digest_of, output_digest, pieces
from p2p.errors import BadData, PeerError, PeerGone, ProtocolViolation
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.wire import work
from p2p.wire.address import Address, ip, may_tell

READ_S = 60.0
"""So long nothing may come of a holder; a message may take longer, over a slow line."""
MOST_READ_BYTES = 256 * 1024 * 1024


class NotKept(PeerError):
    """An output is not kept where it was."""


@dataclass(frozen=True)
class _Unit:
    path: Path
    action: int
    sizes: tuple[int, ...]
    digests: tuple[bytes, ...]


class Kept:
    """The outputs of one job that are kept here, in files of a folder; `most` bytes of them."""

    def __init__(self, folder: Path, token: bytes, most: int) -> None:
        self.token = token
        self._folder = folder
        self._most = most
        self._bytes = 0
        self._units: dict[bytes, _Unit] = {}

    async def keep(self, unit: bytes, action: int, outputs: list[bytes]) -> bool:
        """Keeps a unit's outputs; whether there was room."""
        size = sum(map(len, outputs))
        if unit in self._units:
            return True
        if self._bytes + size > self._most:
            return False
        self._bytes += size
        path = self._folder / unit.hex()
        try:
            digests = await trio.to_thread.run_sync(_write, path, outputs)
        except OSError:
            self._bytes -= size
            return False  # the owner gets it instead
        self._units[unit] = _Unit(path, action, tuple(map(len, outputs)), digests)
        return True

    async def get(self, unit: bytes, number: int) -> bytes:
        """One output. Raises NotKept."""
        kept = self._units.get(unit)
        if kept is None or number >= len(kept.sizes):
            raise NotKept("it does not keep the output any more")
        size = kept.sizes[number]
        try:
            body = await trio.to_thread.run_sync(_read, kept.path, sum(kept.sizes[:number]), size)
        except OSError:
            body = b""
        if len(body) != size:
            if self._units.pop(unit, None) is not None:
                self._bytes -= sum(kept.sizes)
            raise NotKept("it has lost the output")
        return body

    async def forget_before(self, action: int) -> None:
        """No unit reads what earlier actions made."""
        over = [unit for unit, kept in self._units.items() if kept.action < action]
        paths = []
        for unit in over:
            kept = self._units.pop(unit)
            self._bytes -= sum(kept.sizes)
            paths.append(kept.path)
        if paths:
            await trio.to_thread.run_sync(_remove, paths)

    async def clear(self) -> None:
        """Nothing is kept any more."""
        self._units.clear()
        self._bytes = 0
        await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)

    async def answer(self, connection: Connection, wanted: work.GetOutput) -> None:
        """Sends one output. Raises PeerError."""
        kept = self._units.get(wanted.unit)
        try:
            if kept is None or wanted.token != self.token:
                raise NotKept("nothing for this peer")
            body = await self.get(wanted.unit, wanted.number)
        except NotKept:
            await connection.send(work.OutputGone())
            return
        await connection.send(work.OutputIs(kept.digests, len(body)))
        for piece in pieces(wanted.unit, body):
            await connection.send(piece)


@dataclass(frozen=True)
class Place:
    """Where one output is kept: see `work.KeptOutput`."""

    unit: bytes
    digest: bytes
    number: int
    peer: PeerId
    address: Address


class Reader:
    """Reads outputs that others keep, over one connection to each of them.

    `told_from` is the host of the owner who names them, unless it is this peer: it may name what it may tell of.
    """

    def __init__(self, dialer: Dialer, job: bytes, token: bytes, told_from: str | None = None) -> None:
        self._dialer = dialer
        self._told_from = told_from
        self._job = job
        self._token = token
        self._connections: dict[PeerId, Connection] = {}
        self._turns: dict[PeerId, trio.Lock] = {}
        self.bytes_read = 0

    async def get(self, place: Place, size: int) -> bytes:
        """One output, of so many bytes, checked. Raises PeerError."""
        async with self._turns.setdefault(place.peer, trio.Lock()):
            # A connection that was idle may have ended meanwhile; a new one tells.
            again = place.peer in self._connections
            while True:
                try:
                    return await self._get(place, size)
                except PeerError:
                    self._close(place.peer)
                    if not again:
                        raise
                    again = False

    async def _get(self, place: Place, size: int) -> bytes:
        connection = self._connections.get(place.peer)
        if connection is None:
            host = place.address.host
            if self._told_from is not None and (ip(host) is None or not may_tell(host, self._told_from)):
                raise NotKept("it is said to be where its owner cannot know")
            connection = await self._dialer.dial(place.address, place.peer)
            self._connections[place.peer] = connection
        try:
            await connection.send(work.GetOutput(self._job, self._token, place.unit, place.number))
            said = await _next(connection)
            if isinstance(said, work.OutputGone):
                raise NotKept("it does not keep the output any more")
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
        arriving = Arriving(MOST_READ_BYTES)
        while True:
            piece = await _next(connection)
            if not isinstance(piece, work.Bytes) or piece.of != unit or piece.total != size:
                raise ProtocolViolation("something else where a piece of an output belongs")
            self.bytes_read += len(piece.body)
            if arriving.add(piece):
                return arriving.pop(unit) or b""

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
            await trio.sleep(READ_S)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice_silence)
        try:
            message = await connection.receive()
        except PeerError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if message is None:
        raise failure or PeerGone(f"nothing came of it for {READ_S:.0f} seconds")
    return message


def _write(path: Path, outputs: list[bytes]) -> tuple[bytes, ...]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(outputs)
    return tuple(map(output_digest, outputs))


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, offset)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
