"""A link with a path behind it, as it is written in SQL: `shoal:s/<id>/<hint>/.../folder/*.parquet`.

The path begins with the first part that no hint looks like, or after two slashes: `shoal:s/<id>//n.txt`.
"""

import re

from p2p.errors import ConfigError
from p2p.wire.link import Url, parse_any_link, parse_url

_HINT = re.compile(
    r"n\.[^/]+|b\.[0-9]+|p\.[^/]*@?[^/]*:[0-9]{1,5}|ts?\.[^/]*[.:,][^/]*|tu\.[^/]*,3a[^/]*|k\.[^/]+",
    re.IGNORECASE,
)
_PATTERN = frozenset("*?[]{}")
_NEW = re.compile(r"shoal:/*(?:s/[^/]+|m/[^/]+/[^/]+)", re.IGNORECASE)
_EARLIER = re.compile(r"shoal:[^/]+/[^/]+|magnet:[^/]+", re.IGNORECASE)


def is_within(text: str) -> bool:
    """Whether the text was meant as a link or an address, perhaps with a path."""
    return text[:7].lower().startswith(("shoal:", "magnet:"))


def parse_within(text: str) -> Url:
    """Reads an address, or a link with a path. Raises ConfigError."""
    if (url := parse_url(text)) is not None:
        return url
    if (start := _NEW.match(text)) is not None:
        parts = text[start.end() :].split("/")[1:]
        hints = 0
        while hints < len(parts) and _is_hint(parts[hints]):
            hints += 1
        link, path = "/".join([start[0], *parts[:hints]]), "/".join(parts[hints:])
    elif (start := _EARLIER.match(text)) is not None:
        link, path = start[0], text[start.end() :]
    else:
        raise ConfigError("This is not a link. A link begins with shoal:s/ or shoal:m/")
    return Url(parse_any_link(link), path.strip("/"))


def _is_hint(part: str) -> bool:
    return _HINT.fullmatch(part) is not None and not _PATTERN & set(part)
