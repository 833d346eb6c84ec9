"""What is already there when a fetch begins: files in place, `.part` files of an earlier try, files in the way.

And folders in which this user may make nothing.
"""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from p2p.core.shares import bitmap, names
from p2p.store import posix
from p2p.store.stamps import Stamp
from p2p.store.target_files import TargetFiles


@dataclass
class Found:
    """The outcome of a survey; entries are given by their indexes."""

    have: int
    """The chunks that are there, as a bitmap."""
    placed: dict[int, Stamp] = field(default_factory=dict)
    """The stamps of the files that are in place."""
    begun: set[int] = field(default_factory=set)
    """Files whose `.part` file has some of their chunks."""
    in_the_way: list[int] = field(default_factory=list)
    """Entries in whose place is something else, which may not be replaced."""


def survey(
    files: TargetFiles,
    entries: Iterable[int],
    have: int,
    may_replace: Callable[[int, os.stat_result], bool],
    check: Callable[[], None],
) -> Found:
    """Examines these entries, of which the chunks in `have` were written. Blocks. Raises OSError, StorageError.

    A file in the way that equals the wanted one counts as fetched.
    """
    found = Found(have)
    layout = files.paths.layout
    for entry in entries:
        check()
        chunks = bitmap.span(*layout.range_of(entry))
        if not chunks:
            continue
        status = files.status(entry, part=False)
        part = files.status(entry, part=True)
        complete = found.have & chunks == chunks
        size = layout.manifest.entries[entry].size
        if found.have & chunks and part is not None and stat.S_ISREG(part.st_mode):
            last = layout.place((found.have & chunks).bit_length() - 1)
            if part.st_size >= last.offset + last.size:
                found.begun.add(entry)
            else:
                # Another program cut the file short, or made a new one.
                found.have &= ~chunks
                complete = False
        if status is None:
            if part is None or not stat.S_ISREG(part.st_mode):
                found.have &= ~chunks
        elif (
            stat.S_ISREG(status.st_mode)
            and status.st_size == size
            and ((complete and part is None) or files.equal(entry, check))
        ):
            found.have |= chunks
            found.placed[entry] = Stamp.of(files.set_time_in_place(entry, status, may_replace))
            if part is not None and stat.S_ISREG(part.st_mode):
                with files.folder_of(entry) as folder:
                    os.unlink(files.paths.part_name(entry), dir_fd=folder)
        elif not may_replace(entry, status):
            found.in_the_way.append(entry)
        elif part is None:
            found.have &= ~chunks
    return found


def out_of_reach(files: TargetFiles, entries: Iterable[int]) -> dict[int, names.Path]:
    """The entries that are not there and cannot be made, each with the folder in which this user may make nothing.

    The share's own folder does not count: without it, nothing could be fetched. Blocks. Raises OSError.
    """
    paths = files.paths
    if posix.may_make(files.folders.root, paths.top_parts) is None:
        return {}
    found: dict[int, names.Path] = {}
    known: dict[names.Path, names.Path] = {}
    for entry in entries:
        above = paths.above(entry)
        if above not in known:
            known[above] = _first_closed(files, above)
        if known[above] and not _is_there(files, entry):
            found[entry] = known[above]
    return found


def _first_closed(files: TargetFiles, path: names.Path) -> names.Path:
    """The topmost folder of this path that is closed to this user; empty if there is none."""
    for depth in range(len(files.paths.top_parts) + 1, len(path) + 1):
        open_to_user = posix.may_make(files.folders.root, path[:depth])
        if open_to_user is None:
            break
        if not open_to_user:
            return path[:depth]
    return ()


def _is_there(files: TargetFiles, entry: int) -> bool:
    try:
        with posix.existing(files.folders.root, files.paths.above(entry)) as folder:
            os.stat(files.paths.name(entry), dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
