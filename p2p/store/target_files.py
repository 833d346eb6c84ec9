"""The files of a target, opened one by one: no link is followed, and nothing outside the output folder is touched."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from p2p.core.shares.manifest import TimedEntry
from p2p.errors import StorageError
from p2p.store import content, holes, posix
from p2p.store.folders import Folders
from p2p.store.local_paths import LocalPaths
from p2p.store.stamps import Stamp


class TargetFiles:
    """Opens, examines and copies the files at `paths`. All methods block, and raise OSError."""

    def __init__(self, paths: LocalPaths, mode: int = posix.ANYBODYS) -> None:
        """New files get this mode."""
        self.paths = paths
        self.mode = mode
        self.folders = Folders(paths.folder)

    def close(self) -> None:
        self.folders.close()

    def folder_of(self, entry: int) -> AbstractContextManager[int]:
        """Opens the folder that the entry is in, made if needed."""
        return self.folders.taken(self.paths.above(entry))

    @contextmanager
    def part(self, entry: int, flags: int) -> Iterator[int]:
        """Opens the entry's `.part` file."""
        part = self.paths.part_name(entry)
        with self.folder_of(entry) as folder, posix.opened(part, flags, folder, self.mode) as descriptor:
            yield descriptor

    @contextmanager
    def final(self, entry: int, flags: int) -> Iterator[int]:
        """Opens the file in the entry's place."""
        with self.folder_of(entry) as folder, posix.opened(self.paths.name(entry), flags, folder) as descriptor:
            yield descriptor

    def status(self, entry: int, *, part: bool) -> os.stat_result | None:
        """What is in the entry's place, or where its `.part` file should be; None if nothing is."""
        with self.folder_of(entry) as folder:
            try:
                name = self.paths.part_name(entry) if part else self.paths.name(entry)
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def equal(self, entry: int, check: Callable[[], None]) -> bool:
        """Whether the file in the entry's place has exactly the wanted content."""
        with self.final(entry, os.O_RDONLY) as descriptor:
            return content.is_same(descriptor, self.paths.layout, entry, check)

    def copy(self, original: int, stamp: Stamp, copy: int) -> None:
        """Copies the file in the place of `original`, which had this stamp, to the `.part` file of an equal one."""
        path = self.paths.path(original)
        with (
            self.final(original, os.O_RDONLY) as source,
            self.part(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as sink,
        ):
            if Stamp.of(os.fstat(source)) != stamp and not self.equal(original, lambda: None):
                raise StorageError(f"{path} was changed by another program. Fetch it again.")
            if not holes.copy(source, sink, self.paths.layout.manifest.entries[original].size):
                raise StorageError(f"{path} was cut short by another program. Fetch it again.")

    def make_executable(self, descriptor: int, entry: int) -> None:
        """Lets those run the file who may read it, if it is executable in the share."""
        if self.paths.layout.manifest.entries[entry].executable:
            mode = os.fstat(descriptor).st_mode
            os.fchmod(descriptor, stat.S_IMODE(mode) | (mode & 0o444) >> 2)

    def set_time(self, descriptor: int, entry: int) -> None:
        """Gives the open file or folder the modification time that it has in the share, if any."""
        item = self.paths.layout.manifest.entries[entry]
        if isinstance(item, TimedEntry):
            posix.set_modified(descriptor, item.modified_ns)

    def set_time_of_folder(self, descriptor: int, entry: int) -> None:
        """Gives an open folder its time, unless there is something in it: that is not the share's."""
        with os.scandir(descriptor) as items:
            if next(items, None) is None:
                self.set_time(descriptor, entry)

    def set_time_in_place(
        self, entry: int, status: os.stat_result, may_replace: Callable[[int, os.stat_result], bool]
    ) -> os.stat_result:
        """Gives the file in the entry's place its time, if it still has this status. Returns the status it has then.

        `may_replace` is asked only about files with other times: it may have to read them.
        """
        item = self.paths.layout.manifest.entries[entry]
        if isinstance(item, TimedEntry) and item.modified_ns != status.st_mtime_ns and may_replace(entry, status):
            with suppress(OSError), self.final(entry, os.O_RDONLY) as descriptor:
                if Stamp.of(os.fstat(descriptor)) == Stamp.of(status):
                    self.set_time(descriptor, entry)
                    return os.fstat(descriptor)
        return status
