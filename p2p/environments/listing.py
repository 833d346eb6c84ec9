"""Lists the files of an environment's folders, with where each goes in the pack, and what stays at home."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from p2p import causes
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
    """The files of a pack by their places in it, made of one tree after the other.

    A link that leads to something else in the same tree is kept; where it leads elsewhere, what is there is copied.
    """

    def __init__(self, tops: Sequence[str], include: Sequence[str], check: Callable[[], None]) -> None:
        self._tops = tops
        self._include = include
        self._check = check
        self.items: dict[str, Item] = {}
        self.links: dict[str, str] = {}
        """The texts of links, by their places."""
        self.left_out: dict[str, str] = {}
        self._found_links: list[tuple[str, Tree, tuple[str, ...]]] = []
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
        """Sorts what was found, once all links are known. Raises ConfigError for files that look like secrets."""
        self._settle_links()
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
        self.links = dict(sorted(self.links.items()))

    def key(self, more: Iterable[object]) -> str:
        """A digest of what was found, and of `more`: the same as long as nobody changes a file."""
        digest = hashlib.sha256(repr(list(more)).encode())
        for where, item in self.items.items():
            digest.update(repr((where, item)).encode("utf-8", "surrogateescape"))
        digest.update(repr(list(self.links.items())).encode("utf-8", "surrogateescape"))
        digest.update(repr(sorted(self.left_out.items())).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _walk(self, folder: str, tree: Tree, above: tuple[str, ...]) -> None:
        self._check()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.left_out[folder] = f"cannot be read: {causes.what(error)}"
            return
        for entry in entries:
            if (tree.only is not None and folder == tree.path and entry.name not in tree.only) or (
                entry.path in tree.without
            ):
                continue
            if entry.is_symlink():
                self._found_links.append((entry.path, tree, above))
            else:
                self._add(entry.path, tree, above)

    def _add(self, path: str, tree: Tree, above: tuple[str, ...]) -> None:
        """Adds a file or folder, or what a link leads to."""
        name, where = os.path.basename(path), trees.place(path, self._tops)
        if not os.path.isdir(path):
            if where is not None and where not in self.items:
                self._take(path, path, where, name)
            return
        if name == "__pycache__":
            return
        if name in omissions.FOLDERS and not omissions.is_included(path, self._include):
            self.left_out[path] = "such folders hold secrets, or a history"
            return
        real = os.path.realpath(path) if os.path.islink(path) else f"{above[-1]}/{name}"
        if real in above:
            self.left_out[path] = "a link to a folder that it lies in"
            return
        self._walk(path, tree, (*above, real))

    def _settle_links(self) -> None:
        """Decides which links are kept, and copies what the others lead to, in which more may be found."""
        while self._found_links:
            found, self._found_links = self._found_links, []
            folders = {where[:at] for where in self.items for at, one in enumerate(where) if one == "/"}
            waiting = {where: path for path, *_ in found if (where := trees.place(path, self._tops)) is not None}
            texts = {where: text for where, path in waiting.items() if (text := self._text(where, path)) is not None}
            while True:  # a link to a link that is not kept is not kept either
                there = self.items.keys() | folders | self.links.keys() | texts.keys()
                lost = [where for where, text in texts.items() if _leads_to(where, text) not in there]
                if not lost:
                    break
                for where in lost:
                    del texts[where]
            self.links |= {where: text for where, text in texts.items() if where not in self.items}
            for path, tree, above in found:
                if trees.place(path, self._tops) not in texts:
                    self._add(path, tree, above)

    def _text(self, where: str, path: str) -> str | None:
        """What a link at this place says in the pack; None if it leads to another tree, to nothing or around itself."""
        leads_to = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        inside = trees.place(leads_to, self._tops)
        if inside is None or trees.top_of(inside) != trees.top_of(where) or not os.path.exists(path):
            return None
        if trees.is_in(where, inside):
            return None
        return os.path.relpath(inside, os.path.dirname(where))

    def _take(self, source: str, path: str, where: str, name: str) -> None:
        try:
            status = os.stat(source)
        except OSError as error:
            self.left_out[path] = "a link that leads nowhere" if os.path.islink(source) else causes.what(error)
            return
        included = omissions.is_included(path, self._include)
        real = os.path.realpath(source) if os.path.islink(source) else source
        if not stat.S_ISREG(status.st_mode):
            self.left_out[path] = "no regular file"
            return
        if name.startswith("libpython") and name.endswith(".a"):
            return
        if why := names.path_refusal(tuple(where.split("/"))):
            self.left_out[path] = f"its name {why}"
            return
        if not included:
            verdict, why = max((omissions.of_name(name), omissions.of_name(os.path.basename(real))), key=_severity)
            if omissions.FOLDERS & set(os.path.dirname(real).split("/")):
                verdict, why = Verdict.LEFT_OUT, "it leads to a folder of secrets, or a history"
            if verdict is Verdict.LEFT_OUT or (omissions.may_be_key(name) and _holds_key(source)):
                self.left_out[path] = why or "it holds a private key"
                return
            if verdict is Verdict.DOUBTFUL:
                self._doubtful[path] = why
                return
        told = name if not included and omissions.has_urls(name, os.path.basename(os.path.dirname(path))) else ""
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        self.items[where] = Item(source, bool(status.st_mode & stat.S_IXUSR), stamp, told)


def _severity(found: tuple[Verdict, str]) -> int:
    return (Verdict.TAKEN, Verdict.DOUBTFUL, Verdict.LEFT_OUT).index(found[0])


def _leads_to(where: str, text: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(where), text))


def _holds_key(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return omissions.is_key(file.read(omissions.MAX_KEY_BYTES))
    except OSError:
        return False
