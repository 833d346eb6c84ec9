"""Indexing: makes manifest entries from paths; several threads hash the files, which stay where they are.

Big files are cut into spans so that all threads can work on one file; small files go to one thread each. A file whose
stamp has not changed since an earlier manifest of the same paths keeps its hashes and is not read. A file that changes
while it is read is read again; after three reads, it is skipped.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from p2p import causes, homes
from p2p.core.shares import links as share_links
from p2p.core.shares import names
from p2p.core.shares.links import LinkEntry
from p2p.core.shares.manifest import (
    MAX_TIME_NS,
    MIN_TIME_NS,
    Entry,
    EntryKind,
    TimedEntry,
    chunk_bytes,
    chunk_count,
    hash_chunk,
)
from p2p.errors import ConfigError, StorageError
from p2p.ignore import Ignore, read_ignore_file
from p2p.paths import PathKind, kind_of
from p2p.store import posix
from p2p.store.stamps import NOT_HELD, Stamp

_LEADS_OUT = "it is a symbolic link that does not lead to another file or folder of the share"
SPAN_BYTES = 32 * 1024 * 1024
MAX_READS = 3
MAX_WARNINGS = 100
MAX_SKIPPED_NAMED = 1000
_SIZELESS = "its system gives it no size, as in /proc, so it cannot be shared; copy it"
"""The most skipped files that are remembered by name."""


@dataclass(slots=True)
class FoundFile:
    """A file or empty folder on disk, with its path in the share."""

    path: names.Path
    where: str
    stamp: Stamp = NOT_HELD
    executable: bool = False
    folder: bool = False
    modified_ns: int = 0
    hashes: list[bytes] = field(default_factory=list)
    changed: bool = False
    skipped: bool = False
    """Whether the file is left out of the share because it cannot be read, or is gone."""

    def entry(self, *, times: bool) -> Entry:
        kind = EntryKind.FOLDER if self.folder else EntryKind.FILE
        hashes = b"".join(self.hashes)
        if not times:
            return Entry(kind, self.path, self.stamp.size, self.executable, hashes)
        modified_ns = min(max(self.modified_ns, MIN_TIME_NS), MAX_TIME_NS)
        return TimedEntry(kind, self.path, self.stamp.size, self.executable, hashes, modified_ns=modified_ns)


Known = dict[names.Path, tuple[Stamp, bytes]]
"""The stamps and hashes of an earlier manifest of the same paths."""


class Indexer:
    """Indexes paths once: first call `walk`, in one thread; then `work`, in any number of threads; then `finish`.

    The counters may be read in any thread at any time.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        known: Known,
        exclude: Sequence[str] = (),
        *,
        times: bool = False,
        links: bool = False,
        homes_too: bool = False,
    ) -> None:
        """`exclude` are patterns, as for `Ignore`, that hold in each of the paths, after its own `.shoalignore`.

        `times`: whether the entries have modification times. `links`: whether symbolic links within a folder are kept,
        rather than skipped. Unless `homes_too`, peers' homes are refused.
        """
        self.paths = paths
        self.single = len(paths) == 1 and kind_of(paths[0]) is PathKind.FILE
        self._known = known
        self._exclude = exclude
        self._times = times
        self._homes_too = homes_too
        self._keep_links = links
        self._links: dict[names.Path, tuple[LinkEntry, str]] = {}
        """Links that may be kept, by their paths, and where they are."""
        self._found: list[FoundFile] = []
        self._lock = threading.Lock()
        self._reads = 1
        self._spans: Iterator[tuple[FoundFile, int, int]] = iter(())
        self.warnings: list[str] = []
        self.skipped = 0
        self.skipped_files: list[tuple[str, str]] = []
        """The first of the skipped files, with their paths made readable, and why they were skipped."""
        self.left_out = 0
        """How many files and folders were left out because a pattern says so."""
        self.files = 0
        self.bytes_total = 0
        self.bytes_done = 0
        self.bytes_reused = 0

    def walk(self, check: Callable[[], None]) -> None:
        """Finds the files. `check` is called now and then, and may raise to stop the walk. Raises ConfigError."""
        if len({path.name for path in self.paths}) != len(self.paths):
            raise ConfigError("Two of these paths have the same name. Share them one by one.")
        for path in self.paths:
            if kind_of(path) is PathKind.FOLDER:
                ignore = Ignore([*read_ignore_file(path), *self._exclude])
                self._walk_folder(path, () if len(self.paths) == 1 else (path.name,), ignore, check)
            elif Ignore(self._exclude).leaves_out((path.name,)):
                self.left_out += 1
            else:
                self._file((path.name,), str(path), path.lstat)
        self._found.sort(key=lambda found: found.path)
        self._warn_of_doubtful_names()
        self._spans = self._cut()

    def work(self, check: Callable[[], None]) -> None:
        """Hashes spans until none is left."""
        buffer = memoryview(bytearray(0))
        while True:
            check()
            with self._lock:
                span = next(self._spans, None)
            if span is None:
                return
            found, first, count = span
            size = min(chunk_bytes(found.stamp.size), found.stamp.size)
            if len(buffer) < size:
                buffer = memoryview(bytearray(size))
            self._hash(found, first, count, buffer, check)

    def retry(self) -> bool:
        """Whether files changed while they were read. If so, `work` must read them again, up to MAX_READS times."""
        moved = [found for found in self._found if found.changed and not found.skipped]
        for found in moved:
            try:
                status = os.lstat(found.where)
            except OSError as error:
                self._skip(found, _reason(error))
                continue
            if not stat.S_ISREG(status.st_mode):
                self._skip(found, "it is not a regular file")
            elif self._reads < MAX_READS:
                self.bytes_total += status.st_size
                found.stamp, found.modified_ns = Stamp.of(status), status.st_mtime_ns
                found.executable = bool(status.st_mode & stat.S_IXUSR)
                found.hashes = []
                found.changed = False
        again = [found for found in moved if not found.changed and not found.skipped]
        self._reads += 1
        self._spans = self._cut(again)
        return bool(again)

    def finish(self, *, need_all: bool = False) -> tuple[list[Entry], list[Stamp]]:
        """Returns the entries, sorted by path, and their stamps. Skips files that kept changing.

        With `need_all`, raises StorageError for these.
        """
        for found in self._found:
            if found.changed and not found.skipped:
                if need_all:
                    raise StorageError(f"{found.where} keeps changing. Share it once it no longer does.")
                self._skip(found, "it keeps changing while it is read" if found.stamp.size else _SIZELESS)
        kept = [found for found in self._found if not found.skipped]
        for found in kept if self._times else ():
            if not MIN_TIME_NS <= found.modified_ns <= MAX_TIME_NS:
                self._note(f"{found.where} has a time that shares cannot hold (1677 to 2262): it gets the nearest one")
        return [found.entry(times=self._times) for found in kept], [found.stamp for found in kept]

    def _walk_folder(self, top: Path, prefix: names.Path, ignore: Ignore, check: Callable[[], None]) -> None:
        pending: list[tuple[str, names.Path]] = [(str(top), prefix)]
        while pending:
            check()
            where, parts = pending.pop()
            try:
                with os.scandir(where) as listing:
                    items = list(listing)
                modified_ns = 0 if items else os.lstat(where).st_mtime_ns
            except OSError as error:
                self._warn(where, _reason(error))
                continue
            if not self._homes_too:
                homes.refuse_folder(Path(where), {item.name for item in items})
            if not items and parts:
                if reason := names.path_refusal(parts):
                    self._warn(where, f"its path {reason}")
                else:
                    self._found.append(FoundFile(parts, where, folder=True, modified_ns=modified_ns))
            for item in items:
                folder = item.is_dir(follow_symlinks=False)
                if ignore.leaves_out((*parts[len(prefix) :], item.name), folder=folder):
                    self.left_out += 1
                    continue
                reason = names.refusal(item.name)
                if reason:
                    self._warn(item.path, f"its name {reason}")
                elif item.is_symlink():
                    self._link((*parts, item.name), item.path)
                elif folder:
                    pending.append((item.path, (*parts, item.name)))
                else:
                    self._file((*parts, item.name), item.path, partial(item.stat, follow_symlinks=False))

    def _link(self, path: names.Path, where: str) -> None:
        if not self._keep_links:
            self._warn(where, "it is a symbolic link")
            return
        try:
            target = share_links.target_of(os.readlink(where))
        except OSError as error:
            self._warn(where, _reason(error))
            return
        if target is None or names.path_refusal(path):
            self._warn(where, _LEADS_OUT)
        elif len(self._links) >= share_links.MAX_LINKS:
            self._warn(where, f"a share has at most {share_links.MAX_LINKS:,} symbolic links")
        else:
            self._links[path] = LinkEntry(share_links.LINK, path, target), where

    def links(self, entries: Sequence[Entry]) -> list[LinkEntry]:
        """The links that lead to one of these entries, in order. The others are skipped."""
        kept, left = share_links.usable(entries, [link for link, _ in self._links.values()])
        for link in left:
            self._warn(self._links[link.path][1], _LEADS_OUT)
        return kept

    def _file(self, path: names.Path, where: str, look: Callable[[], os.stat_result]) -> None:
        try:
            status = look()
        except OSError as error:
            self._warn(where, _reason(error))
            return
        reason = names.path_refusal(path)
        if reason:
            self._warn(where, f"its path {reason}")
        elif names.is_part(path[-1]):
            self._warn(where, "it is the unfinished file of a fetch")
        elif not stat.S_ISREG(status.st_mode):
            self._warn(where, "it is not a regular file")
        else:
            executable = bool(status.st_mode & stat.S_IXUSR)
            self._found.append(FoundFile(path, where, Stamp.of(status), executable, modified_ns=status.st_mtime_ns))
            self.files += 1
            self.bytes_total += status.st_size

    def _cut(self, among: Sequence[FoundFile] | None = None) -> Iterator[tuple[FoundFile, int, int]]:
        for found in self._found if among is None else among:
            size = found.stamp.size
            if found.folder:
                continue
            known = self._known.get(found.path)
            if known is not None and known[0] == found.stamp:
                found.hashes = [known[1]]
                self.bytes_done += size
                self.bytes_reused += size
                continue
            if not size:
                yield found, 0, 0
                continue
            chunks = chunk_count(size)
            each = max(1, SPAN_BYTES // chunk_bytes(size))
            found.hashes = [b""] * chunks
            for first in range(0, chunks, each):
                yield found, first, min(each, chunks - first)

    def _hash(self, found: FoundFile, first: int, count: int, buffer: memoryview, check: Callable[[], None]) -> None:
        if found.changed or found.skipped:
            return
        try:
            self._read(found, first, count, buffer, check)
        except FileNotFoundError:
            found.changed = True
        except OSError as error:
            self._skip(found, _reason(error))

    def _read(self, found: FoundFile, first: int, count: int, buffer: memoryview, check: Callable[[], None]) -> None:
        with posix.opened(found.where, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            if not count and os.pread(descriptor, 1, 0):
                found.changed = True
            each = chunk_bytes(found.stamp.size) if count else 0
            for chunk in range(first, first + count):
                check()
                size = min(each, found.stamp.size - chunk * each)
                view = buffer[:size]
                if os.preadv(descriptor, [view], chunk * each) != size:
                    found.changed = True
                    return
                found.hashes[chunk] = hash_chunk(view)
                self.bytes_done += size
            if Stamp.of(os.fstat(descriptor)) != found.stamp:
                found.changed = True

    def _skip(self, found: FoundFile, why: str) -> None:
        with self._lock:
            first = not found.skipped
            found.skipped = True
        if first:
            self._warn(found.where, why)

    def _warn(self, where: str, why: str) -> None:
        self.skipped += 1
        if len(self.skipped_files) < MAX_SKIPPED_NAMED:
            self.skipped_files.append((_readable(where), why))
        self._note(f"skipped {where}: {why}")

    def _note(self, text: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(_readable(text))

    def _warn_of_doubtful_names(self) -> None:
        for found in self._found:
            for name in found.path:
                reason = names.doubt(name)
                if reason:
                    self._note(f"{name} {reason}")
        for one, other in names.case_clashes(found.path for found in self._found):
            self._note(f"{'/'.join(one)} and {'/'.join(other)} differ only in case or Unicode form")


def _readable(text: str) -> str:
    """The text with bytes that are not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _reason(error: OSError) -> str:
    return "it is gone" if isinstance(error, FileNotFoundError) else causes.what(error)
