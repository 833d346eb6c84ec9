"""Packing: puts things, in order, into as few messages or records as the bounds allow."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def packed(things: Iterable[T], weigh: Callable[[T], int], most_bytes: int, most: int) -> Iterator[list[T]]:
    """Yields lists of at most `most` things that weigh at most `most_bytes`; a thing that is too large goes alone."""
    some: list[T] = []
    size = 0
    for thing in things:
        more = weigh(thing)
        if some and (size + more > most_bytes or len(some) == most):
            yield some
            some, size = [], 0
        some.append(thing)
        size += more
    if some:
        yield some
