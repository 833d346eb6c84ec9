"""Lists the files of an environment's folders, with where each goes in the pack, and what stays at home."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from p2p.core.shares import names
from p2p.environments import omissions, trees
from p2p.environments.omissions import Verdict
from p2p.environments.trees import Tree
from p2p.errors import ConfigError

MAX_NAMED = 10
"""How many doubtful files an error names."""


class Item(NamedTuple):
    """A file of the pack: where it is on this machine, links followed, and what `stat` says of it."""

    source: str
    executable: bool
    stamp: tuple[int, int, int, int]
    told: str = ""
    """Its name, if what it holds is copied without the credentials in URLs."""


class LeftOut(msgspec.Struct, frozen=True):
    """Something that stays at home, and why."""

    path: str
    why: str


class Listing:
    """The files of a pack by their places in it, made of one tree after the other."""

    def __init__(self, tops: Sequence[str], include: Sequence[str], check: Callable[[], None]) -> None:
        self._tops = tops
        self._include = include
        self._check = check
        self.items: dict[str, Item] = {}
        self.left_out: dict[str, str] = {}
        self._doubtful: dict[str, str] = {}

    def add_tree(self, tree: Tree) -> None:
        """Adds the files of a folder. Blocks."""
        self._walk(tree.path, tree, (os.path.realpath(tree.path),))

    def add_file(self, source: str, path: str) -> None:
        """Adds a file that is at `source` here, and is seen at `path` inside. Blocks."""
        where = trees.place(path, self._tops)
        if where is None or where in self.items:
            return
        self._take(source, path, where, os.path.basename(path))

    def finish(self) -> None:
        """Sorts what was found. Raises ConfigError for files that look like secrets."""
        if self._doubtful:
            lines = [f"  {path}: {why}" for path, why in sorted(self._doubtful.items())[:MAX_NAMED]]
            if len(self._doubtful) > MAX_NAMED:
                lines.append(f"  and {len(self._doubtful) - MAX_NAMED:,} more")
            raise ConfigError(
                "Members of a cluster read all of an environment, and it has files that may be secret:\n"
                + "\n".join(lines)
                + "\nMove them away, or say by --include NAME that they may go along."
            )
        self.items = dict(sorted(self.items.items()))

    def key(self, more: Iterable[object]) -> str:
        """A digest of what was found, and of `more`: the same as long as nobody changes a file."""
        digest = hashlib.sha256(repr(list(more)).encode())
        for where, item in self.items.items():
            digest.update(repr((where, item)).encode("utf-8", "surrogateescape"))
        digest.update(repr(sorted(self.left_out.items())).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _walk(self, folder: str, tree: Tree, above: tuple[str, ...]) -> None:
        self._check()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.left_out[folder] = f"cannot be read: {error.strerror}"
            return
        for entry in entries:
            if (tree.only is not None and folder == tree.path and entry.name not in tree.only) or (
                entry.path in tree.without
            ):
                continue
            if entry.is_dir():
                self._folder(entry, tree, above)
                continue
            where = trees.place(entry.path, self._tops)
            if where is not None and where not in self.items:
                self._take(entry.path, entry.path, where, entry.name)

    def _folder(self, entry: "os.DirEntry[str]", tree: Tree, above: tuple[str, ...]) -> None:
        if entry.name == "__pycache__":
            return
        if entry.name in omissions.FOLDERS and not omissions.is_included(entry.path, self._include):
            self.left_out[entry.path] = "such folders hold secrets, or a history"
            return
        real = above[-1] + "/" + entry.name
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            if real in above:
                self.left_out[entry.path] = "a link to a folder that it lies in"
                return
            if entry.name == "lib64" and real == os.path.join(above[-1], "lib"):
                return
        self._walk(entry.path, tree, (*above, real))

    def _take(self, source: str, path: str, where: str, name: str) -> None:
        try:
            status = os.stat(source)
        except OSError as error:
            self.left_out[path] = "a link that leads nowhere" if os.path.islink(source) else f"{error.strerror}"
            return
        included = omissions.is_included(path, self._include)
        if not stat.S_ISREG(status.st_mode):
            self.left_out[path] = "no regular file"
            return
        if name.startswith("libpython") and name.endswith(".a"):
            return
        if why := names.path_refusal(tuple(where.split("/"))):
            self.left_out[path] = f"its name {why}"
            return
        if not included:
            verdict, why = omissions.of_name(name)
            if verdict is Verdict.LEFT_OUT or (omissions.may_be_key(name) and _holds_key(source)):
                self.left_out[path] = why or "it holds a private key"
                return
            if verdict is Verdict.DOUBTFUL:
                self._doubtful[path] = why
                return
        told = name if not included and omissions.has_urls(name, os.path.basename(os.path.dirname(path))) else ""
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        self.items[where] = Item(source, bool(status.st_mode & stat.S_IXUSR), stamp, told)


def _holds_key(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return omissions.is_key(file.read(omissions.MAX_KEY_BYTES))
    except OSError:
        return False
