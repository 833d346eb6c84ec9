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
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby, pairwise
from pathlib import Path

from p2p import private
from p2p.core.shares import bitmap, names
from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.core.shares.links import LinkEntry, Links
from p2p.core.shares.local_names import Renames, Told
from p2p.core.shares.manifest import Entry, TimedEntry
from p2p.core.shares.names import Path as NamePath
from p2p.errors import StorageError, TargetExists
from p2p.ids import FileId
from p2p.store import content, holes, posix
from p2p.store.disk_rule import longest_name, names_on_disk
from p2p.store.explaining import check_room, explained, explanation
from p2p.store.fetches import FetchRecord
from p2p.store.in_the_way import MAX_BESIDE, InTheWay, refusal
from p2p.store.local_paths import LocalPaths
from p2p.store.previous_version import Earlier
from p2p.store.stamps import NOT_HELD, Stamp
from p2p.store.survey import out_of_reach, survey
from p2p.store.target_files import TargetFiles

_FEW_FILES = 16
_HELD_FAST = frozenset((errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY))


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
        beside: bool = False,
        told: Told | None = None,
    ) -> None:
        """`beside`: whether a file goes beside a different one in its place, rather than that it must not be there.

        Without `told`, the folder is in this peer's home: names stay as they are in the share, whatever is there, and
        files are private.
        """
        self.layout = layout
        self.folder = folder
        self.record = record
        self.placed: dict[int, Stamp] = {}
        """The stamps of the files that are in place, by entry."""
        self.choose(selected)
        self._told = told
        try:
            paths = LocalPaths(layout, folder, {})
            paths.told_top = None if told is None else told.top
            with explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._files = TargetFiles(paths, private.MODE if told is None else posix.ANYBODYS)
            try:
                with explained(folder):
                    paths.longest = longest_name(self._files.folders.root)
                    paths.changes = dict(names_on_disk(self._files.folders.root, layout, record, told))
            except BaseException:
                self._files.close()
                raise
        except BaseException:
            record.close()
            raise
        self._in_the_way = InTheWay(self._files, earlier, overwrite=overwrite, beside=beside)
        self._is_new = False
        """Whether the share's folder was just made, so that nothing is in it."""
        self._naming = threading.Lock()
        """Held while a file is renamed, so that a reader finds it under either the old name or the new one."""
        self._begun: set[int] = set()
        """Files of several chunks whose `.part` file exists. It must not be made again: its chunks would be lost."""
        self._stamps: dict[int, Stamp] = {}
        """The stamps of one-chunk files that are written and are still to be renamed."""

    def choose(self, selected: Sequence[int]) -> None:
        """Sets which entries to fetch; to be called before `survey`."""
        self.selected = selected
        self._originals: dict[FileId, int] = {}
        """The first of each group of files with equal content."""
        self._copies: dict[int, list[int]] = {}
        self.fetched = array("Q")
        """The files whose chunks are fetched: of files with equal content, only the first."""
        entries = self.layout.manifest.entries
        empty = set(self.layout.empty())
        files = array("Q", (entry for entry in selected if entry not in empty))
        # Equal files begin with equal chunks. Few others do, so that few ids are computed.
        keys = array("Q", (int.from_bytes(entries[entry].hashes[:8], "big") for entry in files))
        repeated = {key for key, following in pairwise(sorted(keys)) if key == following}
        for entry, key in zip(files, keys, strict=True):
            if key in repeated:
                original = self._originals.setdefault(entries[entry].file_id, entry)
                if original != entry:
                    self._copies.setdefault(original, []).append(entry)
                    continue
            self.fetched.append(entry)
        self.wanted = self.layout.chunks_of(self.fetched)
        """The chunks to fetch."""

    def close(self) -> None:
        """Closes the files and the record. Idempotent. A write afterwards raises StorageError."""
        self._files.close()
        self.record.close()

    def path(self, entry: int) -> Path:
        """The final path of the entry's file."""
        return self._files.paths.path(entry)

    def renamed(self) -> list[int]:
        """The selected entries that have other paths than in the share, apart from what the user was told before."""
        return [entry for entry in self.selected if self._files.paths.is_renamed(entry)]

    def differing(self) -> list[int]:
        """The entries in `renamed`, and a single file that is not called as in the share."""
        if self.layout.manifest.root.single and self.renames:
            return [*self.selected]
        return self.renamed()

    @property
    def renames(self) -> Renames:
        """The names that differ on the disk from those in the share."""
        return self._files.paths.changes

    def shared(self, entry: int) -> NamePath:
        """The entry's path in the share; for a folder, with the share's name first."""
        return self._files.paths.shared(entry)

    def parts(self, entry: int) -> NamePath:
        """The entry's path below the output folder."""
        return self._files.paths.parts(entry)

    @property
    def top(self) -> Path:
        """The path of the file or folder that the fetch makes."""
        return self._files.paths.top

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

    def results(self, left_out: int = 0) -> list[Path]:
        """The paths to report to the user: the share's file or folder or, if only some files were selected, those.

        `left_out` is how many of the user's entries the disk cannot hold.
        """
        if len(self.selected) + left_out == len(self.layout.manifest.entries):
            return [self.top]
        return [self.path(entry) for entry in self.selected]

    def missing_chunks(self) -> "array[int]":
        """By entry, the number of its chunks that are to be fetched and not written yet."""
        counts = array("q", bytes(8 * len(self.layout.manifest.entries)))
        missing = bitmap.to_bytes(self.wanted & ~self.record.have, self.layout.chunks)
        entries = sorted(self.fetched)
        for entry, (first, count) in zip(entries, self.layout.ranges_of(entries), strict=True):
            if count == 1:
                counts[entry] = missing[first >> 3] >> (first & 7) & 1
                continue
            around = bitmap.from_bytes(missing[first >> 3 : (first + count + 7) >> 3])
            counts[entry] = (around >> (first & 7) & bitmap.span(0, count)).bit_count()
        return counts

    # Before the first chunk.

    def out_of_reach(self) -> dict[int, Path]:
        """The selected entries that cannot be made, each with the folder in which this user may make nothing."""
        with explained(self.folder):
            closed = out_of_reach(self._files, self.selected)
        return {entry: self.folder.joinpath(*path) for entry, path in closed.items()}

    def survey(self, check: Callable[[], None]) -> None:
        """Looks at what is there already, which then counts as fetched, and makes the share's folder.

        Raises TargetExists for a folder that was not made for this share, if the user has not allowed that, and for a
        different file in the way that may not be replaced.
        """
        if self._told is not None and not self.layout.manifest.root.single:
            with explained(self.folder):
                self._is_new = self._in_the_way.claim(self.record, self._told)
        if not self.record.have and (self._is_new or not os.path.lexists(self.top)):
            return
        with explained(self.folder):
            if self._in_the_way.beside and self._in_the_way.folders_step_aside(self.selected):
                self.record.keep_names(self.renames)
            found = survey(self._files, self.selected, self.record.have, self._in_the_way.may_replace, check)
            if found.have != self.record.have:
                self.record.correct(there=found.have, gone=self.record.have & ~found.have)
        self.placed |= found.placed
        self._begun |= found.begun
        if found.in_the_way and not self._in_the_way.beside:
            raise refusal([self.path(entry) for entry in found.in_the_way])
        if found.in_the_way:
            with explained(self.folder):
                for entry in found.in_the_way:
                    self._step_aside(entry, check)
            self.record.keep_names(self.renames)

    def _step_aside(self, entry: int, check: Callable[[], None]) -> None:
        """Gives an entry that is not in place another name. May find it there."""
        status = self._in_the_way.step_aside(entry, check)
        chunks = bitmap.span(*self.layout.range_of(entry))
        same_size = status is not None and status.st_size == self.layout.manifest.entries[entry].size
        if status is not None and chunks and same_size and self._files.equal(entry, check):
            self.record.correct(there=chunks)
            self.placed[entry] = Stamp.of(self._files.set_time_in_place(entry, status, self._in_the_way.may_replace))
            with suppress(FileNotFoundError), self._files.folder_of(entry) as folder:
                os.unlink(self._files.paths.part_name(entry), dir_fd=folder)

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
            check_room(self._files.folders.root, self.folder, missing)

    def make_empty(self) -> None:
        """Makes the selected empty files and folders."""
        with explained(self.folder):
            if not self.layout.manifest.root.single:
                with self._files.folders.taken(self._files.paths.top_parts):
                    pass
            empty = set(self.layout.empty())
            for entry in self.selected:
                if entry not in empty:
                    continue
                if not self.layout.is_file(entry):
                    with self._files.folders.taken(self._files.paths.parts(entry)) as made:
                        self._files.set_time_of_folder(made, entry)
                    continue
                status = self._files.status(entry, part=False)
                if (
                    status is not None
                    and not self._is_empty(status)
                    and not self._in_the_way.may_replace(entry, status)
                ):
                    if not self._in_the_way.beside:
                        raise refusal([self.path(entry)])
                    status = self._in_the_way.step_aside(entry, lambda: None)
                    self.record.keep_names(self.renames)
                if status is None or not self._is_empty(status):
                    # Do not truncate the file: it may have another name (a hard link) outside the output folder.
                    with self._files.part(entry, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
                        pass
                    self._rename_all([entry])
                else:
                    if self._in_the_way.may_replace(entry, status):
                        with self._files.final(entry, os.O_RDONLY) as descriptor:
                            self._files.make_executable(descriptor, entry)
                            status = os.fstat(descriptor)
                    status = self._files.set_time_in_place(entry, status, self._in_the_way.may_replace)
                    self.placed[entry] = Stamp.of(status)

    @staticmethod
    def _is_empty(status: os.stat_result) -> bool:
        return stat.S_ISREG(status.st_mode) and not status.st_size

    # Chunks.

    def write(self, chunk: int, place: ChunkPlace, view: memoryview) -> None:
        """Writes a verified chunk to `place`, and records that it is written."""
        self.write_run(chunk, ((place, view),))

    def write_run(self, first: int, run: Iterable[tuple[ChunkPlace, memoryview]]) -> int:
        """Writes verified chunks, `first` and those that follow it, and records that they are written.

        Returns how many there were; if a write fails, those before it are recorded.
        """
        # There may be thousands of small files, so folders are opened once, and a small file too.
        recorded = chunk = first
        try:
            for path, neighbours in groupby(run, lambda item: self._files.paths.above(item[0].entry)):
                folder = self._files.folders.take(path)
                try:
                    for place, view in neighbours:
                        if self.record.has(chunk):
                            # It came twice: its file may have its name, so a `.part` file must not be made again.
                            self._record(recorded, chunk)
                            recorded = chunk + 1
                        else:
                            self._write_in(folder, chunk, place, view)
                        chunk += 1
                finally:
                    self._files.folders.give(path)
        except OSError as error:
            raise explanation(error, self.folder) from error
        finally:
            self._record(recorded, chunk)
        return chunk - first

    def _record(self, first: int, end: int) -> None:
        if first < end:
            self.record.add(first, end - first)

    def _write_in(self, folder: int, chunk: int, place: ChunkPlace, view: memoryview) -> None:
        entry = place.entry
        item = self.layout.manifest.entries[entry]
        flags = posix.SAFELY | os.O_WRONLY | (0 if entry in self._begun else os.O_CREAT)
        try:
            descriptor = os.open(self._files.paths.part_name(entry), flags, self._files.mode, dir_fd=folder)
        except FileNotFoundError:
            if entry not in self._begun:
                raise
            raise self._meddled(entry) from None
        try:
            zeros = not view[0] and holes.is_zeros(self.layout.hash(chunk), place.size)
            if not (zeros and holes.leave(descriptor, place.offset, place.size)):
                written = os.pwrite(descriptor, view, place.offset)
                while written < place.size:
                    written += os.pwrite(descriptor, view[written:], place.offset + written)
            if place.size == item.size:
                self._stamps[entry] = self._finish(descriptor, entry, item)
            else:
                self._begun.add(entry)
        finally:
            os.close(descriptor)

    @property
    def held(self) -> int:
        """The chunks that are verified and written, as a bitmap."""
        return self.record.have

    @contextmanager
    def reading(self, entry: int) -> Iterator[tuple[int, Stamp | None]]:
        """Opens the entry's file, in place or not. Gives its descriptor, and the stamp it must have, if any."""
        with ExitStack() as stack:
            with self._naming:
                stamp = self.placed.get(entry)
                opened = (
                    self._files.part(entry, os.O_RDONLY) if stamp is None else self._files.final(entry, os.O_RDONLY)
                )
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

    # Links, once all files are in place: call this in a thread.

    def make_links(self) -> int:
        """Makes the share's symbolic links, but those whose target is not there. Returns how many it left out.

        Also left out is what would make programs run something by its name, unless the user trusts the names.
        """
        links, left_out = self.layout.manifest.links, 0
        if not links:
            return 0
        resolving = Links(self.layout.manifest.entries, links)
        with explained(self.folder):
            for link in links:
                left_out += not self._make_link(link, resolving.resolve(link))
        return left_out

    def _make_link(self, link: LinkEntry, leads_to: NamePath | None) -> bool:
        paths = self._files.paths
        where, target = paths.below(link.path), "/".join(link.target)
        if leads_to is None or not self._is_there(real := paths.below(leads_to)):
            return False
        if self._told is not None and not self._told.trusted and any(names.runs(name, None) for name in where[1:]):
            return False
        if paths.changes:
            target = os.path.relpath("/".join(real), "/".join(where[:-1]))
        with self._files.folders.taken(where[:-1]) as folder:
            try:
                os.symlink(target, where[-1], dir_fd=folder)
            except FileExistsError:
                if not _is_link_to(target, where[-1], folder):
                    raise refusal([self.folder.joinpath(*where)]) from None
        return True

    def _is_there(self, path: NamePath) -> bool:
        try:
            with posix.existing(self._files.folders.root, path[:-1]) as folder:
                return not stat.S_ISLNK(os.stat(path[-1], dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return False

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
            self._rename_all(whole)

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
                        self._files.copy(original, self.placed[original], copy)
                        filled.append(copy)
            self._sync(filled)
            self._rename_all(filled)
            for copy in filled:
                copied |= bitmap.span(*self.layout.range_of(copy))
        return copied

    def _sync(self, entries: Sequence[int]) -> None:
        if len(entries) > _FEW_FILES:
            with self._files.folders.taken(()) as folder:
                posix.sync_file_system(folder)
            return
        for entry in entries:
            with suppress(FileNotFoundError), self._files.part(entry, os.O_RDONLY) as descriptor:
                os.fsync(descriptor)

    def _rename_all(self, entries: Iterable[int]) -> None:
        """Gives `.part` files their names. Neighbours mostly share a folder, which is then opened once."""
        for above, neighbours in groupby(entries, self._files.paths.above):
            with self._files.folders.taken(above) as folder:
                for entry in neighbours:
                    self._rename(entry, folder)

    def _rename(self, entry: int, folder: int) -> None:
        part, tries = self._files.paths.part_name(entry), 0
        stamp = self._stamps.pop(entry, None)
        if stamp is None:
            with self._files.part(entry, os.O_RDWR) as descriptor:
                stamp = self._finish(descriptor, entry, self.layout.manifest.entries[entry])
        with self._naming:
            while entry not in self.placed:
                name = self._files.paths.name(entry)
                replaces = self._in_the_way.overwrite or self._in_the_way.is_left(entry, folder)
                try:
                    if replaces:
                        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
                    else:
                        posix.rename_new(part, name, folder)
                except OSError as error:
                    # What may be replaced may still be held fast: immutable, in use, or a mount of its own.
                    kept = error.errno in _HELD_FAST if replaces else isinstance(error, FileExistsError)
                    if kept and self._in_the_way.beside and tries < MAX_BESIDE:
                        self._files.paths.put_beside(self._files.paths.shared(entry), tries)
                        tries += 1
                        continue
                    if replaces or not kept:
                        raise
                    raise TargetExists(
                        f"{self.path(entry)} appeared or changed while it was fetched. "
                        "Move it away and run the same command again."
                    ) from None
                # Renaming has changed the ctime; but what another program has changed must not pass for ours.
                moved = Stamp.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
                self.placed[entry] = moved if moved.resembles(stamp) else stamp
        if tries:
            self.record.keep_names(self.renames)

    def still_same(self, entry: int, seen: Stamp | None, check: Callable[[], None]) -> bool:
        """Whether the entry's file, which does not have the stamp `seen`, was only touched. Then it has a new stamp."""
        stamp = self.placed.get(entry)
        if stamp is None or stamp != seen:
            return stamp is not None
        try:
            with self._files.final(entry, os.O_RDONLY) as descriptor:
                found = Stamp.of(os.fstat(descriptor))
                same = found.may_be(stamp) and content.is_same(descriptor, self.layout, entry, check)
                if same and found.fits(os.fstat(descriptor)):
                    self.placed[entry] = found
                    return True
        except OSError:
            pass
        return False

    def _finish(self, descriptor: int, entry: int, item: Entry) -> Stamp:
        """Gives a whole `.part` file its size, mode and time. Returns its stamp.

        Raises StorageError if it is too short.
        """
        status = os.fstat(descriptor)
        if status.st_size < item.size:
            raise self._meddled(entry)
        if status.st_size > item.size:
            os.ftruncate(descriptor, item.size)
        elif not item.executable and not isinstance(item, TimedEntry):
            return Stamp.of(status)
        self._files.make_executable(descriptor, entry)
        self._files.set_time(descriptor, entry)
        return Stamp.of(os.fstat(descriptor))

    def _meddled(self, entry: int) -> StorageError:
        """Records that none of the chunks of a file that was tampered with is there. Returns the error to raise."""
        self.record.correct(gone=bitmap.span(*self.layout.range_of(entry)))
        return StorageError(
            f"The unfinished {self.path(entry)} was removed or cut short by another program. "
            "Run the same command again: what was fetched of other files is kept."
        )


def _is_link_to(target: str, name: str, folder: int) -> bool:
    try:
        return os.readlink(name, dir_fd=folder) == target
    except OSError:
        return False
