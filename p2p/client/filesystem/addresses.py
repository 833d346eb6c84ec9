"""Addresses of files in shares, as fsspec's paths: an address without its `shoal://`.

    shoal://<share id>/<path>
    shoal://<name>@<peer id>/<path>     in the newest version of a mutable link

Names are percent-encoded. In a path, only what would be taken for something else is encoded: characters of patterns,
`#`, `%`, `::`, and what cannot be seen. So each file has one path, and none is taken for a pattern.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from p2p import ids
from p2p.wire.link import Link, PointerLink

SCHEME = "shoal://"
_PATTERN = "*?[]{}"
_PATTERNS = re.compile(rf"[{re.escape(_PATTERN)}]")
_SPECIAL = re.compile(r"[%#*?\[\]{}\\]|:(?=:)|(?<=:):")
_PIECES = re.compile(rf"((?:%[0-9a-fA-F]{{2}})+)|([{re.escape(_PATTERN)}]+)")


def encoded(name: str) -> str:
    """The name of a file or folder, as a part of a path."""
    name = _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", name)
    return name if name.isprintable() else "".join(c if c.isprintable() else quote(c, errors="replace") for c in name)


def decoded(part: str) -> str:
    """The name that a part of a path stands for."""
    return unquote_to_bytes(part).decode(errors="replace")


@lru_cache(maxsize=1024)  # each is read several times on the way to its file
def as_path(address: str) -> str:
    """The path of an address, in which the characters of patterns stay as they are."""
    address = address.removeprefix(SCHEME).strip("/")
    if address.isalnum():
        return address
    pieces = _PIECES.split(address)
    # Text, then an escaped piece or a pattern: the other of the two is None.
    for number, piece in enumerate(pieces):
        if piece:
            kind = number % 3
            pieces[number] = piece if kind == 2 else _normal(piece, escaped=kind == 1)
    return "".join(filter(None, pieces))


def exact(path: str) -> str:
    """The path of one file or folder, in which the characters of patterns stand for themselves."""
    return _PATTERNS.sub(lambda found: f"%{ord(found[0]):02X}", path)


def root_of(link: Link | PointerLink) -> str:
    """The root of the paths in a share, or in the versions of a mutable link."""
    if isinstance(link, Link):
        return ids.to_text(link.share_id)
    return f"{encoded(link.name)}@{ids.to_text(link.publisher)}"


def split(path: str) -> tuple[str, list[str]]:
    """The root of a path, which is a share or a mutable link, and the names below it."""
    root, _, rest = path.partition("/")
    return root, [decoded(part) for part in rest.split("/")] if rest else []


def _normal(text: str, *, escaped: bool) -> str:
    if not escaped:
        return "/".join(map(encoded, text.split("/")))
    try:
        name = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return text  # no share has it
    return encoded(name).replace("/", "%2F")
