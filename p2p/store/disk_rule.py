"""Asks a disk which of a share's names it holds, by making files with such names in a folder of its own.

A share whose names are plain costs one file. Which names the files get then is decided in `core.shares.local_names`.
"""

import errno
import os
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

from p2p.core.shares import local_names, names
from p2p.core.shares.layout import Layout
from p2p.core.shares.local_names import ALWAYS_HELD, MAX_BYTES, MIN_BYTES, DiskRule, Renames, Told, stem_of
from p2p.store.fetches import FetchRecord

MAX_REFUSED = 64
"""The number of refused characters beyond ASCII from which on the disk counts as one for ASCII only."""

_PLAIN = frozenset(ALWAYS_HELD + ALWAYS_HELD.upper() + "0189. ")
_DEVICES = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$")) | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}
_ELSEWHERE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EROFS, errno.ESTALE)
)
"""Errors that say nothing about a name."""


def ask(folder: int, paths: Iterable[names.Path]) -> DiskRule:
    """The rule of the disk that has this open folder, as far as these paths need it. Blocks. Raises OSError."""
    alphabet: set[str] = set()
    ends: set[str] = set()
    stems: set[str] = set()
    for path, depth in local_names.steps(paths):
        name = path[depth]
        if not alphabet.issuperset(name):
            alphabet.update(name)
        ends.add(name[-1])
        if (stem := stem_of(name)) in _DEVICES:
            stems.add(stem)
    probing = f".shoal-{secrets.token_hex(4)}.tmp"
    os.mkdir(probing, 0o700, dir_fd=folder)
    try:
        place = os.open(probing, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return _Probe(place).rule(alphabet, ends, stems)
        finally:
            os.close(place)
    finally:
        with suppress(OSError):
            os.rmdir(probing, dir_fd=folder)


def longest_name(folder: int) -> int:
    """The most bytes of a name in an open folder, as far as shares can need them. Raises OSError."""
    # Python lets no other thread run during `fpathconf`, and a network disk may take long to answer.
    longest = os.fstatvfs(folder).f_namemax
    return max(MIN_BYTES, min(longest, MAX_BYTES)) if longest > 0 else MAX_BYTES


class _Probe:
    """Makes files, one at a time, in an empty folder."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._most = longest_name(folder)

    def rule(self, alphabet: set[str], ends: set[str], stems: set[str]) -> DiskRule:
        """The rule for names of these characters, of which some end with those in `ends`, or are devices by `stems`."""
        refused: list[str] = []
        odd = sorted(alphabet - _PLAIN)
        ascii_only = not self._find([c for c in odd if c.isascii()], refused, None) or not self._find(
            [c for c in odd if not c.isascii()], refused, len(refused) + MAX_REFUSED
        )
        forms = not alphabet <= _PLAIN and not ascii_only and self._same("é", unicodedata.normalize("NFD", "é"))
        return DiskRule(
            max_bytes=self._most,
            refused="".join(refused),
            ascii_only=ascii_only,
            refused_ends="".join(end for end in ". " if end in ends and not self._holds(f"p{end}")),
            refused_stems=tuple(stem for stem in sorted(stems) if not self._holds(stem)),
            folds_case=self._same("case", "CASE"),
            folds_forms=forms,
        )

    def _find(self, chars: list[str], refused: list[str], most: int | None) -> bool:
        """Adds the characters that are refused; False if they become more than `most`."""
        pending = [chars[at : at + 40] for at in range(0, len(chars), 40)]
        while pending:
            some = pending.pop()
            while len("".join(some).encode()) + 2 > self._most:
                half = len(some) // 2
                pending.append(some[half:])
                some = some[:half]
            if not some or self._holds(f"p{''.join(some)}p"):
                continue
            if len(some) == 1:
                refused += some
                if most is not None and len(refused) > most:
                    return False
                continue
            half = len(some) // 2
            pending += [some[:half], some[half:]]
        return True

    def _holds(self, name: str) -> bool:
        """Whether a file can be made under this name, and has it then."""
        try:
            self._make(name)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                raise
            return False
        try:
            wanted = unicodedata.normalize("NFC", name)
            return any(unicodedata.normalize("NFC", found) == wanted for found in os.listdir(self._folder))
        finally:
            self._remove(name)

    def _same(self, one: str, other: str) -> bool:
        """Whether the disk takes the two names for the same."""
        try:
            self._make(one)
        except OSError as error:
            if error.errno in _ELSEWHERE or one == "case":
                raise
            return False
        try:
            os.stat(other, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        finally:
            self._remove(one)
        return True

    def _make(self, name: str) -> None:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._folder))

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def names_on_disk(folder: int, layout: Layout, record: FetchRecord, told: Told | None = None) -> Renames:
    """The names to change for this share in this open folder. Blocks. Raises OSError.

    A fetch that has some chunks goes on under the names with which it began, as far as the user allows them; so the
    disk is asked only once.
    """
    paths = _Paths(layout)
    begun = record.names
    differing = [] if begun is None or told is None else _differing(paths, begun, told, is_begun=bool(record.have))
    if begun is None or differing:
        fresh = local_names.renames(paths, ask(folder, chain(paths, [(told.top,)]) if told else paths), told)
        kept = dict(begun or fresh)
        for path in differing:
            kept.pop(path, None)
            if path in fresh:
                kept[path] = fresh[path]
        record.keep_names(kept)
    assert record.names is not None
    return record.names


def _differing(paths: Iterable[names.Path], begun: Renames, told: Told, *, is_begun: bool) -> list[names.Path]:
    """The paths whose names, of those with which a fetch began, are not what the user was told or allows now."""
    found = [path for path in local_names.running(paths, told) if (path in begun) == told.trusted]
    path = next(iter(paths))[:1]
    top = begun.get(path, path[0])
    # An earlier version may have begun under a name with a dot.
    if top.startswith(".") or (not is_begun and top != told.top):
        found.append(path)
    return found


class _Paths(Iterable[names.Path]):
    """The paths of a share, with its own name first; made again each time, since all at once would take much memory."""

    def __init__(self, layout: Layout) -> None:
        self._manifest = layout.manifest

    def __iter__(self) -> Iterator[names.Path]:
        root, entries = self._manifest.root, self._manifest.entries
        prefix = () if root.single else (root.name,)
        return ((*prefix, *entry.path) for entry in entries) if len(entries) else iter([prefix])
