"""The target of a fetch on disk: where each chunk is written, and how files get their names.

Each file is written under a name with `.part`; once it is whole, it is synced to the disk and gets its own name. So a
name without `.part` is always that of a whole file, even after a power cut. `store.fetches` records which chunks are
written. Many files are synced together: to sync each of ten thousand small files by itself would take minutes.

Nothing outside the output folder is touched, no link below it is followed, and no file that this fetch did not make is
overwritten unless the user allows it.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from p2p.core.shares import bitmap, names
from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.errors import BadData, StorageError, TargetExists
from p2p.formats import format_size
from p2p.ids import FileId, short
from p2p.store import content, posix
from p2p.store.fetches import FetchRecord
from p2p.store.folders import Folders
from p2p.store.library import NOT_HELD, Stamp
from p2p.store.previous_version import Earlier

SPARE_BYTES = 16 * 1024 * 1024
"""The free space that a fetch leaves on the disk."""

_PART = ".part"
_FEW_FILES = 16
_COPY_BYTES = 8 * 1024 * 1024


class Target:
    """The files of one fetch. All methods block: `write` and `reading` briefly; the others must be called in a thread.

    Closing the target also closes its `FetchRecord`. An OSError from the disk becomes a StorageError that says
    what to do.
    """

    def __init__(
        self,
        layout: Layout,
        folder: Path,
        selected: Sequence[int],
        record: FetchRecord,
        *,
        overwrite: bool,
        earlier: Earlier | None = None,
    ) -> None:
        self.layout = layout
        self.folder = folder
        self.selected = selected
        self.record = record
        self._overwrite = overwrite
        self._earlier = earlier
        entries = layout.manifest.entries
        prefix = () if layout.manifest.root.single else (layout.manifest.root.name,)
        self._prefix = prefix
        self.placed: dict[int, Stamp] = {}
        """The stamps of the files that are in place, by entry."""
        self._originals: dict[FileId, int] = {}
        self._copies: dict[int, list[int]] = {}
        wanted = 0
        for entry in selected:
            if entries[entry].chunks:
                original = self._originals.setdefault(entries[entry].file_id, entry)
                if original == entry:
                    wanted |= bitmap.span(*layout.range_of(entry))
                else:
                    self._copies.setdefault(original, []).append(entry)
        self.wanted = wanted
        """The chunks to fetch. Of files with equal content, only the first is fetched."""
        self._mark = f".{short(layout.manifest.share_id)}"
        try:
            if any(entry.path[-1].endswith(_PART) and self._mark in entry.path[-1] for entry in entries):
                # No accident: the share's author searched for an id that makes one file the `.part` file of another.
                raise BadData("the share names files so that they would overwrite each other while they are fetched")
            with explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._folders = Folders(folder)
        except BaseException:
            record.close()
            raise
        self._naming = threading.Lock()
        """Held while a file is renamed, so that a reader finds it under either the old name or the new one."""
        self._begun: set[int] = set()
        """Files of several chunks whose `.part` file exists. It must not be made again: its chunks would be lost."""
        self._stamps: dict[int, Stamp] = {}
        """The stamps of one-chunk files that are written and are still to be renamed."""

    def close(self) -> None:
        """Closes the files and the record. Idempotent. A write afterwards raises StorageError."""
        self._folders.close()
        self.record.close()

    def path(self, entry: int) -> Path:
        """The final path of the entry's file."""
        return self.folder.joinpath(*self._prefix, *self.layout.manifest.entries[entry].path)

    @property
    def top(self) -> Path:
        """The path of the file or folder that the fetch makes."""
        name = self.layout.manifest.root.name
        return self.path(0) if self.layout.manifest.root.single else self.folder / name

    @property
    def selected_bytes(self) -> int:
        """The total size of the selected files, in bytes."""
        return sum(self.layout.manifest.entries[entry].size for entry in self.selected)

    @property
    def complete(self) -> bool:
        """Whether every selected file is in place."""
        return all(entry in self.placed for entry in self.selected if self.layout.is_file(entry))

    def original(self, entry: int) -> int:
        """The entry whose chunks are fetched for this one: the first of the equal files, usually this entry itself."""
        return self._originals.get(self.layout.manifest.entries[entry].file_id, entry)

    def stamps(self) -> list[Stamp]:
        """The stamp of every entry of the share; NOT_HELD for an entry whose file is not in place."""
        return [self.placed.get(entry, NOT_HELD) for entry in range(len(self.layout.manifest.entries))]

    def results(self) -> list[Path]:
        """The paths to report to the user: the share's file or folder or, if only some files were selected, those."""
        if len(self.selected) == len(self.layout.manifest.entries):
            return [self.top]
        return [self.path(entry) for entry in self.selected]

    def missing_chunks(self) -> dict[int, int]:
        """For each file to fetch, the number of chunks that are not written yet."""
        missing = self.wanted & ~self.record.have
        return {
            entry: (missing & bitmap.span(*self.layout.range_of(entry))).bit_count()
            for entry in self._originals.values()
        }

    # Before the first chunk.

    def survey(self, check: Callable[[], None]) -> None:
        """Examines what is there: files already in place, `.part` files of an earlier try, files in the way.

        A file in the way that equals the wanted one counts as fetched. Raises TargetExists for another that may not be
        overwritten.
        """
        have = self.record.have
        in_the_way: list[Path] = []
        if not have and not os.path.lexists(self.top):
            return
        with explained(self.folder):
            for entry in self.selected:
                check()
                chunks = bitmap.span(*self.layout.range_of(entry))
                if not chunks:
                    continue
                status = self._status(entry, part=False)
                part = self._status(entry, part=True)
                complete = have & chunks == chunks
                size = self.layout.manifest.entries[entry].size
                if have & chunks and part is not None and stat.S_ISREG(part.st_mode):
                    last = self.layout.place((have & chunks).bit_length() - 1)
                    if part.st_size >= last.offset + last.size:
                        self._begun.add(entry)
                    else:
                        # Another program cut the file short, or made a new one.
                        have &= ~chunks
                        complete = False
                if status is None:
                    if part is None or not stat.S_ISREG(part.st_mode):
                        have &= ~chunks
                elif (
                    stat.S_ISREG(status.st_mode)
                    and status.st_size == size
                    and ((complete and part is None) or self._equal(entry, check))
                ):
                    have |= chunks
                    self.placed[entry] = Stamp.of(status)
                    if part is not None and stat.S_ISREG(part.st_mode):
                        with self._folder_of(entry) as folder:
                            os.unlink(self._part_name(entry), dir_fd=folder)
                elif not self._may_replace(entry, status):
                    in_the_way.append(self.path(entry))
                elif part is None:
                    have &= ~chunks
            if have != self.record.have:
                self.record.correct(there=have, gone=self.record.have & ~have)
        if in_the_way:
            more = f" and {len(in_the_way) - 1} more" if len(in_the_way) > 1 else ""
            raise TargetExists(
                f"{in_the_way[0]}{more} exists and is a different file. "
                "Move it away, choose another --out, or replace it with --overwrite."
            )

    def _may_replace(self, entry: int, status: os.stat_result) -> bool:
        """Whether a different file in the entry's place may be replaced."""
        left = self._earlier is not None and self._earlier.left(self.path(entry), status)
        return stat.S_ISREG(status.st_mode) and (self._overwrite or left)

    def _is_left(self, entry: int, folder: int, name: str) -> bool:
        """Whether the file with that name belongs to an earlier version and has not changed since."""
        if self._earlier is None:
            return False
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return self._earlier.left(self.path(entry), status)

    def check_space(self, chunks: int | None = None) -> None:
        """Raises StorageError if the disk lacks space for those of these chunks (None: of all) that are missing."""
        if chunks is None:
            missing = self.layout.bytes_in(self.wanted & ~self.record.have) + sum(
                self.layout.manifest.entries[copy].size
                for copies in self._copies.values()
                for copy in copies
                if copy not in self.placed
            )
        else:
            missing = self.layout.bytes_in(chunks & ~self.record.have)
        with explained(self.folder):
            room = os.fstatvfs(self._folders.root)
        free = room.f_bavail * room.f_frsize
        if missing and missing + SPARE_BYTES > free:
            raise StorageError(
                f"{self.folder} has {format_size(free)} free, but {format_size(missing)} are still to come. "
                "Make room or choose another --out; what was fetched is kept."
            )

    def make_empty(self) -> None:
        """Makes the selected empty files and folders."""
        with explained(self.folder):
            if not self.layout.manifest.root.single:
                with self._folders.taken(self._prefix):
                    pass
            for entry in self.selected:
                item = self.layout.manifest.entries[entry]
                if item.chunks:
                    continue
                path = (*self._prefix, *item.path)
                if not self.layout.is_file(entry):
                    with self._folders.taken(path):
                        continue
                status = self._status(entry, part=False)
                if status is None or (status.st_size and self._may_replace(entry, status)):
                    # Do not truncate the file: it may have another name (a hard link) outside the output folder.
                    with self._part(entry, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
                        pass
                    self._rename(entry)
                elif status.st_size or not stat.S_ISREG(status.st_mode):
                    raise TargetExists(
                        f"{self.path(entry)} exists and is not empty. "
                        "Move it away, choose another --out, or replace it with --overwrite."
                    )
                else:
                    with self._final(entry, os.O_RDONLY) as descriptor:
                        self._make_executable(descriptor, entry)
                        self.placed[entry] = Stamp.of(os.fstat(descriptor))

    # Chunks.

    def write(self, chunk: int, place: ChunkPlace, view: memoryview) -> None:
        """Writes a verified chunk to `place`, and records that it is written."""
        # There may be thousands of small files, so this uses no context managers, and opens a small file only once.
        if self.record.has(chunk):
            # The chunk came twice: its file may already have its name, so a `.part` file must not be made again.
            return
        path = self._folder_path(place.entry)
        try:
            folder = self._folders.take(path)
            try:
                self._write_in(folder, place, view)
            finally:
                self._folders.give(path)
        except OSError as error:
            raise explanation(error, self.folder) from error
        self.record.add(chunk)

    def _write_in(self, folder: int, place: ChunkPlace, view: memoryview) -> None:
        entry = place.entry
        flags = posix.SAFELY | os.O_WRONLY | (0 if entry in self._begun else os.O_CREAT)
        try:
            descriptor = os.open(self._part_name(entry), flags, 0o666, dir_fd=folder)
        except FileNotFoundError:
            if entry not in self._begun:
                raise
            raise self._meddled(entry) from None
        try:
            written = os.pwrite(descriptor, view, place.offset)
            while written < place.size:
                written += os.pwrite(descriptor, view[written:], place.offset + written)
            if place.size == self.layout.manifest.entries[entry].size:
                self._make_executable(descriptor, entry)
                self._stamps[entry] = self._cut(descriptor, entry)
            else:
                self._begun.add(entry)
        finally:
            os.close(descriptor)

    @contextmanager
    def reading(self, entry: int) -> Iterator[tuple[int, Stamp | None]]:
        """Opens the entry's file, in place or not. Gives its descriptor, and the stamp it must have, if any."""
        with ExitStack() as stack:
            with self._naming:
                stamp = self.placed.get(entry)
                opened = self._part(entry, os.O_RDONLY) if stamp is None else self._final(entry, os.O_RDONLY)
                descriptor = stack.enter_context(opened)
            yield descriptor, stamp

    def whole(self, among: Iterable[int]) -> list[int]:
        """Those of these entries whose chunks are all written, but whose files are not in place yet."""
        have = self.record.have
        result = []
        for entry in among:
            chunks = bitmap.span(*self.layout.range_of(entry))
            if entry not in self.placed and chunks and have & chunks == chunks:
                result.append(entry)
        return result

    # Syncing to the disk: call these in a thread.

    def settle(self, written: Sequence[int], whole: Sequence[int]) -> None:
        """Syncs what was written so far to the disk, records that in the database, then renames the files in `whole`.

        `written` has the entries written to since the last call, including those in `whole`.
        """
        # Record only these entries' chunks: what is written to others in the meantime is not synced by this call.
        have = self.record.durable | (self.record.have & self.layout.chunks_of(written))
        with explained(self.folder):
            self._sync(written)
            self.record.keep_durable(have)
            for entry in whole:
                self._rename(entry)

    def uncopied(self) -> list[int]:
        """The entries that are in place, but of which an equal copy is still missing."""
        return [
            original
            for original, copies in self._copies.items()
            if original in self.placed and any(copy not in self.placed for copy in copies)
        ]

    def fill_copies(self, originals: Sequence[int]) -> int:
        """Makes the missing files that are equal to these. Returns their chunks, as a bitmap."""
        copied = 0
        filled: list[int] = []
        with explained(self.folder):
            for original in originals:
                for copy in self._copies[original]:
                    if copy not in self.placed:
                        self._copy(original, copy)
                        filled.append(copy)
            self._sync(filled)
            for copy in filled:
                self._rename(copy)
                copied |= bitmap.span(*self.layout.range_of(copy))
        return copied

    def _sync(self, entries: Sequence[int]) -> None:
        if len(entries) > _FEW_FILES:
            with self._folders.taken(()) as folder:
                posix.sync_file_system(folder)
            return
        for entry in entries:
            with suppress(FileNotFoundError), self._part(entry, os.O_RDONLY) as descriptor:
                os.fsync(descriptor)

    def _rename(self, entry: int) -> None:
        name = self.layout.manifest.entries[entry].path[-1]
        with self._folder_of(entry) as folder:
            stamp = self._stamps.pop(entry, None)
            if stamp is None:
                with self._part(entry, os.O_RDWR) as descriptor:
                    self._make_executable(descriptor, entry)
                    stamp = self._cut(descriptor, entry)
            with self._naming:
                if self._overwrite or self._is_left(entry, folder, name):
                    os.rename(self._part_name(entry), name, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    try:
                        posix.rename_new(self._part_name(entry), name, folder)
                    except FileExistsError:
                        raise TargetExists(
                            f"{self.path(entry)} appeared or changed while it was fetched. "
                            "Move it away and run the same command again."
                        ) from None
                # Renaming has changed the ctime; but what another program has changed since must not pass for ours.
                renamed = Stamp.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
                self.placed[entry] = renamed if renamed.resembles(stamp) else stamp

    def still_same(self, entry: int, seen: Stamp | None, check: Callable[[], None]) -> bool:
        """Whether the entry's file, which does not have the stamp `seen`, was only touched. Then it has a new stamp."""
        stamp = self.placed.get(entry)
        if stamp is None or stamp != seen:
            return stamp is not None
        try:
            with self._final(entry, os.O_RDONLY) as descriptor:
                found = Stamp.of(os.fstat(descriptor))
                same = found.resembles(stamp) and content.is_same(descriptor, self.layout, entry, check)
                if same and found.fits(os.fstat(descriptor)):
                    self.placed[entry] = found
                    return True
        except OSError:
            pass
        return False

    def _copy(self, original: int, copy: int) -> None:
        size = self.layout.manifest.entries[original].size
        with (
            self._final(original, os.O_RDONLY) as source,
            self._part(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as sink,
        ):
            if Stamp.of(os.fstat(source)) != self.placed[original] and not self._equal(original, lambda: None):
                raise StorageError(f"{self.path(original)} was changed by another program. Fetch it again.")
            at = 0
            while at < size:
                try:
                    count = os.copy_file_range(source, sink, min(_COPY_BYTES, size - at), at, at)
                except OSError as error:
                    if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                        raise
                    count = os.pwrite(sink, os.pread(source, min(_COPY_BYTES, size - at), at), at)
                if not count:
                    raise StorageError(f"{self.path(original)} was cut short by another program. Fetch it again.")
                at += count

    def _cut(self, descriptor: int, entry: int) -> Stamp:
        """The stamp of a whole `.part` file, first cut if it is too long. Raises StorageError if it is too short."""
        stamp = Stamp.of(os.fstat(descriptor))
        size = self.layout.manifest.entries[entry].size
        if stamp.size < size:
            raise self._meddled(entry)
        if stamp.size > size:
            os.ftruncate(descriptor, size)
            stamp = Stamp.of(os.fstat(descriptor))
        return stamp

    def _meddled(self, entry: int) -> StorageError:
        """Records that none of the chunks of a file that was tampered with is there. Returns the error to raise."""
        self.record.correct(gone=bitmap.span(*self.layout.range_of(entry)))
        return StorageError(
            f"The unfinished {self.path(entry)} was removed or cut short by another program. "
            "Run the same command again: what was fetched of other files is kept."
        )

    def _make_executable(self, descriptor: int, entry: int) -> None:
        if self.layout.manifest.entries[entry].executable:
            mode = os.fstat(descriptor).st_mode
            os.fchmod(descriptor, stat.S_IMODE(mode) | (mode & 0o444) >> 2)

    # From names to descriptors.

    def _part_name(self, entry: int) -> str:
        name = f"{self.layout.manifest.entries[entry].path[-1]}{self._mark}{_PART}"
        # The number comes after the mark: before it, a file named `.5` would get the same name as entry 5.
        return name if len(name.encode()) <= names.MAX_PART_BYTES else f"{self._mark}.{entry}{_PART}"

    def _folder_path(self, entry: int) -> names.Path:
        return (*self._prefix, *self.layout.manifest.entries[entry].path[:-1])

    def _folder_of(self, entry: int) -> AbstractContextManager[int]:
        return self._folders.taken(self._folder_path(entry))

    @contextmanager
    def _part(self, entry: int, flags: int) -> Iterator[int]:
        part = self._part_name(entry)
        with self._folder_of(entry) as folder, posix.opened(part, flags, folder) as descriptor:
            yield descriptor

    @contextmanager
    def _final(self, entry: int, flags: int) -> Iterator[int]:
        with self._folder_of(entry) as folder:
            name = self.layout.manifest.entries[entry].path[-1]
            with posix.opened(name, flags, folder) as descriptor:
                yield descriptor

    def _status(self, entry: int, *, part: bool) -> os.stat_result | None:
        item = self.layout.manifest.entries[entry]
        with self._folder_of(entry) as folder:
            try:
                name = self._part_name(entry) if part else item.path[-1]
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def _equal(self, entry: int, check: Callable[[], None]) -> bool:
        """Whether the file in the entry's place has exactly the wanted content."""
        with self._final(entry, os.O_RDONLY) as descriptor:
            return content.is_same(descriptor, self.layout, entry, check)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns the body's OSErrors into StorageErrors."""
    try:
        yield
    except OSError as error:
        raise explanation(error, folder) from error


def explanation(error: OSError, folder: Path) -> StorageError:
    """Describes an error of the disk in words: what happened, and what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "Make room and run the same command again: what was fetched is kept."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "Choose another --out, or get the right to write there."
        case errno.ENOTDIR | errno.EEXIST | errno.ENOENT | errno.EISDIR | errno.ELOOP:
            advice = "Something else is in its place: choose another --out."
        case errno.EFBIG:
            advice = "No file may be that large there: choose another --out."
        case errno.ENAMETOOLONG:
            advice = "Choose an --out with a shorter path."
        case _:
            advice = "Check the disk and run the same command again: what was fetched is kept."
    return StorageError(f"Cannot write to {error.filename or folder}: {error.strerror}. {advice}")
