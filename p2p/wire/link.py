"""Links, which people exchange: one names a share, with hints where to find it; or a mutable one names a pointer.

    shoal:s/<base32 share id and checksum>/<hint>/<hint>...
    shoal:m/<base32 peer id and checksum>/<name>/<hint>...

A mutable link means the share that the peer last published under that name (`records.Pointer`). Hints, which may be
missing or wrong, are `n.<name>`, `b.<bytes>`, `p.<peer id>@<host:port>` and `t.<tracker>`; `p.@<host:port>` is another
address of the last peer named. Unknown ones are ignored;
`k` is reserved for the read key of an encrypted share: this version refuses a link with it rather than half understand
it. Links have no character that a shell, a browser or a mailer treats in a way of its own: bytes other than letters,
digits, `-`, `_`, `.`, `:` and `@` are written as a comma and two hexadecimal digits. Case does not matter.

Programs that read data write addresses, which name no hints: of a share, a file or folder of one, or the same of the
newest version of a mutable link. Where a link is read, they stand for the share:

    shoal://<base32 share id>/<path>
    shoal://<name>@<base32 peer id>/<path>

Links of before are read too:

    magnet:?xt=urn:shoal:<base32 share id>&dn=<name>&xl=<bytes>&x.pe=<peer id>@<host:port>&tr=<tracker url>
    shoal:<peer id>/<name>
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from p2p import ids
from p2p.errors import ConfigError
from p2p.formats import quoted
from p2p.ids import PeerId, ShareId
from p2p.wire.address import Address, parse_address
from p2p.wire.checksum import CHARS, with_checksum, without_checksum
from p2p.wire.pasted import MAX_PASTED_CHARS, TRAILING, count_links, link_in

MAX_LINK_CHARS = 8192
MAX_HINTS = 32
MAX_PARTS = 128
MAX_NAME_CHARS = 255
MAX_POINTER_NAME = 120
_URN = "urn:shoal:"
_SCHEME = "shoal:"
_SHARE, _MUTABLE = "s", "m"
_PURPOSES = {_SHARE: "shoal", _MUTABLE: "shoalm"}
_ID_CHARS = 58
_SPECIAL = re.compile(r"[^A-Za-z0-9._:@-]")
_LOWER = re.compile(r"[^a-z0-9._-]")
_ESCAPED = re.compile(rb",([0-9a-fA-F]{2})")
_ENCODED = re.compile(r"(?:[\w.~-]|%[0-9a-fA-F]{2})+")
_URL = re.compile(r"shoal://(?:([^/@]*)@)?([a-z2-7]{58}|[a-z2-7]{52})(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_WEB = {"t": "http://", "ts": "https://", "tu": ""}


class PeerHint(msgspec.Struct, frozen=True):
    """The address of a peer that may have the share, perhaps with the peer id to expect there."""

    address: Address
    peer_id: PeerId | None = None

    def __str__(self) -> str:
        return f"{ids.to_text(self.peer_id)}@{self.address}" if self.peer_id else str(self.address)


class Link(msgspec.Struct, frozen=True):
    """A link to a share, and hints where to find it; `size` is in bytes."""

    share_id: ShareId
    name: str | None = None
    size: int | None = None
    peers: tuple[PeerHint, ...] = ()
    trackers: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [_SHARE, with_checksum(_PURPOSES[_SHARE], ids.to_text(self.share_id))]
        if self.name:
            parts.append(f"n.{_escaped(self.name)}")
        if self.size is not None:
            parts.append(f"b.{self.size}")
        return _SCHEME + "/".join([*parts, *_hints(self.peers, self.trackers, None)])


class PointerLink(msgspec.Struct, frozen=True):
    """A mutable link: the share to which the publisher last gave this name, and hints where to ask."""

    publisher: PeerId
    name: str
    peers: tuple[PeerHint, ...] = ()
    trackers: tuple[str, ...] = ()

    def __str__(self) -> str:
        publisher = with_checksum(_PURPOSES[_MUTABLE], ids.to_text(self.publisher))
        hints = _hints(self.peers, self.trackers, self.publisher)
        return _SCHEME + "/".join([_MUTABLE, publisher, _escaped(self.name, _LOWER), *hints])


class Url(NamedTuple):
    """The address of a share, or of a file or folder in it: `path` is as it was written, percent-encoded."""

    link: Link | PointerLink
    path: str


def parse_url(text: str) -> Url | None:
    """Reads `shoal://<share id>/<path>` or `shoal://<name>@<peer id>/<path>`. None for what is written otherwise.

    Raises ConfigError for a wrong id or name.
    """
    if (found := _URL.fullmatch(text.strip())) is None:
        return None
    name, identity, path = found[1], found[2], found[3] or ""
    if name is None:
        return Url(Link(_bare(identity)), path)
    try:
        return Url(PointerLink(parse_peer_id(identity), _pointer_name(unquote(name))), path)
    except ValueError as error:
        raise ConfigError(f"{quoted(identity)} is not a peer id: {error}.") from None


def parse_any_link(text: str) -> Link | PointerLink:
    """Reads a link of either kind, whatever is around it. Raises ConfigError; a hint that makes no sense is dropped."""
    if len(text) > MAX_PASTED_CHARS:
        raise ConfigError(f"This text is longer than {MAX_PASTED_CHARS} characters, so it is not one of our links.")
    if (url := parse_url(text) or parse_url(link_in(text))) is not None:
        if url.path:
            raise ConfigError("This is the address of something in a share. Here, give that of the share alone.")
        return url.link
    if not text.strip():
        raise ConfigError("The link is empty. A link begins with shoal:s/ or shoal:m/")
    if (count := count_links(text)) > 1:
        raise ConfigError(f"These are {count} links. Give one at a time.")
    text = link_in(text)
    if len(text) > MAX_LINK_CHARS:
        raise ConfigError(f"This link is longer than {MAX_LINK_CHARS} characters, so it is not one of ours.")
    if text.partition(":")[2].isupper():
        text = text.lower()
    if text.startswith("magnet:"):
        return _magnet(text)
    if not text.startswith(_SCHEME):
        return Link(_bare(text))
    kind, _, rest = text.removeprefix(_SCHEME).partition("/")
    if kind.lower() not in _PURPOSES:
        return _earlier_pointer(kind, rest)
    if "%" in rest:
        rest = unquote(unquote(rest))  # no link of ours has a %: somebody encoded it for a web address
    identity, *parts = rest.split("/", MAX_PARTS)
    key = _checked(kind.lower(), identity)
    if kind.lower() == _SHARE:
        return _with_hints(Link(ShareId(key)), parts)
    name, *hints = parts or [""]
    return _with_hints(PointerLink(PeerId(key), _pointer_name(_unescaped(name.lower()))), hints)


def parse_link(text: str) -> Link:
    """Reads a link to a share, or the bare base32 id of one. Raises ConfigError, also for a mutable link."""
    link = parse_any_link(text)
    if isinstance(link, PointerLink):
        raise ConfigError("A link to a share, or the id of one, is needed here, not a mutable link.")
    return link


def is_link(text: str) -> bool:
    """Whether the text was meant as a link, even if it is a wrong one."""
    return link_in(text[:MAX_PASTED_CHARS]).startswith(("magnet:", _SCHEME))


def check_pointer_name(name: str) -> None:
    """Raises ValueError unless this can be the name in a mutable link."""
    if not name:
        raise ValueError("the name is empty")
    if len(name.encode(errors="replace")) > MAX_POINTER_NAME:
        raise ValueError(f"a name has at most {MAX_POINTER_NAME} bytes")
    if not name.isprintable() or name != name.strip():
        raise ValueError("a name has only printable characters, and no space at either end")


def parse_peer(text: str) -> PeerHint:
    """Parses `HOST:PORT` or `<peer id>@HOST:PORT`. Raises ConfigError."""
    peer_text, separator, address = text.rpartition("@")
    if not separator:
        return PeerHint(parse_address(text))
    try:
        return PeerHint(parse_address(address), parse_peer_id(peer_text))
    except ValueError as error:
        raise ConfigError(f"{quoted(peer_text)} is not a peer id: {error}.") from None


def parse_peer_id(text: str) -> PeerId:
    """Reads the id of a peer, with the checksum that it has in mutable links or without. Raises ValueError."""
    digits = without_checksum(_PURPOSES[_MUTABLE], text.lower()) if len(text) == _ID_CHARS else text
    return PeerId(ids.from_text(digits))


def _checked(kind: str, text: str) -> bytes:
    """The id in a link. Raises ConfigError."""
    if len(text) != _ID_CHARS:
        raise ConfigError(
            f"This link is not whole: {len(text)} characters follow shoal:{kind}/ where {_ID_CHARS} belong. "
            "Copy it again from its beginning to its end."
        )
    try:
        return ids.from_text(without_checksum(_PURPOSES[kind], text.lower()))
    except ValueError:
        raise ConfigError(
            f"This link was mistyped: the checksum in the {_ID_CHARS} characters after shoal:{kind}/ does not match. "
            "Compare them with the original, or copy it again."
        ) from None


def _bare(text: str) -> ShareId:
    try:
        return ShareId(ids.from_text(text))
    except ValueError:
        if len(text) != _ID_CHARS or not text.isalnum():
            raise ConfigError(
                f"{quoted(text)} is neither a link, which begins with shoal:s/ or shoal:m/, nor the id of a share, "
                f"which has {_ID_CHARS - CHARS} letters and digits, or {_ID_CHARS} with its checksum."
            ) from None
    with suppress(ValueError):
        without_checksum(_PURPOSES[_MUTABLE], text.lower())
        raise ConfigError("This is the id of a peer, not of a share. `shoal browse` lists what a peer shares.")
    return ShareId(_checked(_SHARE, text))


def _earlier_pointer(publisher: str, quoted: str) -> PointerLink:
    try:
        return PointerLink(PeerId(ids.from_text(publisher)), _pointer_name(unquote(quoted)))
    except ValueError as error:
        raise ConfigError(
            f"This is not a link: {error}. A link begins with shoal:s/ or, if it is mutable, with shoal:m/"
        ) from None


def _pointer_name(name: str) -> str:
    try:
        check_pointer_name(name)
    except ValueError as error:
        raise ConfigError(f"This is not a mutable link, shoal:m/<peer>/<name>: {error}.") from None
    return name


def _magnet(text: str) -> Link:
    if "%25" in text and not re.search("%(?!25)", text):
        text = unquote(text)  # it was percent-encoded once more than it had to be
    try:
        fields = parse_qsl(
            text.removeprefix("magnet:?"), keep_blank_values=True, max_num_fields=MAX_PARTS, errors="replace"
        )
    except ValueError:
        raise ConfigError("This link has too many parameters, so it is not one of ours.") from None
    share_id: ShareId | None = None
    hints: list[tuple[str, str]] = []
    for key, value in fields:
        match key.lower():
            case "xt" if value.lower().startswith(_URN):
                share_id = _share_id(value[len(_URN) :])
            case "dn":
                hints.append(("n", _decoded(value)))
            case "xl":
                hints.append(("b", value))
            case "x.pe":
                hints.append(("p", _decoded(value)))
            case "tr":
                hints.append(("tu", _decoded(value)))
            case "x.k":
                hints.append(("k", value))
            case _:
                pass
    if share_id is None:
        raise ConfigError("This magnet link names no Shoal share (it has no xt=urn:shoal:...).")
    return _taken(Link(share_id), hints)


def _decoded(value: str) -> str:
    """The value of a hint that was perhaps percent-encoded once more than it had to be."""
    return unquote(value) if _ENCODED.fullmatch(value) else value


L = TypeVar("L", Link, PointerLink)


def _with_hints(link: L, parts: Iterable[str]) -> L:
    pairs = [part.partition(".") for part in parts]
    return _taken(link, [(key.lower(), _unescaped(value)) for key, _, value in pairs])


def _taken(link: L, hints: Iterable[tuple[str, str]]) -> L:
    """The link with those hints that make sense."""
    name: str | None = None
    size: int | None = None
    peers: list[PeerHint] = []
    trackers: list[str] = []
    last = link.publisher if isinstance(link, PointerLink) else None
    for key, value in hints:
        match key:
            case "n" if value:
                name = value[:MAX_NAME_CHARS]
            case "b" if value.isascii() and value.isdigit() and len(value) <= 18:
                size = int(value)
            case "p" if len(peers) < MAX_HINTS:
                peers += _peer_hint(value, last)
                last = peers[-1].peer_id or last if peers else last
            case "t" | "ts" | "tu" if value and len(trackers) < MAX_HINTS:
                trackers.append(_WEB[key] + value)
            case "k":
                raise ConfigError("This link is to an encrypted share, which this version cannot read. Update Shoal.")
            case _:
                pass
    found = msgspec.structs.replace(link, peers=tuple(peers), trackers=tuple(trackers))
    return found if isinstance(found, PointerLink) else msgspec.structs.replace(found, name=name, size=size)


def _hints(peers: Iterable[PeerHint], trackers: Iterable[str], last: PeerId | None) -> list[str]:
    """The parts of a link; `last` is the last peer that the link names."""
    said: list[str] = []
    for hint in peers:
        text = f"@{hint.address}" if hint.peer_id is not None and hint.peer_id == last else str(hint)
        said.append(f"p.{_escaped(text.replace('[', '').replace(']', ''))}")
        last = hint.peer_id or last
    for url in filter(None, trackers):
        key = next(key for key, scheme in _WEB.items() if url.startswith(scheme) and url != scheme)
        said.append(f"{key}.{_escaped(url.removeprefix(_WEB[key]))}")
    return said


def _peer_hint(text: str, last: PeerId | None) -> list[PeerHint]:
    peer, at, address = text.rpartition("@")
    if at and not peer and last is not None:
        peer = ids.to_text(last)
    host, colon, port = address.rpartition(":")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    try:
        return [parse_peer(peer + at + host + colon + port)]
    except ConfigError:
        return []


def _escaped(text: str, special: re.Pattern[str] = _SPECIAL) -> str:
    said = special.sub(lambda match: _bytes(match[0]), text)
    return said[:-1] + _bytes(said[-1]) if said and said[-1] in TRAILING else said


def _bytes(text: str) -> str:
    return "".join(f",{byte:02x}" for byte in text.encode(errors="replace"))


def _unescaped(text: str) -> str:
    said = text.encode(errors="replace")
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), said).decode(errors="replace")


def _share_id(text: str) -> ShareId:
    try:
        return ShareId(ids.from_text(text))
    except ValueError as error:
        raise ConfigError(f"This is not a link to a Shoal share: {error}. A link begins with shoal:s/") from None
