"""Links, which people exchange: a magnet URI names a share, with hints where to find it.

    magnet:?xt=urn:shoal:<base32 share id>&dn=<name>&xl=<bytes>&x.pe=<peer id>@<host:port>&tr=<tracker url>

    shoal:<peer id>/<name>

The second form is mutable: it means the share that the peer last published under that name (`records.Pointer`). In the
first form, everything but `xt` is a hint, which may be missing or wrong. Unknown parameters are ignored; `x.k` is
reserved for the read key of an encrypted share, and this version refuses a link with it rather than half understand it.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from p2p import ids
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire.address import Address, parse_address

MAX_LINK_CHARS = 8192
MAX_HINTS = 32
MAX_POINTER_NAME = 120
_URN = "urn:shoal:"
_POINTER = "shoal:"


@dataclass(frozen=True)
class PeerHint:
    """The address of a peer that may have the share, perhaps with the peer id to expect there."""

    address: Address
    peer_id: PeerId | None = None

    def __str__(self) -> str:
        return f"{ids.to_text(self.peer_id)}@{self.address}" if self.peer_id else str(self.address)


@dataclass(frozen=True)
class Link:
    """A parsed magnet URI: a share, and hints where to find it; `size` is in bytes."""

    share_id: ShareId
    name: str | None = None
    size: int | None = None
    peers: tuple[PeerHint, ...] = ()
    trackers: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"magnet:?xt={_URN}{ids.to_text(self.share_id)}"]
        if self.name is not None:
            parts.append(f"dn={quote(self.name, safe='')}")
        if self.size is not None:
            parts.append(f"xl={self.size}")
        parts += [f"x.pe={quote(str(peer), safe='@:[]')}" for peer in self.peers]
        parts += [f"tr={quote(url, safe='')}" for url in self.trackers]
        return "&".join(parts)


@dataclass(frozen=True)
class PointerLink:
    """A mutable link: the share to which the publisher last gave this name."""

    publisher: PeerId
    name: str

    def __str__(self) -> str:
        return f"{_POINTER}{ids.to_text(self.publisher)}/{quote(self.name, safe='')}"


def parse_any_link(text: str) -> Link | PointerLink:
    """Reads a link of either kind. Raises ConfigError."""
    text = text.strip()
    if not text.startswith(_POINTER):
        return parse_link(text)
    publisher, _, quoted = text.removeprefix(_POINTER).partition("/")
    name = unquote(quoted)
    try:
        check_pointer_name(name)
        return PointerLink(PeerId(ids.from_text(publisher)), name)
    except ValueError as error:
        raise ConfigError(f"This is not a link of the form shoal:<peer>/<name>: {error}.") from None


def check_pointer_name(name: str) -> None:
    """Raises ValueError unless this can be the name in a mutable link."""
    if not name:
        raise ValueError("the name is empty")
    if len(name.encode(errors="replace")) > MAX_POINTER_NAME:
        raise ValueError(f"a name has at most {MAX_POINTER_NAME} bytes")
    if not name.isprintable() or name != name.strip():
        raise ValueError("a name has only printable characters, and no space at either end")


def parse_link(text: str) -> Link:
    """Reads a link, or the bare base32 id of a share. Raises ConfigError; a hint that makes no sense is dropped."""
    text = text.strip().encode(errors="replace").decode()  # replaces what cannot be encoded, such as invalid bytes
    if len(text) > MAX_LINK_CHARS:
        raise ConfigError(f"This link is longer than {MAX_LINK_CHARS} characters, so it is not one of ours.")
    if text.startswith("shoal:"):
        raise ConfigError("A magnet link or the id of a share is needed here, not a link like shoal:<peer>/<name>.")
    if not text.startswith("magnet:?"):
        return Link(_share_id(text))
    try:
        fields = parse_qsl(text.removeprefix("magnet:?"), keep_blank_values=True, max_num_fields=128, errors="replace")
    except ValueError:
        raise ConfigError("This link has too many parameters, so it is not one of ours.") from None
    share_id: ShareId | None = None
    name: str | None = None
    size: int | None = None
    peers: list[PeerHint] = []
    trackers: list[str] = []
    for key, value in fields:
        match key:
            case "xt" if value.startswith(_URN):
                share_id = _share_id(value.removeprefix(_URN))
            case "dn":
                name = value[:255]
            case "xl" if value.isascii() and value.isdigit() and len(value) <= 18:
                size = int(value)
            case "x.pe" if len(peers) < MAX_HINTS:
                peers += _peer_hint(value)
            case "tr" if len(trackers) < MAX_HINTS:
                trackers.append(value)
            case "x.k":
                raise ConfigError("This link is to an encrypted share, which this version cannot read. Update Shoal.")
            case _:
                pass
    if share_id is None:
        raise ConfigError("This magnet link names no Shoal share (it has no xt=urn:shoal:...).")
    return Link(share_id, name, size, tuple(peers), tuple(trackers))


def parse_peer(text: str) -> PeerHint:
    """Parses `HOST:PORT` or `<peer id>@HOST:PORT`. Raises ConfigError."""
    peer_text, separator, address = text.rpartition("@")
    if not separator:
        return PeerHint(parse_address(text))
    try:
        return PeerHint(parse_address(address), PeerId(ids.from_text(peer_text)))
    except ValueError as error:
        raise ConfigError(f"{peer_text!r} is not a peer id: {error}.") from None


def _peer_hint(text: str) -> list[PeerHint]:
    try:
        return [parse_peer(text)]
    except ConfigError:
        return []


def _share_id(text: str) -> ShareId:
    try:
        return ShareId(ids.from_text(text))
    except ValueError as error:
        raise ConfigError(
            f"This is not a link to a Shoal share: {error}. It starts with magnet:?xt=urn:shoal:"
        ) from None
