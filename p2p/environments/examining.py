"""Makes sure that a fetched environment is what its manifest says, before programs are started from it.

A file that has the stamp that it had when its content was verified is not read again. Whatever is not in the manifest
is removed: a module that nobody sent would be run like any other. No link is followed.
"""

import os
import shutil
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
    """Removes what is in a folder and not in the manifest, and makes the links that are missing. Raises OSError."""
    manifest = layout.manifest
    files = {"/".join(entry.path) for entry in manifest.entries if entry.is_file}
    links = {"/".join(link.path): "/".join(link.target) for link in manifest.links}
    paths = [*(entry.path for entry in manifest.entries), *(link.path for link in manifest.links)]
    folders = {"/".join(path[:depth]) for path in paths for depth in range(len(path))}
    folders |= {"/".join(entry.path) for entry in manifest.entries if not entry.is_file}
    for where, below, names in os.walk(top):
        check()
        prefix = "" if where == str(top) else f"{os.path.relpath(where, top)}/"
        for name in [*names, *below]:
            inside, path = prefix + name, f"{where}/{name}"
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode) and links.get(inside) == os.readlink(path):
                del links[inside]
            elif not ((stat.S_ISREG(mode) and inside in files) or (stat.S_ISDIR(mode) and inside in folders)):
                _remove(path, mode)
        below[:] = [name for name in below if prefix + name in folders]
    for inside, target in links.items():
        missing = top / inside
        missing.parent.mkdir(parents=True, exist_ok=True)
        missing.symlink_to(target)


def _remove(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)
