"""The messages of a connection: frozen structs whose types contain the limits.

Each docstring says who sends the message, when, and what answers it. Fields are only ever added, with defaults; unknown
fields are ignored, and a message of an unknown type is answered with `Failed("unsupported")`.
"""

from typing import Annotated

import msgspec

from p2p.errors import MalformedMessage
from p2p.wire.address import Host, Port
from p2p.wire.cluster import AnyCluster
from p2p.wire.work import AnyWork

MAX_PART_BYTES = 256 * 1024
MAX_ROOT_BYTES = 768 * 1024
MAX_RANGES = 4096
MAX_MAP_BYTES = 512 * 1024
MAX_PEERS = 64

Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
ShortText = Annotated[str, msgspec.Meta(max_length=255)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Count = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
Range = tuple[Number, Count]
"""A range of chunks: (first chunk, number of chunks)."""


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    """The base class of all messages of a connection."""


class Challenge(Message, frozen=True, gc=False, tag="challenge"):
    """From the listener, before anything else: asks the dialer to sign the nonce. Answered by `Proof`."""

    nonce: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Proof(Message, frozen=True, gc=False, tag="proof"):
    """From the dialer: proves its id; the signature is over `signatures.dialer_proof`. Then both sides send `Hello`."""

    peer_id: Id
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Hello(Message, frozen=True, gc=False, tag="hello"):
    """From both sides, once, after the proof. `seen_host` is the address at which the sender sees the receiver."""

    software: ShortText = ""
    features: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)] = ()
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """The TCP port on which the sender listens; 0 if it does not listen."""
    seen_host: ShortText = ""


LINKS = "links"
"""The feature of a peer that reads manifests with symbolic links."""


class GetRoot(Message, frozen=True, gc=False, tag="get_root"):
    """Asks for the manifest root of a share. Answered by `Root` or `Failed`."""

    share: Id


class Root(Message, frozen=True, gc=False, tag="root"):
    """Answers `GetRoot` with the bytes of the manifest root, whose hash is the share id."""

    body: Annotated[bytes, msgspec.Meta(max_length=MAX_ROOT_BYTES)]


class GetPart(Message, frozen=True, gc=False, tag="get_part"):
    """Asks for a part of a share's manifest. Answered by `Part` or `Failed`."""

    share: Id
    index: Number


class Part(Message, frozen=True, gc=False, tag="part"):
    """Answers `GetPart` with the bytes of a manifest part, whose hash the root lists at this index."""

    index: Number
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_PART_BYTES)]


class Open(Message, frozen=True, gc=False, tag="open"):
    """Begins the exchange of a share on this connection. Answered by `Have` (perhaps empty) or `Failed`.

    The opener then sends a `Have` of its own if it holds chunks: from then on both sides have the same role.
    """

    share: Id
    proof: Annotated[bytes, msgspec.Meta(max_length=1024)] = b""
    """Reserved for shares that ask for a proof."""


class Have(Message, frozen=True, gc=False, tag="have"):
    """Chunks that the sender now holds, besides those it named before: ranges, and a bitmap that starts at `first`.

    Bit i of the bitmap (least significant first) is chunk first + i. Several `Have`s add up.
    """

    ranges: Annotated[tuple[Range, ...], msgspec.Meta(max_length=MAX_RANGES)] = ()
    first: Number = 0
    bits: Annotated[bytes, msgspec.Meta(max_length=MAX_MAP_BYTES)] = b""


class Gone(Message, frozen=True, gc=False, tag="gone"):
    """Chunks that the sender no longer holds, since a file has changed; unanswered requests for them are cancelled."""

    ranges: Annotated[tuple[Range, ...], msgspec.Meta(max_length=MAX_RANGES)]


class Want(Message, frozen=True, gc=False, tag="want"):
    """Asks for these chunks, in this order. Answered by data frames, once earlier `Want`s are answered."""

    first: Number
    count: Count


class Cancel(Message, frozen=True, gc=False, tag="cancel"):
    """Cancels requests for these chunks; bytes that are already being sent may still arrive."""

    first: Number
    count: Count


class Hurry(Message, frozen=True, gc=False, tag="hurry"):
    """Asks for these chunks, as far as they were asked for and are still to be sent, before all others."""

    first: Number
    count: Count


class Choked(Message, frozen=True, gc=False, tag="choked"):
    """Tells the receiver that its requests wait for a slot, behind `position` peers; 0 means that it is served now.

    The receiver answers any other position at once, if only with an empty `Have`.
    """

    position: Number


class Peers(Message, frozen=True, gc=False, tag="peers"):
    """Peer exchange: names other peers that have this share, and to which the sender itself has connected."""

    peers: Annotated[tuple[tuple[Id, Host, Port], ...], msgspec.Meta(max_length=MAX_PEERS)]


class Bad(Message, frozen=True, gc=False, tag="bad"):
    """Reports a chunk of this exchange that does not match its hash, and ends the exchange.

    The source hashes the chunk on its disk. It stops serving a file that is bad, and a reporter that lies.
    """

    chunk: Number


class Browse(Message, frozen=True, gc=False, tag="browse"):
    """Asks which shares the receiver lists. Answered by `Listed`, whose cursor is sent to ask for the next page."""

    cursor: ShortText = ""


class Listing(msgspec.Struct, frozen=True, gc=False):
    """One share in a `Listed`; its size is in bytes."""

    share: Id
    name: ShortText
    size: Number
    files: Number


class Listed(Message, frozen=True, gc=False, tag="listed"):
    """Answers `Browse` with some of the shares that the sender lists; an empty cursor ends the list."""

    shares: Annotated[tuple[Listing, ...], msgspec.Meta(max_length=256)]
    cursor: ShortText = ""


class GetPointer(Message, frozen=True, gc=False, tag="get_pointer"):
    """Asks for the newest pointer that the receiver has seen under a name. Answered by `PointerIs` or `Failed`."""

    publisher: Id
    name: ShortText


class PointerIs(Message, frozen=True, gc=False, tag="pointer_is"):
    """Answers `GetPointer` with the pointer, a record signed by its publisher (`wire.records`)."""

    record: Annotated[bytes, msgspec.Meta(max_length=512)]


class Offer(Message, frozen=True, gc=False, tag="offer"):
    """From the dialer, which has chunks of this share or is fetching it: offers it over this connection.

    A receiver that wants the share asks as if it had dialled: `GetRoot`, `GetPart`, `Open`. Any other receiver
    answers `Failed`.
    """

    share: Id


class DialMe(Message, frozen=True, gc=False, tag="dial_me"):
    """Asks a peer that cannot be dialled to dial the sender once more, and offer this share. Never answered.

    The receiver dials an address at which it has met the sender before, or does not dial at all.
    """

    share: Id


class Failed(Message, frozen=True, gc=False, tag="failed"):
    """Why a request cannot be met: `not found`, `busy`, `duplicate`, `unsupported`, or an explanation in words."""

    reason: ShortText
    share: Annotated[bytes, msgspec.Meta(max_length=32)] = b""


NOT_FOUND = "not found"
BUSY = "busy"
DUPLICATE = "duplicate"
LIED = "not served for a while, since it complained about good chunks"
UNSUPPORTED = "unsupported"
INTERNAL = "internal"
"""The sender has failed over what was said, which says nothing about the receiver."""

AnyMessage = (
    Challenge
    | Proof
    | Hello
    | GetRoot
    | Root
    | GetPart
    | Part
    | Open
    | Have
    | Gone
    | Want
    | Cancel
    | Hurry
    | Choked
    | Peers
    | Bad
    | Browse
    | Listed
    | GetPointer
    | PointerIs
    | Offer
    | DialMe
    | AnyWork
    | AnyCluster
    | Failed
)


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A message of a type that this version does not know; never sent."""

    type: ShortText


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)
_type_decoder = msgspec.msgpack.Decoder(Unknown)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in AnyMessage.__args__)


def encode(message: AnyMessage) -> bytes:
    """The message as the body of a control frame."""
    return _encoder.encode(message)


def decode(body: bytes | bytearray | memoryview) -> AnyMessage | Unknown:
    """The message in a control frame's body. Raises only MalformedMessage, whatever the bytes."""
    try:
        message: AnyMessage = _decoder.decode(body)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            unknown = _type_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise MalformedMessage(f"not a message: {error}") from None
        if unknown.type in _KNOWN:
            raise MalformedMessage(f"a {unknown.type} message out of bounds: {error}") from None
        return unknown
