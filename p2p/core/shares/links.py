"""Symbolic links of a share: which a manifest may have, and where they lead.

They are apart from its files and folders, so that whatever reads, serves or lists those never meets a link. A link is
relative, and leads to a file or folder of the same share: its target is followed over the manifest's own entries, part
by part, and never over a disk.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, Literal, Protocol

import msgspec

from p2p.core.shares import names

MAX_LINKS = 20_000
"""The most links of one share."""
MAX_LINK_PARTS = 200_000
"""The most names in the paths and targets of a share's links together, each of which is looked up."""
MAX_FOLLOWED = 40
"""The most links that are followed on the way to a target, as in Linux."""
LINK: Final = 2
"""The kind of a link, where files and folders have theirs."""
UP = ".."


class LinkEntry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A link at a path, and the parts of its target, from the folder that it is in."""

    kind: Literal[2]
    path: Annotated[names.Path, msgspec.Meta(max_length=names.MAX_DEPTH)]
    target: Annotated[names.Path, msgspec.Meta(min_length=1, max_length=names.MAX_DEPTH)]


class _Entry(Protocol):
    @property
    def path(self) -> names.Path: ...

    @property
    def is_file(self) -> bool: ...


def target_of(text: str) -> names.Path | None:
    """The target that the text of a link on a disk means; None if that is absolute, or cannot be in a share."""
    parts = tuple(part for part in text.split("/") if part not in {"", "."})
    if text.startswith("/") or not parts or len(parts) > names.MAX_DEPTH:
        return None
    return None if any(part != UP and names.refusal(part) for part in parts) else parts


class Links:
    """Resolves the links of one share. `entries` are its files and folders, and `links` its links, in order."""

    def __init__(self, entries: Sequence[_Entry], links: Sequence[LinkEntry]) -> None:
        self._entries = entries
        self._links = {link.path: link for link in links}
        self._folders = {link.path[:depth] for link in links for depth in range(len(link.path))}
        self._known: dict[names.Path, tuple[names.Path, int] | None] = {}
        """Where each link leads, and how many links are followed for that; None while that is not known."""

    def misplaced(self, link: LinkEntry) -> str | None:
        """Why a link cannot be where it is: something of the share is there, or it lies below what is no folder."""
        at = self._first(link.path)
        if at < len(self._entries) and self._entries[at].path[: len(link.path)] == link.path:
            return "is also a file or folder"
        for depth in range(1, len(link.path)):
            above = link.path[:depth]
            if above in self._links:
                return "lies below a link"
            at = self._first(above)
            if at < len(self._entries) and self._entries[at].path == above:
                return "lies below a file, or in a folder that is empty"
        return None

    def resolve(self, link: LinkEntry) -> names.Path | None:
        """The path in the share to which a link leads, without links; None if it does not lead to anything in it.

        Nor may it lead to a folder that it lies in.
        """
        found = self._follow(link, 0)
        return None if found is None else found[0]

    def _follow(self, link: LinkEntry, depth: int) -> tuple[names.Path, int] | None:
        if link.path in self._known:
            return self._known[link.path]
        self._known[link.path] = None  # for one that leads back here
        found = self._walk(link, depth) if depth < MAX_FOLLOWED else None
        self._known[link.path] = found
        return found

    def _walk(self, link: LinkEntry, depth: int) -> tuple[names.Path, int] | None:
        here, followed = link.path[:-1], 1
        for part in link.target:
            if part == UP:
                if not here or not self._is_folder(here):
                    return None
                here = here[:-1]
                continue
            if not self._is_folder(here):
                return None
            here = (*here, part)
            if (other := self._links.get(here)) is not None:
                led = self._follow(other, depth + 1)
                if led is None:
                    return None
                here, followed = led[0], followed + led[1]
                if followed > MAX_FOLLOWED:
                    return None
        if link.path[: len(here)] == here or not (self._is_folder(here) or self._is_file(here)):
            return None
        return here, followed

    def _first(self, path: names.Path) -> int:
        return bisect_left(self._entries, path, key=lambda entry: entry.path)

    def _is_file(self, path: names.Path) -> bool:
        at = self._first(path)
        return at < len(self._entries) and self._entries[at].path == path and self._entries[at].is_file

    def _is_folder(self, path: names.Path) -> bool:
        if not path or path in self._folders:
            return True
        at = self._first(path)
        if at == len(self._entries) or (found := self._entries[at]).path[: len(path)] != path:
            return False
        return len(found.path) > len(path) or not found.is_file


def fault(entries: Sequence[_Entry], links: Sequence[LinkEntry], pause: Callable[[], None]) -> str | None:
    """What is wrong with the links of a manifest, of which the first is told; None if nothing is.

    `pause` is called for each.
    """
    if sum(len(link.path) + len(link.target) for link in links) > MAX_LINK_PARTS:
        return f"the paths and targets of the share's links have more than {MAX_LINK_PARTS:,} names"
    resolving = Links(entries, links)
    previous: names.Path = ()
    for link in links:
        pause()
        why = names.path_refusal(link.path)
        if why is None and link.path <= previous:
            why = "is not in order"
        if why is None:
            why = resolving.misplaced(link)
        if why is None and any(part != UP and names.refusal(part) for part in link.target):
            why = "has a target that no link may have"
        if why is None and resolving.resolve(link) is None:
            why = "does not lead to anything in the share"
        if why is not None:
            return f"the share has a link that {why}: {link.path!r:.200}"
        previous = link.path
    return None


def usable(entries: Sequence[_Entry], links: Iterable[LinkEntry]) -> tuple[list[LinkEntry], list[LinkEntry]]:
    """Those of these links that a manifest of these entries may have, in order, and those that it may not."""
    kept = sorted(links, key=lambda link: link.path)
    left: list[LinkEntry] = []
    while True:  # what leads through one that is left out is left out too
        resolving = Links(entries, kept)
        bad = {link.path for link in kept if resolving.misplaced(link) or resolving.resolve(link) is None}
        if not bad:
            return kept, left
        left += [link for link in kept if link.path in bad]
        kept = [link for link in kept if link.path not in bad]
