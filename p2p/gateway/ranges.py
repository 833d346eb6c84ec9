"""The range of bytes that a request asks for (RFC 9110, section 14)."""

import re
from typing import NamedTuple

_SPEC = re.compile(r"\s*bytes\s*=\s*(\d*)-(\d*)\s*", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 19
"""No file has a size with more."""


class Span(NamedTuple):
    """The bytes from `begin` up to `end`, without the one at `end`."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin


class Unsatisfiable(Exception):
    """Raised for a range of which the file has no byte."""


def parse_range(header: str, size: int) -> Span | None:
    """The one range in the header, within a file of this size; None if the whole file is to be sent.

    That is also the answer to several ranges and to a header that makes no sense, as the RFC allows. Raises
    Unsatisfiable.
    """
    found = _SPEC.fullmatch(header)
    if found is None or found[0].strip().endswith("=-"):
        return None
    first, last = found[1], found[2]
    if not first:
        if not (length := _number(last)):
            raise Unsatisfiable
        span = Span(max(0, size - length), size)
    else:
        begin, end = _number(first), _number(last) + 1 if last else size
        if last and end <= begin:
            return None  # not a range: the last byte is before the first
        span = Span(begin, min(end, size))
    if span.begin >= span.end:
        raise Unsatisfiable
    return span


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
