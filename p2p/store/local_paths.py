"""Where the files of a share are below an output folder, under the names that the disk holds."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from p2p.core.shares import local_names, names
from p2p.core.shares.layout import Layout
from p2p.core.shares.local_names import Renames
from p2p.errors import BadData, StorageError
from p2p.ids import short

_PART = ".part"
_decoder = msgspec.msgpack.Decoder(list[tuple[names.Path, str]])


class LocalPaths:
    """The path of each entry. `changes` are the names that differ from those in the share; more may come."""

    def __init__(self, layout: Layout, folder: Path, changes: Renames) -> None:
        """Raises BadData if the share's names are meant to harm."""
        self.layout = layout
        self.folder = folder
        self.changes = changes
        self.longest = names.MAX_PART_BYTES
        """The most bytes that a name may have on this disk."""
        self._in_place: dict[names.Path, str] = {}
        """The names that files and folders had before they were put beside others, by their path in the share."""
        self._known_siblings: dict[names.Path, set[str]] = {}
        root = layout.manifest.root
        self._prefix = () if root.single else (root.name,)
        self.told_top: str | None = None
        """The name of the share's file or folder that the user was told; None: that in the share."""
        self._mark = f".{short(layout.manifest.share_id)}"
        for entry in layout.manifest.entries:
            name = entry.path[-1].casefold()
            if name.endswith(_PART) and self._mark in name:
                # No accident: the share's author searched for an id that makes one file the `.part` file of another.
                raise BadData("the share names files so that they would overwrite each other while they are fetched")

    def shared(self, entry: int) -> names.Path:
        """The entry's path in the share; for a folder, with the share's name first."""
        return (*self._prefix, *self.layout.manifest.entries[entry].path)

    def parts(self, entry: int) -> names.Path:
        """The entry's path below the output folder."""
        return local_names.renamed(self.shared(entry), self.changes)

    def below(self, path: names.Path) -> names.Path:
        """The path below the output folder of what has this path in a share that is a folder."""
        return local_names.renamed((*self._prefix, *path), self.changes)

    def above(self, entry: int) -> names.Path:
        """The path of the folder that the entry is in."""
        if not self.changes:
            return (*self._prefix, *self.layout.manifest.entries[entry].path[:-1])
        return self.parts(entry)[:-1]

    def name(self, entry: int) -> str:
        """The name of the entry's file or folder."""
        if not self.changes:
            return self.layout.manifest.entries[entry].path[-1]
        return self.parts(entry)[-1]

    def part_name(self, entry: int) -> str:
        """The name of the entry's file until it is whole."""
        name = f"{self.name(entry)}{self._mark}{_PART}"
        # The number comes after the mark: before it, a file named `.5` would get the same name as entry 5.
        return name if len(name.encode()) <= self.longest else f"{self._mark}.{entry}{_PART}"

    def path(self, entry: int) -> Path:
        return self.folder.joinpath(*self.parts(entry))

    @property
    def top_parts(self) -> names.Path:
        """The path, below the output folder, of the folder that the share is; empty for a single file."""
        return local_names.renamed(self._prefix, self.changes)

    @property
    def top(self) -> Path:
        """The path of the file or folder that the share is."""
        return self.folder.joinpath(*self.top_parts) if self._prefix else self.path(0)

    @property
    def top_path(self) -> names.Path:
        """The path, in the share, of the file or folder that the share is."""
        return self._prefix or self.shared(0)

    def is_renamed(self, entry: int) -> bool:
        """Whether the entry has another path than in the share, apart from what the user was told before."""
        if not self.changes:
            return False
        path = self.shared(entry)
        return self.parts(entry) != (path[0] if self.told_top is None else self.told_top, *path[1:])

    def folders(self, entries: Iterable[int]) -> list[names.Path]:
        """The folders that these entries need, by their paths in the share; those above come first."""
        found: set[names.Path] = set()
        for entry in entries:
            path = self.shared(entry)
            deepest = len(path) if not self.layout.is_file(entry) else len(path) - 1
            for depth in range(deepest, 0, -1):
                if path[:depth] in found:
                    break
                found.add(path[:depth])
        return sorted(found, key=len)

    def put_beside(self, path: names.Path, number: int) -> None:
        """Gives a file or folder, by its path in the share, another name than what is in its place.

        `number` counts the tries.
        """
        original = self._in_place.setdefault(path, local_names.renamed(path, self.changes)[-1])
        siblings = self._siblings(path)
        # The share itself may have a file of that name, now or in its next version.
        while (name := local_names.beside(original, number, self.longest)).casefold() in siblings:
            number += 1
        siblings.add(name.casefold())
        self.changes[path] = name

    def _siblings(self, path: names.Path) -> set[str]:
        """The names that files and folders beside this one have, in lower case."""
        parent = path[:-1]
        if parent not in self._known_siblings:
            depth = len(parent)
            paths = map(self.shared, range(len(self.layout.manifest.entries)))
            beside = {path[: depth + 1] for path in paths if path[:depth] == parent}
            known = {local_names.renamed(path, self.changes)[-1].casefold() for path in beside}
            self._known_siblings[parent] = known
        return self._known_siblings[parent]


def pack_names(changes: Renames) -> bytes:
    """The names as the database stores them; nothing for none."""
    return msgspec.msgpack.encode(sorted(changes.items())) if changes else b""


def unpack_names(packed: bytes) -> Renames:
    """The inverse of `pack_names`. Raises StorageError."""
    try:
        return dict(_decoder.decode(packed)) if packed else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"The database of this home is damaged: names of files cannot be read ({error}).") from error
