"""The protocol between a peer and a tracker, all that they have in common: JSON over HTTP, under `/api/v1`.

    POST announce                     a signed `Announce`; answered by `Announced`, or `Problem` (409: start over)
    GET  search?q=&kind=&min_size=&max_size=&limit=&cursor=          `SearchAnswer`
    GET  shares/<share>               `ShareView`: a listed share with some of its files, and who has it
    GET  sources/<provider key>       `SourcesAnswer`; the key is H("provider", share id), so that a request for a share
                                      that is not listed reveals its id to nobody
    GET  peers/<peer>?limit=&cursor=  `PeerView`: what a peer lists and offers
    GET  volunteers?runtime=&cores=&memory=&limit=&cursor=           `VolunteersAnswer`
    GET  statistics?hours=            `Statistics`
    GET  events                       server-sent events: `event: statistics`, data a `Statistics` without history

Ids are base32 text (`p2p.ids.to_text`), sizes are bytes, times seconds. Errors are `Problem` with a fitting HTTP
status. An announce is a delta: `previous` is the sequence it builds on. A tracker that does not know that sequence (it
lost its database, or another process uses the same key) answers 409, and the peer announces everything with `reset`.
The body is signed as sent, for one tracker and one network, and its sequence only ever grows, so nobody can replay it
to this tracker or to another. All that a peer has announced expires together, `expires_s` after its last announce.
"""

import base64
import binascii
from enum import StrEnum
from typing import Annotated

import msgspec

from p2p.errors import MalformedMessage
from p2p.identity import Identity, verify
from p2p.ids import H, PeerId, ShareId, from_text, to_text
from p2p.wire.signatures import Purpose, to_sign

MAX_SHARES_PER_ANNOUNCE = 1000
MAX_CONTENTS = 50
MAX_ANNOUNCE_BYTES = 3 * 512 * 1024
"""The largest announce: a larger one would take over 5 ms to decode."""
MAX_ANSWER_BYTES = 1024 * 1024
MAX_RESULTS = 200
MAX_QUERY_CHARS = 500
MIN_PREFIX_CHARS = 2
MIN_EXPIRY_S, MAX_EXPIRY_S = 60, 24 * 3600

PEER_HEADER = "shoal-peer"
SIGNATURE_HEADER = "shoal-signature"
NETWORK_HEADER = "shoal-network"
"""The header in which a peer names its network; a tracker of another network answers 403."""
KEY_BYTES = 20

Id = Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
Key = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
"""A provider key: 20 bytes in base32."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Bytes = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
HostPort = Annotated[str, msgspec.Meta(min_length=3, max_length=80)]
"""`host:port` or `[v6]:port`; the host is always an IP address."""
Text = Annotated[str, msgspec.Meta(max_length=255)]


def provider_key(share: ShareId) -> bytes:
    """The key of a share's sources in the DHT and at trackers: 20 bytes that do not reveal the share's id."""
    return H("provider", share)[:KEY_BYTES]


def key_text(key: bytes) -> str:
    """A provider key as text, 32 characters."""
    return base64.b32encode(key).decode("ascii").lower()


def key_from_text(text: str) -> bytes:
    """The inverse of `key_text`. Raises ValueError."""
    if len(text) != 32 or not text.isascii():
        raise ValueError("a provider key has 32 letters and digits")
    try:
        return base64.b32decode(text.upper())
    except binascii.Error:
        raise ValueError("a provider key has only the letters a-z and the digits 2-7") from None


class Kind(StrEnum):
    """What kind of content a share has, judged by its file names; searches can filter by it."""

    AUDIO = "audio"
    VIDEO = "video"
    IMAGE = "image"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    PROGRAM = "program"
    DATA = "data"
    """Any other files."""


class _Struct(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The base of all structures of this protocol. Unknown fields are ignored; fields are only added, with defaults."""


class Content(_Struct, frozen=True, gc=False):
    """One file of a share."""

    path: Path
    size: Bytes


class Listing(_Struct, frozen=True, gc=False):
    """A listed share, as announced, with all that searches look at."""

    share: Id
    name: Name
    size: Bytes
    files: Count
    contents: Annotated[tuple[Content, ...], msgspec.Meta(max_length=MAX_CONTENTS)] = ()
    """Its first files; empty for a share that is a single file."""
    whole: bool = True
    """Whether the announcer has all of the share; if not, it is fetching the share, or has a part."""


class Provided(_Struct, frozen=True, gc=False):
    """A share that the announcer serves (or wants, with `whole` false) but does not list."""

    key: Key
    whole: bool = True


class Capacity(_Struct, frozen=True, gc=False):
    """The computing power that a volunteer offers."""

    runtimes: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=8)]
    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    memory: Bytes
    """Bytes per core."""
    gpu: Text = ""
    policy: Text = ""
    """Which owners the volunteer works for; empty for anybody."""
    load: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """The fraction of the cores that is busy."""
    unit_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0
    """For how many seconds a unit may run at most; 0 if that is not said."""


class Announce(_Struct, frozen=True, gc=False):
    """What has changed at the announcer since its announce with sequence `previous`."""

    tracker: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    """The tracker's URL as the announcer knows it."""
    network: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    sequence: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    """A number higher than in every earlier announce of this peer to this tracker."""
    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    previous: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    reset: bool = False
    """Whether the tracker must forget all that was announced before; if so, `previous` does not matter."""
    expires_s: Annotated[int, msgspec.Meta(ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S)] = 3600
    bye: bool = False
    """Whether the announcer stops now: if so, all that it has announced expires at once."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """The TCP port on which the announcer listens, at the address it announces from; 0 if it does not listen."""
    add: Annotated[tuple[Listing, ...], msgspec.Meta(max_length=MAX_SHARES_PER_ANNOUNCE)] = ()
    """New or changed listed shares."""
    provide: Annotated[tuple[Provided, ...], msgspec.Meta(max_length=MAX_SHARES_PER_ANNOUNCE)] = ()
    """New or changed unlisted shares."""
    drop: Annotated[tuple[Key, ...], msgspec.Meta(max_length=MAX_SHARES_PER_ANNOUNCE)] = ()
    """Shares no longer provided, listed or not."""
    capacity: Capacity | None = None
    """The computing power offered now; None if none is."""


class Problem(_Struct, frozen=True, gc=False):
    """Why a request was refused: what happened, then what to do."""

    error: Annotated[str, msgspec.Meta(max_length=1024)]
    sequence: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    """With status 409: the announcer's last sequence that the tracker knows."""


class Wanted(_Struct, frozen=True, gc=False):
    """Sent to an announcer that cannot be dialled: a peer that it can dial, and that lacks chunks that it has.

    The peer may also be an owner that looks for volunteers: its work is treated as a share (`records.hiring_key`).
    """

    key: Key
    peer: Id
    address: HostPort


class Announced(_Struct, frozen=True, gc=False):
    """The tracker's answer to an announce that it has accepted."""

    sequence: Count
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)]
    """How many seconds after which to announce again, even without changes."""
    seen_host: Annotated[str, msgspec.Meta(max_length=64)]
    """The address from which the announce came."""
    dialable: bool | None = None
    """Whether a dial-back reached the announcer at that address; None if not tried yet."""
    shares: Count = 0
    """How many shares of this peer the tracker now has."""
    refused: Annotated[tuple[Text, ...], msgspec.Meta(max_length=16)] = ()
    """What was not accepted because of quotas, and why."""
    wanted: Annotated[tuple[Wanted, ...], msgspec.Meta(max_length=64)] = ()


class Source(_Struct, frozen=True, gc=False):
    """A peer that announced a share. `address` is set only if a dial-back reached it and the asker may know it."""

    peer: Id
    whole: bool
    age_s: Count
    """Seconds since its last announce."""
    dialable: bool
    address: HostPort | None = None


class SourcesAnswer(_Struct, frozen=True, gc=False):
    """The peers that have a share; a random sample if there are many."""

    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_RESULTS)]
    total: Count = 0


class Found(_Struct, frozen=True, gc=False):
    """A share, as a search result or in a list."""

    share: Id
    name: Name
    size: Bytes
    files: Count
    kind: Kind
    sources: Count
    """How many live peers announced it."""
    age_s: Count
    """Seconds since this tracker first heard of it."""
    signer: Id
    """The peer that first announced it under this name; a signature proves who said so, not that it is true."""
    link: Annotated[str, msgspec.Meta(max_length=8192)]
    matched: Path | None = None
    """The file within the share that matched, if the share's name did not."""


class SearchAnswer(_Struct, frozen=True, gc=False):
    """Results, best first: by how well they match and how many peers have them."""

    results: Annotated[tuple[Found, ...], msgspec.Meta(max_length=MAX_RESULTS)]
    total: Count = 0
    """All matches; if `partial`, there are at least this many."""
    partial: bool = False
    """Whether more shares matched than were ranked; if so, those with the most live sources were ranked."""
    cursor: Text = ""
    """Where the next page starts; empty at the end."""


class ShareView(_Struct, frozen=True, gc=False):
    """A listed share. `contents` are its first files."""

    found: Found
    contents: Annotated[tuple[Content, ...], msgspec.Meta(max_length=MAX_CONTENTS)] = ()
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_RESULTS)] = ()


class PeerView(_Struct, frozen=True, gc=False):
    """A live peer: the shares that it lists, newest first, and the computing power it offers."""

    peer: Id
    dialable: bool
    age_s: Count
    """Seconds since its last announce."""
    known_s: Count
    """Seconds since its first announce."""
    shares: Annotated[tuple[Found, ...], msgspec.Meta(max_length=MAX_RESULTS)] = ()
    total: Count = 0
    bytes: Count = 0
    capacity: Capacity | None = None
    cursor: Text = ""


class Volunteer(_Struct, frozen=True, gc=False):
    """A live peer that offers computing power."""

    peer: Id
    capacity: Capacity
    dialable: bool
    age_s: Count
    address: HostPort | None = None


class VolunteersAnswer(_Struct, frozen=True, gc=False):
    """Volunteers with at least what was asked for, those with the most idle cores first."""

    volunteers: Annotated[tuple[Volunteer, ...], msgspec.Meta(max_length=MAX_RESULTS)]
    total: Count = 0
    cursor: Text = ""


class Moment(_Struct, frozen=True, gc=False):
    """Figures about the network at one point in time, as this tracker saw it."""

    time: float
    """Seconds since 1970."""
    peers: Count
    shares: Count
    bytes: Count
    cores: Count


class Statistics(_Struct, frozen=True, gc=False):
    """The network now, and over the last hours in even steps."""

    now: Moment
    volunteers: Count = 0
    dialable: Count = 0
    torrents: Count = 0
    """Torrents in the tracker's BitTorrent half."""
    torrent_peers: Count = 0
    history: Annotated[tuple[Moment, ...], msgspec.Meta(max_length=1000)] = ()


def encode(value: msgspec.Struct) -> bytes:
    """A structure of this module as JSON."""
    return msgspec.json.encode(value)


_announce_decoder = msgspec.json.Decoder(Announce)


def sign_announce(announce: Announce, identity: Identity) -> tuple[bytes, dict[str, str]]:
    """The body of an announce and the headers that sign it."""
    body = encode(announce)
    signature = base64.b64encode(identity.sign(to_sign(Purpose.ANNOUNCE, announce.network, body))).decode("ascii")
    return body, {
        PEER_HEADER: to_text(identity.peer_id),
        SIGNATURE_HEADER: signature,
        "content-type": "application/json",
    }


def read_announce(body: bytes, peer_text: str, signature_text: str) -> tuple[PeerId, Announce]:
    """The announcer and its announce. Checks the size, the contents, the signature. Raises MalformedMessage."""
    if len(body) > MAX_ANNOUNCE_BYTES:
        raise MalformedMessage(f"an announce has at most {MAX_ANNOUNCE_BYTES} bytes")
    try:
        peer = PeerId(from_text(peer_text))
        signature = base64.b64decode(signature_text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedMessage(f"the headers {PEER_HEADER} and {SIGNATURE_HEADER} are not right: {error}") from None
    try:
        announce = _announce_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"not an announce: {error}") from None
    if not verify(peer, signature, to_sign(Purpose.ANNOUNCE, announce.network, body)):
        raise MalformedMessage("the announce is not signed by the peer it names")
    return peer, announce
