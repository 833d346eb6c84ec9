"""Entries and folders of a manifest by their paths. The entries are in order, so nothing has to be kept for that."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from p2p.core.shares.manifest import Entry

Path = tuple[str, ...]


class Child(NamedTuple):
    """What is directly in a folder: a file with its entry, or a folder."""

    name: str
    file: Entry | None


def file_at(entries: Sequence[Entry], path: Path) -> Entry | None:
    """The file with this path, or None."""
    number = number_of(entries, path)
    return None if number is None else entries[number]


def number_of(entries: Sequence[Entry], path: Path) -> int | None:
    """The number of the file with this path, or None."""
    at = _first(entries, path)
    return at if at < len(entries) and (entry := entries[at]).path == path and entry.is_file else None


def is_folder(entries: Sequence[Entry], path: Path) -> bool:
    """Whether there is a folder with this path. The empty path is the share itself."""
    at = _first(entries, path)
    if at == len(entries):
        return not path
    found = entries[at]
    return found.path[: len(path)] == path and (len(found.path) > len(path) or not found.is_file)


def children(entries: Sequence[Entry], path: Path, after: str = "") -> Iterator[Child]:
    """What is directly in a folder, in order, from the first name after `after` on."""
    depth = len(path)
    at = _first(entries, (*path, _next(after)) if after else path)
    while at < len(entries):
        entry = entries[at]
        if entry.path[:depth] != path:
            return
        if len(entry.path) == depth:  # the folder itself, which is empty
            return
        name = entry.path[depth]
        if len(entry.path) == depth + 1:
            yield Child(name, entry if entry.is_file else None)
            at += 1
        else:
            yield Child(name, None)
            at = _first(entries, (*path, _next(name)), at)


def _first(entries: Sequence[Entry], path: Path, low: int = 0) -> int:
    return bisect_left(entries, path, low, key=lambda entry: entry.path)


def _next(name: str) -> str:
    """The text that follows in order; no name has the character."""
    return name + "\0"
