"""One file of a share that is read."""

from typing import Any

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile

from p2p.client.filesystem.ahead import SMALL_BYTES

MAX_AHEAD_BYTES = 8 * 1024 * 1024


class SequentialCache(BaseCache):  # type: ignore[misc]
    """Reads ahead, further and further, while reads follow each other; otherwise it reads exactly what is asked for.

    fsspec's own default adds a block to every read: of some columns of a Parquet file, it reads far too much.
    """

    name = "sequential"

    def __init__(self, blocksize: int, fetcher: Any, size: int) -> None:
        super().__init__(blocksize, fetcher, size)
        self._begin = 0
        self._kept = memoryview(b"")
        self._ahead = 0

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        begin, end = start or 0, min(self.size if stop is None else stop, self.size)
        if begin >= end:
            return b""
        kept_end = self._begin + len(self._kept)
        if self._begin <= begin and end <= kept_end:
            return bytes(self._kept[begin - self._begin : end - self._begin])
        follows = self._begin <= begin <= kept_end
        if not follows:
            self._begin, self._kept, self._ahead = end, memoryview(b""), 0
            return self._got(begin, end)
        head = self._kept[begin - self._begin :]
        self._ahead = min(max(self.blocksize, 2 * self._ahead), MAX_AHEAD_BYTES)
        got = self._got(kept_end, min(self.size, end + self._ahead))
        wanted = end - kept_end
        self._begin, self._kept = end, memoryview(got)[wanted:]
        return b"".join((head, memoryview(got)[:wanted]))

    def _got(self, begin: int, end: int) -> bytes:
        self.miss_count += 1
        self.total_requested_bytes += end - begin
        got: bytes = self.fetcher(begin, end)
        return got


register_cache(SequentialCache, clobber=True)


class ShoalFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of a share, opened to be read. A small one is read as a whole: all of it is one chunk."""

    _whole: bytes | None = None

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self.size <= SMALL_BYTES:
            if self._whole is None:
                self._whole = self.fs.small(self.path)
            return self._whole[start:end]
        got: bytes = self.fs.cat_file(self.path, start, end)
        return got
