"""Which entries of a share a fetch is for, and under which names: what the user selects, and what the disk can hold."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from p2p.core.shares import local_names, names
from p2p.core.shares.local_names import Renames
from p2p.core.shares.manifest import Manifest
from p2p.errors import ConfigError, StorageError
from p2p.formats import quoted, shortened
from p2p.ignore import Ignore
from p2p.store.target import Target

Naming = Literal["map", "skip", "fail"]
"""What to do with names that the disk cannot hold: use others, leave these files out, or fetch nothing."""


class Skipped(msgspec.Struct, frozen=True):
    """A file or folder that is left out of a fetch, by its path in the share, and why."""

    path: str
    why: str


def select(
    manifest: Manifest,
    folder: Path,
    globs: Sequence[str],
    exclude: Sequence[str] = (),
    renames: Renames | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Sequence[int]:
    """The indexes of the entries that match one of the globs, without the excluded. Raises ConfigError if none do.

    A glob may be the path of a file or of a folder above it: in the share, with or without the share's name, or as
    `get` prints it for this output folder, where `renames` are the names that differ. One that is such a path means
    just that, whatever characters it has. `note` is told of one that matches nothing beside others that do.
    """
    entries = manifest.entries
    selected: Sequence[int] = range(len(entries))
    if globs:
        paths = _Paths(manifest, folder, renames or {})
        matching = {glob: paths.matching(glob) for glob in globs}
        selected = sorted(set().union(*matching.values()))
        for glob in [glob for glob, found in matching.items() if selected and not found]:
            note(f"nothing in the share matches {quoted(glob)}")
        if not selected:
            some = ", ".join("/".join(entry.path) for entry in entries[:5])
            raise ConfigError(
                f"Nothing in the share matches {shortened(' '.join(globs))}. It has, for example: {some}."
            )
    if not exclude:
        return selected
    ignore = Ignore(exclude)
    left = [one for one in selected if not ignore.leaves_out(entries[one].path, folder=not entries[one].is_file)]
    if selected and not left:
        raise ConfigError(f"Nothing in the share is left without {shortened(' '.join(exclude))}.")
    return left


def settle_names(target: Target, naming: Naming, note: Callable[[str], None]) -> tuple[Skipped, ...]:
    """Leaves out of the target what cannot have its name, if the user does not want it under another.

    Returns what is left out. `note` is told why others are kept under other names. Raises StorageError if the user
    wants all names or none.
    """
    odd = {entry: "/".join(target.layout.manifest.entries[entry].path) for entry in target.renamed()}
    if odd and naming == "fail":
        runs = {path: why for entry, path in odd.items() if (why := _why_it_runs(target, entry))}
        if runs:
            path, why = next(iter(runs.items()))
            raise StorageError(
                f"{len(runs):,} of the names make programs run what they hold, for example {path}: {why}. "
                "Add --trust-names if you trust whoever made the share, or leave out --names fail."
            )
        some = ", ".join(list(odd.values())[:5])
        raise StorageError(
            f"The disk of {target.folder} cannot hold {len(odd):,} of the names, for example: {some}. "
            "Choose another --out, or leave out --names fail."
        )
    skipped: dict[int, str] = {}
    for entry in odd:
        if naming == "skip":
            skipped[entry] = _why_it_runs(target, entry) or "the disk cannot hold its name"
        elif reason := names.path_refusal(target.parts(entry)):
            skipped[entry] = f"the path that it would have on this disk {reason}"
        elif _why_it_runs(target, entry):
            note("names that make programs run what they hold are changed here; --trust-names keeps them")
    if skipped:
        target.choose([entry for entry in target.selected if entry not in skipped])
    return tuple(Skipped(odd[entry], why) for entry, why in skipped.items())


def leave_out_of_reach(target: Target) -> tuple[Skipped, ...]:
    """Leaves out of the target what this user may not make. Returns what is left out. Raises StorageError."""
    closed = target.out_of_reach()
    if closed:
        target.choose([entry for entry in target.selected if entry not in closed])
    entries = target.layout.manifest.entries
    return tuple(
        Skipped("/".join(entries[entry].path), f"you may not write in {folder}") for entry, folder in closed.items()
    )


def _why_it_runs(target: Target, entry: int) -> str:
    """Why a name in the entry's path was changed that makes programs run what it holds; empty if none was."""
    path = target.shared(entry)
    changed = (path[depth] for depth in range(len(path)) if path[: depth + 1] in target.renames)
    found = next(filter(None, map(names.running, changed)), None)
    return "" if found is None else found.why


class _Paths:
    """The paths that a user may give for the entries of a share."""

    def __init__(self, manifest: Manifest, folder: Path, renames: Renames) -> None:
        self._manifest = manifest
        self._printed = f"{folder}/"
        self._renames = renames
        root = manifest.root
        self._prefix: names.Path = () if root.single else (root.name,)

    def matching(self, glob: str) -> set[int]:
        """The entries that a glob means."""
        readings = self._readings(glob.rstrip("/"))
        if found := self._find(lambda head: head in readings):
            return found
        # `Season [1]/*` is more likely a name and a wildcard than a set of characters, if both are possible.
        escaped = [reading.replace("[", "[[]") for reading in readings]
        return self._find(_matches_any(escaped)) or self._find(_matches_any(readings))

    def _readings(self, glob: str) -> list[str]:
        """The paths or globs below the share's top that a user may mean with this one."""
        while glob.startswith("./"):
            glob = glob[2:].lstrip("/")
        readings = [glob]
        if glob.startswith(self._printed):
            readings.append(glob.removeprefix(self._printed))
        tops = {*self._prefix, *local_names.renamed(self._prefix, self._renames)}
        for reading in list(readings):
            top, _, rest = reading.partition("/")
            if top in tops:
                readings.append(rest or "*")
        return readings

    def _find(self, matches: Callable[[str], bool]) -> set[int]:
        entries = self._manifest.entries
        return {index for index, entry in enumerate(entries) if any(map(matches, self._heads(entry.path)))}

    def _heads(self, path: names.Path) -> Iterator[str]:
        """The entry's path and those of the folders above it, in the share and on the disk."""
        yield from ("/".join(path[:depth]) for depth in range(1, len(path) + 1))
        if self._renames:
            path = local_names.renamed((*self._prefix, *path), self._renames)[len(self._prefix) :]
            yield from ("/".join(path[:depth]) for depth in range(1, len(path) + 1))


def _matches_any(globs: Sequence[str]) -> Callable[[str], bool]:
    return lambda head: any(fnmatch.fnmatchcase(head, glob) for glob in globs)
