"""Stamps: what shows, without reading a file, whether it has changed."""

import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

COARSEST_TIME_NS = 2 * 10**9
"""How exact the times of the least exact disks are: those with FAT."""
_U64 = 2**64 - 1
_TRIPLE_BYTES = 24


class Stamp(NamedTuple):
    """A file's inode, size and times, which show whether it has changed.

    Programs can set the modification time back, but not `ctime_ns`: when the inode changed. 0 stands for a stamp of an
    earlier version, which had none.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_ino & _U64, status.st_size, status.st_mtime_ns & _U64, status.st_ctime_ns & _U64)

    def fits(self, status: os.stat_result) -> bool:
        """Whether a file with this status is unchanged, as far as the stamp can tell."""
        found = Stamp.of(status)
        return found == self or (not self.ctime_ns and found.resembles(self))

    def resembles(self, other: "Stamp") -> bool:
        """Whether the stamps differ in their ctime at most."""
        return self[:3] == other[:3]

    def may_be(self, other: "Stamp") -> bool:
        """Whether both may be of one content, so that the file is worth hashing.

        Where a disk is mounted again, or a folder is restored from a backup, files have other inodes and ctimes; some
        disks keep times only to 2 s.
        """
        return self.size == other.size and abs(self.mtime_ns - other.mtime_ns) <= COARSEST_TIME_NS


NOT_HELD = Stamp(0, 0, 0)


class Stamps(Sequence[Stamp]):
    """The stamps of a share's entries, each in 32 bytes: as objects they would take seven times as much."""

    __slots__ = ("_ctimes", "_triples")

    def __init__(self, stamps: Iterable[Stamp] = ()) -> None:
        self._triples = array("Q")
        """The first three fields of each stamp."""
        self._ctimes = array("Q")
        for stamp in stamps:
            self._triples.extend(stamp[:3])
            self._ctimes.append(stamp.ctime_ns)

    @classmethod
    def unpack(cls, packed: bytes, ctimes: bytes = b"") -> "Stamps":
        """The inverse of `pack_stamps` and `pack_ctimes`. An earlier version stored no ctimes."""
        stamps = cls()
        count = len(packed) // _TRIPLE_BYTES
        stamps._triples = _little_endian(array("Q", packed))
        stamps._ctimes = _little_endian(array("Q", ctimes if len(ctimes) == 8 * count else bytes(8 * count)))
        return stamps

    def pack(self) -> tuple[bytes, bytes]:
        """What `pack_stamps` and `pack_ctimes` return."""
        return _little_endian(self._triples[:]).tobytes(), _little_endian(self._ctimes[:]).tobytes()

    def not_held(self) -> Iterator[int]:
        """The entries whose stamp is `NOT_HELD`, ascending."""
        raw, nothing = self._triples.tobytes(), bytes(_TRIPLE_BYTES)
        at = raw.find(nothing)
        while at >= 0:
            entry, beside = divmod(at, _TRIPLE_BYTES)
            if not beside and not self._ctimes[entry]:
                yield entry
            at = raw.find(nothing, (entry + 1) * _TRIPLE_BYTES)

    def __len__(self) -> int:
        return len(self._ctimes)

    @overload
    def __getitem__(self, index: int) -> Stamp: ...
    @overload
    def __getitem__(self, index: slice) -> list[Stamp]: ...
    def __getitem__(self, index: int | slice) -> Stamp | list[Stamp]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        ctime = self._ctimes[index]
        at = 3 * (index if index >= 0 else index + len(self))
        inode, size, mtime = self._triples[at : at + 3]
        return Stamp(inode, size, mtime, ctime)

    def __setitem__(self, index: int, stamp: Stamp) -> None:
        self._ctimes[index] = stamp.ctime_ns
        self._triples[3 * index : 3 * index + 3] = array("Q", stamp[:3])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__: Any = None


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack_stamps(stamps: Sequence[Stamp]) -> bytes:
    """Packs stamps, without their ctimes, into 24 bytes each: three little-endian 64-bit numbers."""
    return _compact(stamps).pack()[0]


def pack_ctimes(stamps: Sequence[Stamp]) -> bytes:
    """Packs the ctimes of stamps into 8 bytes each: little-endian 64-bit numbers."""
    return _compact(stamps).pack()[1]


def _compact(stamps: Sequence[Stamp]) -> Stamps:
    return stamps if isinstance(stamps, Stamps) else Stamps(stamps)
