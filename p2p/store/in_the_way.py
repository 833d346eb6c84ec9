"""What is in the way of a fetch: which files it may replace, what becomes of the others, and whether the folder that it
is to write is one that it has made.
"""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from p2p.core.shares import local_names
from p2p.core.shares.local_names import Told
from p2p.errors import TargetExists
from p2p.store.fetches import FetchRecord
from p2p.store.previous_version import Earlier
from p2p.store.target_files import TargetFiles

MAX_BESIDE = 100
"""The most names that are tried for a file that goes beside another."""


class InTheWay:
    """Decides about files that are in the place of others.

    With `overwrite`, all regular files may be replaced; otherwise those of `earlier` that nobody has changed. With
    `beside`, a file goes beside one that may not be replaced, under another name.
    """

    def __init__(self, files: TargetFiles, earlier: Earlier | None, *, overwrite: bool, beside: bool) -> None:
        self._files = files
        self._earlier = earlier
        self.overwrite = overwrite
        self.beside = beside

    def claim(self, record: FetchRecord, told: Told) -> bool:
        """Makes the share's folder. Returns False if it is there, and was made for this share or its mutable link.

        Raises TargetExists if it was not, unless the user allows it. With `beside`, the share goes beside a file.
        Raises OSError.
        """
        paths, root, earlier = self._files.paths, self._files.folders.root, self._earlier
        for number in range(MAX_BESIDE):
            (name,) = paths.top_parts
            try:
                status = os.stat(name, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                record.begin_top(name, told.follows)
                try:
                    os.mkdir(name, dir_fd=root)
                except FileExistsError:
                    continue  # another fetch was first
                record.keep_top(name, told.follows, is_new=True)
                return True
            if stat.S_ISDIR(status.st_mode):
                break
            if not self.beside:
                raise TargetExists(f"{paths.top} leads through a link or a file. Move it away or choose another --out.")
            paths.put_beside(paths.top_path, number)
            record.keep_names(paths.changes)
        else:
            raise TargetExists(f"{paths.top} and the names before it are taken. Move them away.")
        # A link may have changed its name since; what an immutable share was called, it is called.
        unnamed = name == paths.top_path[0]
        if told.follows:
            unnamed = earlier is not None and earlier.top == paths.top
        made = record.has_made(name, told.follows, maybe_unnamed=unnamed)
        if made or (made is None and not os.listdir(paths.top)):
            record.keep_top(name, told.follows, is_new=False)
        elif not told.into_existing:
            raise TargetExists(
                f"{paths.top} was there before, and was not made by fetching this. "
                "Choose another --out or, if the files shall go into it all the same, add --into-existing."
            )
        return False

    def may_replace(self, entry: int, status: os.stat_result) -> bool:
        """Whether a different file in the entry's place may be replaced."""
        return stat.S_ISREG(status.st_mode) and (self.overwrite or self._left(entry, status))

    def is_left(self, entry: int, folder: int) -> bool:
        """Whether the file in the entry's place, in this open folder, is an earlier version's, and has not changed."""
        if self._earlier is None:
            return False
        try:
            status = os.stat(self._files.paths.name(entry), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return self._left(entry, status)

    def _left(self, entry: int, status: os.stat_result) -> bool:
        return self._earlier is not None and self._earlier.left(self._files.paths.path(entry), status)

    def step_aside(self, entry: int, check: Callable[[], None]) -> os.stat_result | None:
        """Gives the entry another name, and its `.part` file too. Raises TargetExists if there is none.

        Returns the status of a file that already has that name and may be replaced; None if there is none.
        """
        before = self._files.paths.part_name(entry)
        for number in range(MAX_BESIDE):
            check()
            self._files.paths.put_beside(self._files.paths.shared(entry), number)
            status = self._files.status(entry, part=False)
            if status is None or self.may_replace(entry, status):
                break
        else:
            raise TargetExists(f"{self._files.paths.path(entry)} and the names before it are taken. Move them away.")
        with self._files.folder_of(entry) as folder, suppress(FileNotFoundError):  # nothing of it may have come yet
            os.rename(before, self._files.paths.part_name(entry), src_dir_fd=folder, dst_dir_fd=folder)
        return status

    def folders_step_aside(self, entries: Iterable[int]) -> bool:
        """Gives other names to folders in whose place is a file or a link. Returns whether there were any.

        Raises OSError, and TargetExists if no name is left.
        """
        paths, moved = self._files.paths, False
        for path in paths.folders(entries):
            for number in range(MAX_BESIDE):
                parts = local_names.renamed(path, paths.changes)
                with self._files.folders.taken(parts[:-1]) as above:
                    try:
                        mode = os.stat(parts[-1], dir_fd=above, follow_symlinks=False).st_mode
                    except FileNotFoundError:
                        break
                if stat.S_ISDIR(mode):
                    break
                paths.put_beside(path, number)
                moved = True
            else:
                raise TargetExists(
                    f"{paths.folder.joinpath(*parts)} and the names before it are taken. Move them away."
                )
        return moved


def refusal(paths: Sequence[Path]) -> TargetExists:
    """The error for files that are in the way."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return TargetExists(
        f"{paths[0]}{more} exists and is a different file. "
        "Move it away, choose another --out, or replace it with --overwrite."
    )
