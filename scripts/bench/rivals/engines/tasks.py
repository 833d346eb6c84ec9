"""The tasks of the engines: plain functions that their workers import, with nothing but the standard library."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path


def nothing(number: int) -> int:
    return number


def busy(loops: int) -> int:
    """Keeps a core busy; returns in which process."""
    total = 0
    for number in range(loops):
        total += number & 7
    return os.getpid()


def count_words(path: str) -> Counter[str]:
    return Counter(Path(path).read_text(encoding="ascii").split())


def joined(tables: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    return total


def digest_of(table: Mapping[str, int]) -> str:
    """A digest that is the same for equal tables of words, whichever program made them."""
    lines = "".join(f"{word} {table[word]}\n" for word in sorted(table))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
