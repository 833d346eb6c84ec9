"""The chunks that a peer has asked for and not been sent, in the order in which it asked, unless it is in a hurry.

However many it asks for, they take at most `MAX_WANTS` times eight bytes, a thousandth of what the asker sent.
"""

from array import array

MAX_WANTS = 8192
"""The most ranges of chunks that one exchange keeps: twice the chunks that an honest peer asks of one source."""
_TIDY = 1024


class TooManyWants(Exception):
    """There is no room for another range."""


class Wants:
    """Ranges of chunks, first in, first out. Ranges that follow each other become one."""

    def __init__(self) -> None:
        self._firsts = array("I")
        self._counts = array("I")
        self._head = 0

    def __len__(self) -> int:
        return len(self._firsts) - self._head

    @property
    def bytes_held(self) -> int:
        """How much memory the ranges take."""
        return 2 * len(self._firsts) * self._firsts.itemsize

    def front(self) -> tuple[int, int]:
        """The first range, as (first chunk, count). Raises IndexError if there is none."""
        return self._firsts[self._head], self._counts[self._head]

    def add(self, first: int, count: int) -> None:
        """Adds a range at the end. Raises TooManyWants."""
        if len(self) and self._firsts[-1] + self._counts[-1] == first:
            self._counts[-1] += count
            return
        self._check(len(self) + 1)
        self._firsts.append(first)
        self._counts.append(count)

    def drop(self, count: int) -> None:
        """Removes this many chunks from the beginning of the first range, which has as many."""
        self._firsts[self._head] += count
        self._counts[self._head] -= count
        if not self._counts[self._head]:
            self._head += 1
            if self._head >= _TIDY or self._head == len(self._firsts):
                del self._firsts[: self._head], self._counts[: self._head]
                self._head = 0

    def put_back(self, chunk: int) -> None:
        """Adds a chunk before all others."""
        self._firsts.insert(self._head, chunk)
        self._counts.insert(self._head, 1)

    def hurry(self, first: int, count: int) -> None:
        """Puts those of these chunks that are here before all others. Raises TooManyWants as `cancel` does."""
        self._firsts, self._counts = self._take_out(first, count, kept=True)
        self._head = 0
        self._check(len(self))

    def cancel(self, first: int, count: int) -> None:
        """Removes these chunks wherever they are. Raises TooManyWants if that cuts ranges into too many."""
        self._firsts, self._counts = self._take_out(first, count, kept=False)
        self._head = 0
        self._check(len(self))

    def _take_out(self, first: int, count: int, *, kept: bool) -> tuple["array[int]", "array[int]"]:
        """All ranges without these chunks, which come first if they are kept."""
        last = first + count
        firsts, counts = array("I"), array("I")
        front_firsts, front_counts = array("I"), array("I")
        for begin, many in zip(self._firsts[self._head :], self._counts[self._head :], strict=True):
            end = begin + many
            if end <= first or begin >= last:
                firsts.append(begin)
                counts.append(many)
                continue
            if begin < first:
                firsts.append(begin)
                counts.append(first - begin)
            if end > last:
                firsts.append(last)
                counts.append(end - last)
            if kept:
                front_firsts.append(max(begin, first))
                front_counts.append(min(end, last) - max(begin, first))
        return front_firsts + firsts, front_counts + counts

    def _check(self, ranges: int) -> None:
        # An interrupted chunk that was put back may come on top.
        if ranges > MAX_WANTS + 1:
            raise TooManyWants
