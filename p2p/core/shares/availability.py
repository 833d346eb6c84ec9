"""How many sources hold each chunk, so that the rarest are asked for first.

The counters are bit-sliced: plane k is an integer whose bit i is bit k of chunk i's count. A source's bitmap is added
or removed for all chunks at once by big-integer operations that carry from plane to plane. The rarest of a set are
found plane by plane from the top: each step keeps the members with a zero there, if there are any (as in an MSD radix
sort).
"""


class Availability:
    """The number of sources per chunk. Remove a source's bitmap of chunks only if it was added."""

    def __init__(self) -> None:
        self._planes: list[int] = []

    def add(self, chunks: int) -> None:
        """Counts one more source for each of these chunks."""
        carry = chunks
        for k, plane in enumerate(self._planes):
            if not carry:
                return
            self._planes[k] = plane ^ carry
            carry &= plane
        if carry:
            self._planes.append(carry)

    def remove(self, chunks: int) -> None:
        """Counts one source fewer for each of these chunks."""
        borrow = chunks
        for k, plane in enumerate(self._planes):
            if not borrow:
                return
            self._planes[k] = plane ^ borrow
            borrow &= ~plane
        assert not borrow, "a source is taken away that was never added"

    def rarest(self, among: int) -> int:
        """The members of `among` that have the lowest count."""
        for plane in reversed(self._planes):
            rarer = among & ~plane
            if rarer:
                among = rarer
        return among

    def count(self, chunk: int) -> int:
        """How many sources hold this chunk."""
        return sum(((plane >> chunk) & 1) << k for k, plane in enumerate(self._planes))
