"""Stamps: what shows, without reading a file, whether it has changed."""

import os
import struct
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

COARSEST_TIME_NS = 2 * 10**9
"""How exact the times of the least exact disks are: those with FAT."""
_U64 = 2**64 - 1


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


def pack_stamps(stamps: Sequence[Stamp]) -> bytes:
    """Packs stamps, without their ctimes, into 24 bytes each: three little-endian 64-bit numbers."""
    return struct.pack(f"<{3 * len(stamps)}Q", *chain.from_iterable(stamp[:3] for stamp in stamps))


def pack_ctimes(stamps: Sequence[Stamp]) -> bytes:
    """Packs the ctimes of stamps into 8 bytes each: little-endian 64-bit numbers."""
    return struct.pack(f"<{len(stamps)}Q", *(stamp.ctime_ns for stamp in stamps))


def unpack_stamps(packed: bytes, ctimes: bytes = b"") -> list[Stamp]:
    """The inverse of `pack_stamps` and `pack_ctimes`. An earlier version stored no ctimes."""
    stamps = [Stamp(*values) for values in struct.iter_unpack("<3Q", packed)]
    if len(ctimes) != 8 * len(stamps):
        return stamps
    return [
        stamp._replace(ctime_ns=ctime) for stamp, (ctime,) in zip(stamps, struct.iter_unpack("<Q", ctimes), strict=True)
    ]
