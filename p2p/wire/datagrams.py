"""The datagrams of the DHT: each carries its sender, a signature and one message, in at most 1,232 bytes.

    "SD1" (3) | network (4) | peer id (32) | nonce (8) | signature (64) | msgpack message

`network` is the beginning of H("network", name). The signature is over `signatures.Purpose.DATAGRAM`, all of
H("network", name), the nonce and the message as sent. The sender's node id is not sent: it is computed from the peer
id and the nonce that the signature covers (`nodeid`). A query names the node it is meant for (except the first `Ping`
to an address whose node is not known), so it is of no use to anybody else; an answer carries the query's random number
and comes from the address that was asked. A query has no further effect when it arrives twice, so after a lost answer
the same datagram is sent again. Queries are padded: no answer is more than three times as long as its query.

Addresses inside are packed: 4 or 16 bytes of IP, 2 of port. A contact is a node id and a packed address. All addresses
are of one family, since IPv4 and IPv6 have separate overlays (as in BEP 32).
"""

import ipaddress
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

from p2p.errors import MalformedMessage
from p2p.identity import Identity, verify
from p2p.ids import PeerId
from p2p.wire import nodeid
from p2p.wire.nodeid import NODE_ID_BYTES, NONCE_BYTES
from p2p.wire.records import MAX_RECORD_BYTES
from p2p.wire.signatures import SIGNATURE_BYTES, Purpose, network_tag, to_sign

MAX_DATAGRAM_BYTES = 1232
PADDED_BYTES = 411
"""The size to which queries for contacts and records are padded: a third of the largest answer."""
AMPLIFICATION = 3
NUMBER_BYTES = 12
TOKEN_BYTES = 8
MAGIC = b"SD1"
_TAG_BYTES = 4
_HEADER_BYTES = len(MAGIC) + _TAG_BYTES + 32 + NONCE_BYTES + SIGNATURE_BYTES

_MessageNumber = Annotated[bytes, msgspec.Meta(min_length=NUMBER_BYTES, max_length=NUMBER_BYTES)]
_NodeId = Annotated[bytes, msgspec.Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
_To = Annotated[bytes, msgspec.Meta(max_length=NODE_ID_BYTES)]
_Token = Annotated[bytes, msgspec.Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
_Padding = Annotated[bytes, msgspec.Meta(max_length=MAX_DATAGRAM_BYTES)]
_Packed = Annotated[bytes, msgspec.Meta(min_length=6, max_length=18)]
_Contacts = Annotated[bytes, msgspec.Meta(max_length=MAX_DATAGRAM_BYTES)]
_Time = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
_RecordBytes = Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)]


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    number: _MessageNumber
    to: _To


class Ping(_Message, frozen=True, gc=False, tag=0):
    """Asks whether the receiver is there, and who it is. Answered by `Pong`. `to` may be empty."""

    padding: _Padding = b""


class FindNode(_Message, frozen=True, gc=False, tag=1):
    """Asks which nodes the receiver knows near the target. Answered by `Nodes`."""

    target: _NodeId
    padding: _Padding = b""


class FindValue(_Message, frozen=True, gc=False, tag=2):
    """Asks which records the receiver keeps under the key, and which nodes it knows near it. Answered by `Values`."""

    key: _NodeId
    padding: _Padding = b""


class Store(_Message, frozen=True, gc=False, tag=3):
    """Asks the receiver to keep this record; the token is from a recent `Nodes` or `Values`. Answered by `Stored`."""

    token: _Token
    key: _NodeId
    record: _RecordBytes
    padding: _Padding = b""


class _Answer(_Message, frozen=True, gc=False):
    now: _Time
    """The sender's clock, seconds since 1970."""
    seen: _Packed
    """The address from which the query came."""


class Pong(_Answer, frozen=True, gc=False, tag=16):
    """Answers a `Ping`: the sender is there."""


class Nodes(_Answer, frozen=True, gc=False, tag=17):
    """Answers a `FindNode`: the contacts nearest to the target that the sender knows."""

    token: _Token
    contacts: _Contacts


class Values(_Answer, frozen=True, gc=False, tag=18):
    """Answers a `FindValue`: records under the key (a random few of `total` if too many), and the nearest contacts."""

    token: _Token
    contacts: _Contacts
    records: Annotated[tuple[_RecordBytes, ...], msgspec.Meta(max_length=16)]
    total: Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Stored(_Answer, frozen=True, gc=False, tag=19):
    """Answers a `Store`: whether the record is kept, or else why it was refused."""

    refused: Annotated[str, msgspec.Meta(max_length=64)] = ""


Query = Ping | FindNode | FindValue | Store
Answer = Pong | Nodes | Values | Stored
AnyMessage = Query | Answer

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)


class Datagram(NamedTuple):
    """A datagram, parsed; nothing in it is proven until `DatagramCodec.proven` returns a node id."""

    peer: PeerId
    nonce: bytes
    signature: bytes
    body: bytes
    message: AnyMessage


class DatagramCodec:
    """Writes this peer's datagrams in one network, signed by `identity`, and reads other peers' datagrams."""

    def __init__(self, identity: Identity, nonce: bytes, network: str, bits: int) -> None:
        self._identity = identity
        self.network = network
        self._signed_head = to_sign(Purpose.DATAGRAM, network)
        self._head = MAGIC + network_tag(network)[:_TAG_BYTES] + identity.peer_id + nonce
        self._nonce = nonce
        self._bits = bits
        self.node_id = nodeid.node_id(identity.peer_id, nonce)

    def write(self, message: AnyMessage) -> bytes:
        """The datagram with this message. Raises ValueError if it is too large: callers must make their answers fit."""
        body = _encoder.encode(message)
        signature = self._identity.sign(self._signed_head + self._nonce + body)
        datagram = b"".join((self._head, signature, body))
        if len(datagram) > MAX_DATAGRAM_BYTES:
            raise ValueError("this datagram is too large")
        return datagram

    def read(self, datagram: bytes) -> Datagram:
        """Parses a datagram, cheaply, and checks all but the signature. Raises MalformedMessage."""
        if not _HEADER_BYTES < len(datagram) <= MAX_DATAGRAM_BYTES:
            raise MalformedMessage("a datagram out of bounds")
        if datagram[: len(MAGIC) + _TAG_BYTES] != self._head[: len(MAGIC) + _TAG_BYTES]:
            raise MalformedMessage("a datagram of something else")
        at = len(MAGIC) + _TAG_BYTES
        peer = PeerId(datagram[at : at + 32])
        nonce = datagram[at + 32 : at + 32 + NONCE_BYTES]
        body = datagram[_HEADER_BYTES:]
        try:
            message = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedMessage(f"not a message: {error}") from None
        return Datagram(peer, nonce, datagram[_HEADER_BYTES - SIGNATURE_BYTES : _HEADER_BYTES], body, message)

    def sender(self, datagram: Datagram) -> bytes | None:
        """The node id of whoever is said to have sent this, which is cheap to tell; None if it has too little work."""
        node = nodeid.node_id(datagram.peer, datagram.nonce)
        return node if nodeid.is_valid(node, self._bits) else None

    def is_signed(self, datagram: Datagram) -> bool:
        """Whether the sender did sign this datagram."""
        return verify(datagram.peer, datagram.signature, self._signed_head + datagram.nonce + datagram.body)

    def proven(self, datagram: Datagram) -> bytes | None:
        """The sender's node id, or None if the sender did not sign this datagram or its id has too little work."""
        node = self.sender(datagram)
        return node if node is not None and self.is_signed(datagram) else None


def overhead(message: AnyMessage) -> int:
    """The size of a datagram with this message, in bytes."""
    return _HEADER_BYTES + len(_encoder.encode(message))


def padding_for(length: int) -> bytes:
    """Padding that brings a datagram of `length` bytes to at least `PADDED_BYTES`."""
    return bytes(max(0, PADDED_BYTES - length))


def pack_address(host: str, port: int) -> bytes:
    """Packs an address into 6 bytes for IPv4, 18 for IPv6, without a zone. Raises ValueError."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed + port.to_bytes(2, "big")


def unpack_address(packed: bytes) -> tuple[str, int]:
    """The inverse of `pack_address`. Raises MalformedMessage."""
    if len(packed) not in {6, 18}:
        raise MalformedMessage("not an address")
    return str(ipaddress.ip_address(packed[:-2])), int.from_bytes(packed[-2:], "big")


def pack_contacts(contacts: Iterable[tuple[bytes, str, int]]) -> bytes:
    """The node id and packed address of each contact, joined."""
    return b"".join(node + pack_address(host, port) for node, host, port in contacts)


def unpack_contacts(packed: bytes, *, v6: bool) -> list[tuple[bytes, str, int]]:
    """The inverse of `pack_contacts`, for contacts of one family. Raises MalformedMessage."""
    step = NODE_ID_BYTES + (18 if v6 else 6)
    if len(packed) % step:
        raise MalformedMessage("contacts cut short")
    return [
        (packed[at : at + NODE_ID_BYTES], *unpack_address(packed[at + NODE_ID_BYTES : at + step]))
        for at in range(0, len(packed), step)
    ]
