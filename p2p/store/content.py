"""The content of files, compared with the hashes of a manifest."""

import os
from collections.abc import Callable

from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import chunk_bytes, hash_chunk


def never() -> None:
    """A check for interruption that never interrupts."""


def is_same(descriptor: int, layout: Layout, entry: int, check: Callable[[], None] = never) -> bool:
    """Whether an open file has exactly the entry's content; `check` is called now and then, and may raise. Blocking.

    Raises OSError.
    """
    size = layout.manifest.entries[entry].size
    first, count = layout.range_of(entry)
    buffer = memoryview(bytearray(min(chunk_bytes(size), size)))
    for chunk in range(first, first + count):
        check()
        if not is_chunk(descriptor, layout, chunk, buffer):
            return False
    return os.fstat(descriptor).st_size == size


def is_chunk(descriptor: int, layout: Layout, chunk: int, buffer: memoryview | None = None) -> bool:
    """Whether an open file has this chunk in its place. Blocking. Raises OSError."""
    place = layout.place(chunk)
    view = memoryview(bytearray(place.size)) if buffer is None else buffer[: place.size]
    return os.preadv(descriptor, [view], place.offset) == place.size and hash_chunk(view) == layout.hash(chunk)
