"""The layout of a share: chunks are numbered across all its files, so that one range covers many small files."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from p2p.core.shares import bitmap
from p2p.core.shares.manifest import Manifest, chunk_bytes
from p2p.ids import ID_BYTES, ChunkHash


class ChunkPlace(NamedTuple):
    """Where a chunk is: the index of its entry, and its offset and size in bytes within the file."""

    entry: int
    offset: int
    size: int


class Layout:
    """The chunk numbers of a manifest's files, assigned in manifest order; empty files and folders have no chunks."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._entries = array("Q")
        """The entries with chunks. The next two have one item more, for the end of the share."""
        self._firsts = array("Q")
        self._starts = array("Q")
        """Where each entry with chunks starts in the share's bytes."""
        first = start = largest = 0
        for index, entry in enumerate(manifest.entries):
            if count := entry.chunks:
                size = entry.size
                self._entries.append(index)
                self._firsts.append(first)
                self._starts.append(start)
                first += count
                start += size
                if size > largest:
                    largest = size
        self._firsts.append(first)
        self._starts.append(start)
        self.chunks = first
        self.everything = (1 << first) - 1
        self.bytes = start
        self.largest_chunk = min(largest, chunk_bytes(largest))

    def place(self, chunk: int) -> ChunkPlace:
        """Where `chunk` is. Raises IndexError if the share has no such chunk."""
        if not 0 <= chunk < self.chunks:
            raise IndexError(chunk)
        at = bisect_right(self._firsts, chunk) - 1
        size = self._starts[at + 1] - self._starts[at]
        each = chunk_bytes(size)
        offset = (chunk - self._firsts[at]) * each
        return ChunkPlace(self._entries[at], offset, min(each, size - offset))

    def places(self, first: int) -> Iterator[ChunkPlace]:
        """Where the chunk `first` is, and each that follows it in the share."""
        from_entry = bisect_right(self._firsts, first) - 1
        begin, start = self._firsts[from_entry], self._starts[from_entry]
        for at in range(from_entry, len(self._entries)):
            entry, end, stop = self._entries[at], self._firsts[at + 1], self._starts[at + 1]
            size = stop - start
            if end - begin == 1:
                yield ChunkPlace(entry, 0, size)
            else:
                each = chunk_bytes(size)
                for offset in range((max(first, begin) - begin) * each, size, each):
                    yield ChunkPlace(entry, offset, min(each, size - offset))
            begin, start = end, stop

    def fitting(self, first: int, most_bytes: int) -> int:
        """How many chunks, `first` and those that follow it, have at most so many bytes together."""
        limit = self._start(first) + most_bytes
        at = bisect_right(self._starts, limit) - 1
        if at == len(self._entries):
            return self.chunks - first
        start, size = self._starts[at], self._starts[at + 1] - self._starts[at]
        return self._firsts[at] + (limit - start) // chunk_bytes(size) - first

    def size(self, chunk: int) -> int:
        """The chunk's size in bytes."""
        return self.place(chunk).size

    def hash(self, chunk: int) -> ChunkHash:
        """The chunk's expected BLAKE3-256."""
        return self.hash_at(self.place(chunk))

    def hash_at(self, place: ChunkPlace) -> ChunkHash:
        """The expected BLAKE3-256 of the chunk at this place."""
        entry = self.manifest.entries[place.entry]
        start = place.offset and place.offset // chunk_bytes(entry.size) * ID_BYTES
        return ChunkHash(entry.hashes[start : start + ID_BYTES])

    def range_of(self, entry: int) -> tuple[int, int]:
        """The (first chunk, count) of an entry; count is 0 for an empty file or a folder."""
        at = bisect_left(self._entries, entry)
        if at == len(self._entries) or self._entries[at] != entry:
            return 0, 0
        return self._firsts[at], self._firsts[at + 1] - self._firsts[at]

    def ranges_of(self, entries: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The ranges of these entries, which ascend."""
        at, known, firsts = 0, self._entries, self._firsts
        for entry in entries:
            at = bisect_left(known, entry, at)
            if at < len(known) and known[at] == entry:
                yield firsts[at], firsts[at + 1] - firsts[at]
            else:
                yield 0, 0

    def chunks_in(self, entry: int, offset: int, size: int) -> int:
        """The chunks that hold these bytes of an entry, as a bitmap. The entry must have the bytes."""
        if not size:
            return 0
        first, _ = self.range_of(entry)
        each = chunk_bytes(self.manifest.entries[entry].size)
        begin = offset // each
        return bitmap.span(first + begin, -(-(offset + size) // each) - begin)

    def chunks_of(self, entries: Iterable[int]) -> int:
        """The chunks of these entries, as a bitmap."""
        runs: list[tuple[int, int]] = []
        begin = end = 0
        for first, count in self.ranges_of(sorted(entries)):
            if first != end and count:
                runs.append((begin, end - begin))
                begin = end = first
            end += count
        return bitmap.of([*runs, (begin, end - begin)])

    def bytes_in(self, chunks: int) -> int:
        """The size in bytes of a set of chunks, given as a bitmap."""
        return sum(self.run_bytes(first, count) for first, count in bitmap.runs(chunks))

    def run_bytes(self, first: int, count: int) -> int:
        """The size in bytes of consecutive chunks."""
        return self._start(first + count) - self._start(first)

    def _start(self, chunk: int) -> int:
        """The size in bytes of all chunks before this one."""
        if chunk >= self.chunks:
            return self._starts[-1]
        at = bisect_right(self._firsts, chunk) - 1
        start, size = self._starts[at], self._starts[at + 1] - self._starts[at]
        return start + min((chunk - self._firsts[at]) * chunk_bytes(size), size)

    @property
    def files(self) -> Sequence[int]:
        """The indexes of the files that have chunks, ascending."""
        return self._entries

    def empty(self) -> Iterator[int]:
        """The indexes of empty files and folders, ascending."""
        following = 0
        for entry in chain(self._entries, (len(self.manifest.entries),)):
            if entry != following:
                yield from range(following, entry)
            following = entry + 1

    def is_file(self, entry: int) -> bool:
        return self.manifest.entries[entry].is_file
