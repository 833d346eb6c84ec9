"""What a fetch leaves behind: `.part` files, and the files that are in place. Removed only if the user asks for that.

No link is followed, and a file that is not what was fetched stays: it may be the user's own by now.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from p2p.core.shares import names
from p2p.core.shares.layout import Layout
from p2p.core.shares.local_names import Renames
from p2p.errors import NotFound
from p2p.ids import ShareId
from p2p.sharing.share import Sharing
from p2p.store import content, posix
from p2p.store.disk import Disk
from p2p.store.disk_rule import longest_name
from p2p.store.explaining import explained
from p2p.store.fetches import Fetches
from p2p.store.library import Library
from p2p.store.local_paths import LocalPaths


class Removed(msgspec.Struct, frozen=True):
    """How many `.part` files and finished files were deleted, and how many of the latter stay, as they were changed."""

    parts: int = 0
    files: int = 0
    changed: int = 0


class Leftovers:
    """Removes what fetches left, for one peer."""

    def __init__(self, library: Library, records: Fetches, sharing: Sharing, disk: Disk) -> None:
        self._library = library
        self._records = records
        self._sharing = sharing
        self._disk = disk

    async def are_known(self, share: ShareId) -> bool:
        """Whether this peer still has the list of the files of a share, by which finished ones are told from others."""
        return await self._disk.run(self._has_layout, share)

    def _has_layout(self, share: ShareId) -> bool:
        try:
            self._library.layout(share)
        except NotFound:
            return False
        return True

    async def remove(self, share: ShareId, folder: Path, *, finished: bool) -> Removed:
        """Deletes the `.part` files of a fetch that is not running and, if `finished`, its files in place.

        The share of these is no longer served then. What was fetched is forgotten. Raises StorageError.
        """
        row = await self._disk.run(self._library.share, share)
        served = row is not None and row.fetched and any(Path(path).parent == folder for path in row.paths)
        known = await self._disk.run(self._library.names, share) if served else {}
        if served and finished:
            with suppress(NotFound):
                await self._sharing.unshare(share)
        check = trio.from_thread.check_cancelled
        removed = await self._disk.run_long(self._remove, share, folder, known, finished, check)
        await self._disk.run(self._records.drop, share, folder)
        return removed

    def _remove(
        self, share: ShareId, folder: Path, known: Renames, finished: bool, check: Callable[[], None]
    ) -> Removed:
        try:
            layout = self._library.layout(share)
        except NotFound:
            return Removed()  # nothing was fetched but, perhaps, some of the list of files
        begun = self._records.names(share, folder)
        if begun is None and not finished:
            return Removed()
        try:
            root = posix.open_folder(folder)
        except FileNotFoundError:
            return Removed()
        try:
            with explained(folder):
                paths = LocalPaths(layout, folder, known if begun is None else begun)
                paths.longest = longest_name(root)
                return _remove(root, paths, finished, check)
        finally:
            os.close(root)


def _remove(root: int, paths: LocalPaths, finished: bool, check: Callable[[], None]) -> Removed:
    layout = paths.layout
    parts = files = changed = 0
    emptied: set[names.Path] = set()
    for entry in range(len(layout.manifest.entries)):
        check()
        if not layout.is_file(entry):
            if finished:
                emptied.add(paths.parts(entry))
            continue
        above = paths.above(entry)
        with suppress(FileNotFoundError, NotADirectoryError), posix.existing(root, above) as folder:
            emptied.add(above)
            with suppress(FileNotFoundError):
                os.unlink(paths.part_name(entry), dir_fd=folder)
                parts += 1
            if finished and (same := _is_same(folder, paths.name(entry), layout, entry, check)) is not None:
                if same:
                    os.unlink(paths.name(entry), dir_fd=folder)
                files, changed = files + same, changed + (not same)
    for link in layout.manifest.links if finished else ():
        path = paths.below(link.path)
        with suppress(OSError), posix.existing(root, path[:-1]) as folder:
            emptied.add(path[:-1])
            os.readlink(path[-1], dir_fd=folder)  # fails for whatever else is there
            os.unlink(path[-1], dir_fd=folder)
    with_those_above = {path[:depth] for path in emptied for depth in range(1, len(path) + 1)}
    for path in sorted(with_those_above, key=len, reverse=True):
        with suppress(OSError), posix.existing(root, path[:-1]) as folder:
            os.rmdir(path[-1], dir_fd=folder)  # if it is empty
    return Removed(parts, files, changed)


def _is_same(folder: int, name: str, layout: Layout, entry: int, check: Callable[[], None]) -> bool | None:
    """Whether the file of this name is what the share has; None if there is none."""
    try:
        with posix.opened(name, os.O_RDONLY, folder) as descriptor:
            status = os.fstat(descriptor)
            size = layout.manifest.entries[entry].size
            whole = stat.S_ISREG(status.st_mode) and status.st_size == size
            return whole and content.is_same(descriptor, layout, entry, check)
    except FileNotFoundError:
        return None
    except OSError:
        return False
