"""Makes sure that a fetched environment is what its manifest says, before programs are started from it.

A file that has the stamp that it had when its content was verified is not read again. Whatever is not in the manifest
is removed: a module that nobody sent would be run like any other.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from p2p.core.shares.layout import Layout
from p2p.environments import sealing
from p2p.store.library import Library, SharedFiles
from p2p.store.stamps import Stamp


def examine(library: Library, files: SharedFiles, top: Path, check: Callable[[], None]) -> bool:
    """Whether all files are as in the manifest; then nobody can write to them. Blocks. Raises OSError."""
    if not files.whole or not top.is_dir() or top.is_symlink():
        return False
    remove_others(top, files.layout, check)
    if not files.are_unchanged(check, set()):
        return False
    sealing.seal(top)
    share = files.layout.manifest.share_id
    stamps = [_stamp(files, entry) for entry in range(len(files.layout.manifest.entries))]
    if stamps != list(library.stamps(share)):
        library.renew_stamps(share, stamps)
    return True


def _stamp(files: SharedFiles, entry: int) -> Stamp:
    """The stamp of an entry after its mode has changed, which changes the ctime and nothing else."""
    before = files.stamp(entry)
    if not files.layout.is_file(entry):
        return before
    found = Stamp.of(os.lstat(files.path(entry)))
    return found if found.resembles(before) else before


def remove_others(top: Path, layout: Layout, check: Callable[[], None]) -> None:
    """Removes what is in a folder and not in the manifest, and links. Raises OSError."""
    wanted = {"/".join(entry.path): entry.is_file for entry in layout.manifest.entries}
    folders = (
        {""} | {path.rpartition("/")[0] for path in wanted} | {path for path, is_file in wanted.items() if not is_file}
    )
    for path in list(folders):
        while path:
            path = path.rpartition("/")[0]
            folders.add(path)
    for where, below, names in os.walk(top):
        check()
        inside = os.path.relpath(where, top)
        prefix = "" if inside == "." else f"{inside}/"
        others = [name for name in names if not wanted.get(prefix + name, False) or _is_odd(f"{where}/{name}")]
        gone = [name for name in below if prefix + name not in folders or os.path.islink(f"{where}/{name}")]
        if others or gone:
            os.chmod(where, 0o700)
        for name in others:
            os.unlink(f"{where}/{name}")
        for name in gone:
            below.remove(name)
            if os.path.islink(f"{where}/{name}"):
                os.unlink(f"{where}/{name}")
            else:
                sealing.remove(Path(where, name))


def _is_odd(path: str) -> bool:
    return not stat.S_ISREG(os.lstat(path).st_mode)
