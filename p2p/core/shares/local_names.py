"""The names that the files of a share get where they cannot have those of the share.

`renames` is a pure function of the paths of the share, the rule of the disk, and what the user was told and allows. It
changes no name that may stay, never gives two paths the same name (as the disk compares names), and leaves names alone
that it has made.
"""

import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property

import msgspec

from p2p.core.shares import names
from p2p.ids import H, to_text

MAX_BYTES = 255
MIN_BYTES = 12
"""No disk is taken to hold only shorter names than these: a hash has no room in them."""
HASH_CHARS = 8
ALWAYS_HELD = "-_~abcdefghijklmnopqrstuvwxyz234567"
"""What a new name may be made of, besides the characters of the old one that the disk holds."""

Renames = dict[names.Path, str]
"""The new last name of files and folders that cannot have that of the share, by their path in the share."""


class Told(msgspec.Struct, frozen=True):
    """What the user of a fetch was told of the names that it writes, and what the user allows."""

    top: str
    """The name of the share's file or folder: as the link says or, if it says none, the share."""
    trusted: bool = False
    """Whether names stay that are in `names.RUNNING`."""
    into_existing: bool = False
    """Whether the share may go into a folder that is there already and was not made for it."""
    follows: bytes = b""
    """The mutable link that led to the share: its publisher and its name; empty if none did."""

    def runs(self, name: str, siblings: Container[str]) -> bool:
        """Whether a name runs beside these of the share, and those that may be there: of a version before, say."""
        return names.runs(name, None if self.follows or self.into_existing else siblings)


class DiskRule(msgspec.Struct, frozen=True, dict=True):
    """Which names a disk holds, as far as a share asks for them."""

    max_bytes: int = MAX_BYTES
    refused: str = ""
    """The characters, of those that the share's names have, that no name may have."""
    ascii_only: bool = False
    """Whether it refuses all characters beyond ASCII."""
    refused_ends: str = ""
    """The characters with which no name may end."""
    refused_stems: tuple[str, ...] = ()
    """Names of devices, such as `nul`, that no file may have, whatever its suffix; in lower case."""
    folds_case: bool = False
    """Whether names that differ only in case are the same file."""
    folds_forms: bool = False
    """Whether names that differ only in Unicode form are the same file."""

    @cached_property
    def _refused(self) -> frozenset[str]:
        return frozenset(self.refused) - frozenset(ALWAYS_HELD)

    def key(self, name: str) -> str:
        """What is equal for two names exactly if the disk may take them for the same."""
        if self.folds_case or self.folds_forms:
            name = unicodedata.normalize("NFD", name)
        if self.folds_case:
            # Some disks ignore characters that cannot be seen, too.
            name = "".join(c for c in name if unicodedata.category(c) != "Cf") if not name.isascii() else name
            name = unicodedata.normalize("NFD", name.casefold())
        return name

    def holds(self, name: str) -> bool:
        """Whether a file may have this name, if no other has it."""
        return (
            len(name.encode()) <= self.max_bytes
            and (not self.refused or self._refused.isdisjoint(name))
            and not (self.ascii_only and not name.isascii())
            and name[-1] not in self.refused_ends
            and not self._is_device(name)
        )

    def cleaned(self, name: str) -> str:
        """The name with what the disk does not hold replaced; it may still be too long."""
        new = "".join("_" if self._refuses(c) else c for c in name)
        kept = new.rstrip(self.refused_ends) if self.refused_ends else new
        new = kept + "_" * (len(new) - len(kept))
        return f"_{new}" if self._is_device(new) else new

    def _refuses(self, char: str) -> bool:
        return char in self._refused or (self.ascii_only and not char.isascii())

    def _is_device(self, name: str) -> bool:
        return bool(self.refused_stems) and stem_of(name) in self.refused_stems


def stem_of(name: str) -> str:
    """What decides whether a name is that of a device: what is before the first dot, in lower case."""
    return name.partition(".")[0].rstrip(" ").casefold()


def steps(paths: Iterable[names.Path]) -> Iterator[tuple[names.Path, int]]:
    """Each file and folder of these paths, as a path and the depth of its name in it.

    A folder comes only once, if the paths in it come one after another.
    """
    previous: names.Path = ()
    for path in paths:
        depth = 0
        if path[:-1] == previous[:-1]:
            depth = len(path) - 1
        while depth < len(previous) and depth < len(path) and path[depth] == previous[depth]:
            depth += 1
        for below in range(depth, len(path)):
            yield path, below
        previous = path


def renames(paths: Iterable[names.Path], rule: DiskRule, told: Told | None = None) -> Renames:
    """The names to change for a share with these paths, so that the disk holds all, each under a name of its own.

    With `told`, the share's file or folder gets the name that the user was told, and names in `names.RUNNING` others.
    The paths are gone through more than once.
    """
    top, guard = (None, None) if told is None else (told.top, None if told.trusted else told)
    folders: set[names.Path] | None = None
    if not (rule.folds_case or rule.folds_forms):
        # Only the folders with such names are looked at further: all names at once would take much memory.
        folders = {
            path[:depth]
            for path, depth in steps(paths)
            if not rule.holds(path[depth]) or (guard and names.running(path[depth]))
        }
        if top is not None and top != next(iter(paths))[0]:
            folders.add(())
        if not folders:
            return {}
    result: Renames = {}
    for parent, children in _tree(paths, folders).items():
        taken: set[str] = set()
        later: list[tuple[str, str]] = []
        for name in children:
            wanted = name if parent or top is None else top
            key = rule.key(wanted)
            # What is beside the share's own file or folder is not known: other shares may be.
            if guard and (guard.runs(wanted, children) if parent else names.runs(wanted, None)):
                later.append((name, names.harmless(wanted)))
            elif not rule.holds(wanted) or key in taken:
                later.append((name, wanted))
            else:
                taken.add(key)
                if wanted != name:
                    result[*parent, name] = wanted
        for name, wanted in later:
            new = rule.cleaned(wanted)
            number = 0
            while not rule.holds(new) or rule.key(new) in taken or (guard and names.running(new)):
                new = _with_hash(rule, (*parent, name), wanted, number)
                number += 1
            taken.add(rule.key(new))
            result[*parent, name] = new
    return result


def running(paths: Iterable[names.Path], told: Told) -> list[names.Path]:
    """The paths of files and folders, in a share with these paths, whose names are in `names.RUNNING`.

    The paths are gone through more than once.
    """
    folders = {path[:depth] for path, depth in steps(paths) if names.running(path[depth])}
    tree = _tree(paths, folders).items() if folders else ()
    return [(*parent, name) for parent, children in tree for name in children if told.runs(name, children)]


def renamed(path: names.Path, changes: Mapping[names.Path, str]) -> names.Path:
    """The path under which a path of the share is on the disk."""
    if not changes:
        return path
    return tuple(changes.get(path[: depth + 1], name) for depth, name in enumerate(path))


def beside(name: str, number: int, max_bytes: int = MAX_BYTES) -> str:
    """The name for the newest version of a file beside one that the user has changed; `number` counts the tries."""
    stem, suffix = _parts(name, max_bytes)
    return _joined(stem, " (newest)" if not number else f" (newest {number + 1})", suffix, max_bytes)


def _tree(paths: Iterable[names.Path], folders: set[names.Path] | None) -> dict[names.Path, dict[str, None]]:
    """The names in each of these folders, or in all if they are None, in the order of the paths."""
    tree: dict[names.Path, dict[str, None]] = {}
    for path in paths:
        for depth in range(len(path) - 1, -1, -1):
            parent = path[:depth]
            if folders is not None and parent not in folders:
                continue
            children = tree.setdefault(parent, {})
            if path[depth] in children:
                break  # and so are all folders above
            children[path[depth]] = None
    return tree


def _with_hash(rule: DiskRule, path: names.Path, wanted: str, number: int) -> str:
    hashed = to_text(H("local name", number.to_bytes(8, "big"), "/".join(path).encode()))[:HASH_CHARS]
    stem, suffix = _parts(rule.cleaned(wanted), rule.max_bytes)
    return _joined(stem, f"~{hashed}", suffix, rule.max_bytes)


def _parts(name: str, max_bytes: int) -> tuple[str, str]:
    """A name cut before its suffix, if it has one that people would miss."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) + 1 > min(16, max_bytes - HASH_CHARS - 1):
        return name, ""
    return stem, dot + suffix


def _joined(stem: str, added: str, suffix: str, max_bytes: int) -> str:
    room = max_bytes - len((added + suffix).encode())
    cut = stem.encode()[: max(room, 0)].decode(errors="ignore")
    return cut + added + suffix
