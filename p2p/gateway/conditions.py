"""Under which conditions a request wants a file at all, or a range of it (RFC 9110, section 13)."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from p2p.core.shares.manifest import Entry, TimedEntry
from p2p.gateway.addresses import Path
from p2p.gateway.ranges import Span, parse_range
from p2p.ids import ShareId, to_text

MAX_TAGS = 1024

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_S = 1_000_000_000


class Tags:
    """The entity tags of files: their ids, which are those of all equal files.

    Those asked for lately are remembered, since the id of a large file is made of many hashes.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[ShareId, Path], str] = OrderedDict()

    def of(self, share: ShareId, file: Entry) -> str:
        key = share, file.path
        tag = self._known.get(key)
        if tag is None:
            tag = self._known[key] = f'"{to_text(file.file_id)}"'
            if len(self._known) > MAX_TAGS:
                self._known.popitem(last=False)
        return tag


def time_of(file: Entry, now: float) -> str | None:
    """When the file was changed last, as its share says, in the form of HTTP. None if it does not, or is wrong."""
    if not isinstance(file, TimedEntry) or file.modified_ns > now * _S:
        return None
    return format_datetime(datetime.fromtimestamp(file.modified_ns // _S, UTC), usegmt=True)


def refused_by(headers: Mapping[str, str], tag: str, time: str | None) -> int | None:
    """The status to answer instead of sending anything: 304, 412, or None."""
    if (wanted := headers.get("if-match")) is not None and not _names(wanted, tag, weakly=False):
        return 412
    if (known := headers.get("if-none-match")) is not None:
        return 304 if _names(known, tag, weakly=True) else None
    if time is not None and (since := _parsed(headers.get("if-modified-since", ""))) is not None:
        modified = _parsed(time)
        return 304 if modified is not None and modified <= since else None
    return None


def range_of(headers: Mapping[str, str], size: int, tag: str, time: str | None) -> Span | None:
    """The range to send; None: the whole file. Raises Unsatisfiable."""
    unless = headers.get("if-range")
    if unless is not None and unless.strip() not in {tag, time}:
        return None
    return parse_range(headers.get("range", ""), size)


def _names(header: str, tag: str, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(found[2] == tag and (weakly or not found[1]) for found in _TAG.finditer(header))


def _parsed(date: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None
