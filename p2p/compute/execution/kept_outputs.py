"""Large outputs of units, kept by the volunteer that made them, so that later units of the same job can read them.

They go from volunteer to volunteer, so that the shuffle does not go through the owner's connection. A reader shows the
job's token, asks for one output of one unit, and checks what it gets against the digest that it has from the owner. If
a reader cannot get an output, the owner fetches it itself, or lets its unit run again.

Unlike other files that peers exchange, these outputs are not shares: a shuffle is many small reads of each file, each
by one reader, and the manifest, the exchange and the chunk hashes of a share would cost more than the bytes.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from p2p import private
from p2p.compute.execution.output_reader import OutputNotKept
from p2p.compute.execution.unit import output_digest
from p2p.errors import PeerGone
from p2p.net.connection import Connection
from p2p.store.disk import Disk
from p2p.wire import work
from p2p.wire.frames import MAX_DATA_BYTES


@dataclass(frozen=True)
class _Unit:
    path: Path
    action: int
    sizes: tuple[int, ...]
    digests: tuple[bytes, ...]


class OutputStore:
    """Keeps outputs of one job for other peers, in files in `folder`, up to `most` bytes in total."""

    def __init__(self, disk: Disk, folder: Path, token: bytes, most: int) -> None:
        self._disk = disk
        self.token = token
        self._folder = folder
        self._most = most
        self._bytes = 0
        self._units: dict[bytes, _Unit] = {}

    def __len__(self) -> int:
        """How many units' outputs are kept."""
        return len(self._units)

    async def keep(self, unit: bytes, action: int, outputs: list[bytes]) -> bool:
        """Keeps a unit's outputs. Returns whether there was room for them."""
        size = sum(map(len, outputs))
        if unit in self._units:
            return True
        if self._bytes + size > self._most:
            return False
        self._bytes += size
        path = self._folder / unit.hex()
        try:
            digests = await self._disk.run(_write, path, outputs)
        except OSError:
            self._bytes -= size
            return False  # the owner gets the outputs instead
        self._units[unit] = _Unit(path, action, tuple(map(len, outputs)), digests)
        return True

    async def get(self, unit: bytes, number: int) -> bytes:
        """Returns one output. Raises OutputNotKept."""
        kept = self._units.get(unit)
        if kept is None or number >= len(kept.sizes):
            raise OutputNotKept("it does not keep the output any more")
        return await self._part(unit, kept, number, 0, kept.sizes[number])

    async def _part(self, unit: bytes, kept: _Unit, number: int, offset: int, size: int) -> bytes:
        """Reads these bytes of an output. Raises OutputNotKept."""
        try:
            body = await self._disk.run(_read, kept.path, sum(kept.sizes[:number]) + offset, size)
        except OSError:
            body = b""
        if len(body) != size:
            if self._units.pop(unit, None) is not None:
                self._bytes -= sum(kept.sizes)
            raise OutputNotKept("it has lost the output")
        return body

    async def forget_before(self, action: int) -> None:
        """Drops what the actions before this one made, because no unit reads it any more."""
        over = [unit for unit, kept in self._units.items() if kept.action < action]
        paths = []
        for unit in over:
            kept = self._units.pop(unit)
            self._bytes -= sum(kept.sizes)
            paths.append(kept.path)
        if paths:
            await self._disk.run(_remove, paths)

    async def clear(self) -> None:
        """Drops everything."""
        self._units.clear()
        self._bytes = 0
        await self._disk.run(shutil.rmtree, self._folder, True)

    async def answer(self, connection: Connection, wanted: work.GetOutput) -> None:
        """Sends the output that was requested. Raises PeerError."""
        kept = self._units.get(wanted.unit)
        try:
            if kept is None or wanted.token != self.token or wanted.number >= len(kept.sizes):
                raise OutputNotKept("nothing for this peer")
            size = kept.sizes[wanted.number]
            piece = await self._part(wanted.unit, kept, wanted.number, 0, min(size, work.MAX_PIECE_BYTES))
        except OutputNotKept:
            await connection.send(work.OutputGone())
            return
        await connection.send(work.OutputIs(kept.digests, size))
        # One piece at a time, whatever the output's size: many may ask, and read nothing.
        at = 0
        while True:
            view = memoryview(piece)
            for start in range(0, len(view), MAX_DATA_BYTES):
                frame = view[start : start + MAX_DATA_BYTES]
                await connection.send_data(wanted.number, at + start, frame)
                connection.use.gave((wanted.unit, wanted.number), len(frame), size)
            at += len(view)
            if at >= size:
                break
            try:
                piece = await self._part(wanted.unit, kept, wanted.number, at, min(size - at, work.MAX_PIECE_BYTES))
            except OutputNotKept as error:
                raise PeerGone(str(error)) from error
        await connection.flush()


def _write(path: Path, outputs: list[bytes]) -> tuple[bytes, ...]:
    private.make_folder(path.parent)
    with open(path, "wb", opener=private.opener) as file:
        file.writelines(outputs)
    return tuple(map(output_digest, outputs))


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, offset)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
