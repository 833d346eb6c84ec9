"""The path of a request as a share, and a path within it.

A path is split before it is decoded, so an escaped slash is part of a name, which no share has. What cannot be the path
of a file is refused rather than repaired: nothing here, or in a share, is reached by two addresses.
"""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from p2p import ids
from p2p.errors import ConfigError, MalformedMessage, NotFound
from p2p.ids import PeerId, ShareId
from p2p.wire.link import check_pointer_name, parse_peer_id

Path = tuple[str, ...]

SHARES, NAMES = "/s/", "/n/"


class Place(NamedTuple):
    """A file or a folder of a share."""

    share: ShareId
    path: Path
    with_slash: bool
    """Whether the address ends with a slash, as those of folders do."""


class NamedPlace(NamedTuple):
    """A file or a folder of the share to which a mutable link leads now."""

    publisher: PeerId
    name: str
    path: Path
    with_slash: bool


def parse_place(raw_path: bytes) -> Place:
    """Parses `/s/<share id>/<path>`. Raises MalformedMessage, or NotFound if no share can have this path."""
    (text, *path), with_slash = _parts(raw_path, SHARES)
    return Place(ShareId(_id(text)), tuple(path), with_slash)


def parse_named(raw_path: bytes) -> NamedPlace:
    """Parses `/n/<peer id>/<name>/<path>`. Raises MalformedMessage, or NotFound if no share can have this path."""
    parts, with_slash = _parts(raw_path, NAMES)
    if len(parts) < 2:
        raise MalformedMessage("Write /n/, a peer id, a slash, and the name of a mutable link.")
    text, name, *path = parts
    try:
        publisher = parse_peer_id(text)
        check_pointer_name(name)
    except ConfigError as error:
        raise MalformedMessage(str(error)) from None
    except ValueError as error:
        raise MalformedMessage(f"This is not the name of a mutable link: {error}.") from None
    return NamedPlace(publisher, name, tuple(path), with_slash)


def address(place: Place) -> str:
    """The address of a place, the same for everybody."""
    return _joined(SHARES, (ids.to_text(place.share), *place.path), with_slash=place.with_slash)


def relative(name: str, *, is_folder: bool) -> str:
    """The address of what is in a folder, as seen from the folder. It begins with no scheme, whatever the name."""
    return _joined("./", (name,), with_slash=is_folder)


def _joined(start: str, parts: tuple[str, ...], *, with_slash: bool) -> str:
    return start + "/".join(quote(part, safe="") for part in parts) + ("/" if with_slash else "")


def _parts(raw_path: bytes, start: str) -> tuple[list[str], bool]:
    assert raw_path.startswith(start.encode())
    pieces = raw_path[len(start) :].split(b"/")
    with_slash = pieces[-1] == b""
    if with_slash:
        pieces.pop()
    if not pieces:
        raise MalformedMessage(f"Write the id of a share after {SHARES}, or see `shoal share`.")
    return [_decoded(piece) for piece in pieces], with_slash


def _decoded(piece: bytes) -> str:
    try:
        text = unquote_to_bytes(piece).decode()
    except UnicodeDecodeError:
        raise MalformedMessage("The address is not UTF-8.") from None
    if text in {"", ".", ".."} or "/" in text or "\0" in text:
        raise NotFound("No share has a path like this one.")
    return text


@lru_cache(maxsize=256)
def _id(text: str) -> bytes:
    try:
        return ids.from_text(text)
    except ValueError as error:
        raise MalformedMessage(f"This is not the id of a share: {error}.") from None
