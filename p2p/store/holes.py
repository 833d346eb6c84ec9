"""Writing and copying files with holes: what is all zeros takes no room on a disk that can leave it out."""

import errno
import os
from collections.abc import Iterator
from functools import cache

from p2p.core.shares.manifest import MIN_CHUNK_BYTES, hash_chunk
from p2p.ids import ChunkHash

_COPY_BYTES = 8 * 1024 * 1024
_NOT_THERE = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM))
_FINDS_HOLES = hasattr(os, "SEEK_DATA")


@cache
def _hash_of_zeros(size: int) -> ChunkHash:
    return hash_chunk(bytes(size))


def is_zeros(hash_: ChunkHash, size: int) -> bool:
    """Whether a chunk with this hash is all zeros, and large enough for a hole to be worth it."""
    # Few sizes are powers of two, so the cache stays small; the last chunk of a file is of any size.
    return size >= MIN_CHUNK_BYTES and not size & (size - 1) and hash_ == _hash_of_zeros(size)


def leave(descriptor: int, offset: int, size: int) -> bool:
    """Leaves a hole for a chunk of zeros. False if the file has something there: then zeros must be written."""
    if not _FINDS_HOLES:
        return False
    try:
        if os.lseek(descriptor, offset, os.SEEK_DATA) < offset + size:
            return False
    except OSError as error:
        if error.errno != errno.ENXIO:
            return False
        # Nothing is there or beyond it. One byte makes the file long enough; to set its length would cut off what
        # another thread has written beyond this chunk in the meantime.
        if os.fstat(descriptor).st_size < offset + size:
            os.pwrite(descriptor, b"\0", offset + size - 1)
    return True


def copy(source: int, sink: int, size: int) -> bool:
    """Copies the first `size` bytes to an empty file, holes as holes. False if the source is shorter."""
    for start, end in _data(source, size):
        at = start
        while at < end:
            count = _copy_some(source, sink, at, min(_COPY_BYTES, end - at))
            if not count:
                return False
            at += count
    if os.fstat(source).st_size < size:
        return False
    os.ftruncate(sink, size)
    return True


def _data(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data, as (start, end); the whole file where the disk does not say."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA) if _FINDS_HOLES else at
            end = os.lseek(source, start, os.SEEK_HOLE) if _FINDS_HOLES else size
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole up to the end
            start, end = at, size
        if start >= size:
            return
        yield start, min(end, size)
        at = end


def _copy_some(source: int, sink: int, at: int, count: int) -> int:
    """Copies up to `count` bytes. Returns how many; 0 at the end of the source."""
    if hasattr(os, "copy_file_range"):  # macOS has none
        try:
            return os.copy_file_range(source, sink, count, at, at)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
    return os.pwrite(sink, os.pread(source, count, at), at)
