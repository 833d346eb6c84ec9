"""The packs of one home: made once for as long as an environment does not change, shared with members of clusters.

Each is in a folder named by the key of its plan, beside a record of the libraries that it took from the system. What
was not used for longest is removed when they take too much room.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from p2p import causes, private
from p2p.environments import packing
from p2p.environments.listing import LeftOut
from p2p.environments.packing import Packed, Plan
from p2p.errors import ConfigError, NotFound, StorageError
from p2p.ids import ShareId
from p2p.progress import Progress
from p2p.sharing.share import Shared, Sharing
from p2p.store.disk import Disk

MAX_PACKED_BYTES = 16 * 1024**3
"""How much room the packs take, apart from those in use and the last one."""
_PACK, _RECORD = "environment", "packed.json"

Stamp = tuple[int, int, int]


class Record(msgspec.Struct, frozen=True):
    """What is known of a pack. It is written once the pack is whole."""

    packed: Packed
    system: dict[str, Stamp]
    """The libraries and tools of the system that are in it, with their sizes, times and inodes."""
    share: str = ""
    """The id of its share, as hexadecimal digits."""


class Made(msgspec.Struct, frozen=True):
    """An environment that is packed and shared. `fresh` is whether it had to be packed for that."""

    shared: Shared
    packed: Packed
    folder: Path
    left_out: tuple[LeftOut, ...]
    fresh: bool
    seconds: float


class Need(NamedTuple):
    """A package that an environment must have, and what pip installs for that."""

    package: str
    requirement: str


class Packs:
    """Packs environments into `folder`, one at a time, and shares them with those who may read such shares."""

    def __init__(self, folder: Path, sharing: Sharing, disk: Disk, most_bytes: int = MAX_PACKED_BYTES) -> None:
        self._folder = folder
        self._sharing = sharing
        self._disk = disk
        self._most_bytes = most_bytes
        self._turn = trio.Lock()
        self._used: Counter[ShareId] = Counter()

    async def pack(
        self,
        source: Path,
        name: str | None,
        include: Sequence[str],
        more: Sequence[Path],
        progress: Progress,
        need: Need | None = None,
    ) -> Made:
        """Packs the environment at a path, unless that was done and nothing has changed, and shares it.

        `name`: the share's; None: that of the environment's folder. An environment without what is needed is not
        packed: ConfigError. Raises as `packing.plan` and `packing.pack` do.
        """
        started = trio.current_time()
        check = trio.from_thread.check_cancelled
        async with self._turn:
            progress.state = "looking for the environment's files"
            planned = await self._disk.run_long(packing.plan, source, include, more, check)
            if need is not None and all(one.name != need.package for one in planned.found.packages):
                raise ConfigError(
                    f"The environment {source} has no {need.package}. "
                    f'Install it there: {planned.found.executable} -m pip install "{need.requirement}"'
                )
            where = self._folder / planned.key[:32]
            record = await self._disk.run_long(_current, where)
            fresh = record is None
            if record is None:
                progress.state = "packing the environment"
                await self.trim(where)
                record = await self._disk.run_long(_pack, planned, where, check, progress)
            shared = await self._sharing.share(
                [where / _PACK],
                name or _name_of(planned),
                progress,
                unlisted=True,
                exclude=(),
                need_all=True,
                times=False,
                links=True,
                own=True,
                restricted=True,
            )
            for path, why in shared.skipped:
                raise StorageError(f"The environment cannot be shared whole: {path}: {why}.")
            record = msgspec.structs.replace(record, share=shared.share_id.hex())
            await self._disk.run(_write, where / _RECORD, record)
        seconds = trio.current_time() - started
        return Made(shared, record.packed, where / _PACK, planned.left_out, fresh, seconds)

    @contextmanager
    def using(self, share: ShareId) -> Iterator[None]:
        """Keeps the pack with this share while the body runs."""
        self._used[share] += 1
        try:
            yield
        finally:
            self._used[share] -= 1

    async def trim(self, keep: Path | None = None) -> None:
        """Removes packs, those that were used longest ago first, until the others are within bounds.

        Those in use stay, and `keep` does. Raises StorageError.
        """
        found = await self._disk.run_long(_listed, self._folder)
        taken = sum(size for _, _, size, _ in found)
        for where, _, size, share in sorted(found, key=lambda one: one[1]):
            if where == keep or (share is not None and self._used[share]):
                continue
            if share is not None and taken <= self._most_bytes:
                break
            if share is not None:
                with suppress(NotFound):
                    await self._sharing.unshare(share)
            await self._disk.run_long(shutil.rmtree, where, True)
            taken -= size


def _name_of(planned: Plan) -> str:
    """The environment's name: that of its folder, or of the project around it if it is `.venv` or `venv`."""
    prefix = Path(planned.found.prefix)
    own = prefix.parent.name if prefix.name.lstrip(".") in {"venv", "env"} else prefix.name
    return f"{own.lstrip('.') or 'python'} environment"


def _stamps(paths: Sequence[str]) -> dict[str, Stamp]:
    stamps = {}
    for path in paths:
        status = os.stat(path)
        stamps[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return stamps


def _current(where: Path) -> Record | None:
    """The record of a pack that is whole and has the system's libraries as they are now; None if there is none."""
    try:
        record = msgspec.json.decode((where / _RECORD).read_bytes(), type=Record)
        unchanged = _stamps(list(record.system)) == record.system and (where / _PACK).is_dir()
    except (OSError, msgspec.DecodeError):
        return None
    return record if unchanged else None


def _pack(planned: Plan, where: Path, check: packing.Check, progress: Progress) -> Record:
    try:
        with suppress(FileNotFoundError):
            (where / _RECORD).unlink()
        private.close_folder(where.parent)
        private.make_folder(where)
        packed = packing.pack(planned, where / _PACK, check, progress)
        record = Record(packed, _stamps(sorted(packed.libraries.values())))
    except OSError as error:
        raise StorageError(f"Cannot pack the environment: {causes.explained(error)}") from error
    _write(where / _RECORD, record)
    return record


def _write(path: Path, record: Record) -> None:
    """Writes a record whole or not at all; its time says when the pack was used last."""
    beginning = path.with_suffix(".part")
    try:
        private.write(beginning, msgspec.json.encode(record))
        beginning.rename(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {causes.explained(error)}") from error


def _listed(folder: Path) -> list[tuple[Path, float, int, ShareId | None]]:
    """The packs, when each was used, its size, and its share; None if it is not whole."""
    found: list[tuple[Path, float, int, ShareId | None]] = []
    try:
        listed = list(folder.iterdir())
    except FileNotFoundError:
        return []
    for where in listed:
        try:
            status = (where / _RECORD).stat()
            record = msgspec.json.decode((where / _RECORD).read_bytes(), type=Record)
            share = ShareId(bytes.fromhex(record.share)) if record.share else None
            found.append((where, status.st_mtime, record.packed.bytes, share))
        except (OSError, ValueError, msgspec.DecodeError):
            found.append((where, 0.0, 0, None))
    return found
