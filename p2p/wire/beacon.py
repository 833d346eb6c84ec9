"""The beacon: how peers of one local network tell each other that they are there, by multicast, in 118 bytes.

    "SB1" (3) | network (4) | peer id (32) | start (8) | number (4) | kind (1) | TCP port (2) | signature (64)

`network` is the beginning of H("network", name). The signature is over `signatures.Purpose.BEACON`, all of
H("network", name), and start, number, kind and port as sent. `start` is random for each start of a peer, and its
numbers only grow. A beacon names no host: its sender is where it came from. Who plays back another's beacon from
elsewhere makes a neighbour that fails the TLS handshake; and a `leaving` takes back only what the same start has said
before, so none that was recorded can hide the peer once it is back.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from p2p.errors import MalformedMessage
from p2p.identity import Identity, verify
from p2p.ids import H, PeerId
from p2p.wire.signatures import SIGNATURE_BYTES, Purpose, to_sign

MAGIC = b"SB1"
START_BYTES = 8
_TAG_BYTES = 4
_SAID = struct.Struct(f"!{START_BYTES}sIBH")
_LAYOUT = struct.Struct(f"!{len(MAGIC) + _TAG_BYTES}s32s{_SAID.size}s{SIGNATURE_BYTES}s")
BEACON_BYTES = _LAYOUT.size


class BeaconKind(IntEnum):
    """What a beacon says."""

    HELLO = 1
    """I have just come: who else is here? Answered by everybody's `HERE`."""
    HERE = 2
    """I am here."""
    LEAVING = 3
    """I was here until now."""


class Beacon(NamedTuple):
    """A beacon taken apart; nothing in it is proven before `proven` says so."""

    peer: PeerId
    start: bytes
    number: int
    kind: BeaconKind
    port: int
    """Where the sender listens; 0 if it cannot be dialled."""
    said: bytes
    signature: bytes


class BeaconCodec:
    """Beacons of one network: written as one start of `identity`, and read."""

    def __init__(self, identity: Identity, network: str, start: bytes) -> None:
        tag = H("network", network.encode())
        self._identity = identity
        self._start = start
        self._head = MAGIC + tag[:_TAG_BYTES]
        self._signed_head = to_sign(Purpose.BEACON, tag)
        self._number = 0

    @property
    def peer_id(self) -> PeerId:
        return self._identity.peer_id

    def write(self, kind: BeaconKind, port: int) -> bytes:
        """The next beacon of this start."""
        self._number += 1
        said = _SAID.pack(self._start, self._number, kind, port)
        return _LAYOUT.pack(self._head, self.peer_id, said, self._identity.sign(self._signed_head + said))

    def read(self, data: bytes) -> Beacon:
        """Takes a beacon apart, cheaply; checks everything but the signature. Raises MalformedMessage."""
        if len(data) != BEACON_BYTES:
            raise MalformedMessage("a beacon has another length")
        head, peer, said, signature = _LAYOUT.unpack(data)
        if head != self._head:
            raise MalformedMessage("a beacon of something else")
        start, number, kind, port = _SAID.unpack(said)
        try:
            return Beacon(PeerId(peer), start, number, BeaconKind(kind), port, said, signature)
        except ValueError:
            raise MalformedMessage(f"a beacon of kind {kind}") from None

    def proven(self, beacon: Beacon) -> bool:
        """Whether the peer that it names has signed it."""
        return verify(beacon.peer, beacon.signature, self._signed_head + beacon.said)
