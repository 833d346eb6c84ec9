"""The beacon, by which peers on a local network tell each other that they are there: by multicast, in 118 bytes.

    "SB1" (3) | network (4) | peer id (32) | start (8) | number (4) | kind (1) | TCP port (2) | signature (64)

`network` is the beginning of H("network", name). The signature is over `signatures.Purpose.BEACON`, all of
H("network", name), and start, number, kind and port as sent. `start` is random and identifies a single run of
the peer; `number` only grows during a run. A beacon contains no host: the sender's address is where the beacon came
from. Replaying a peer's beacon from elsewhere only adds a neighbour that fails the TLS handshake; and a `LEAVING`
cancels only beacons of the same run, so replaying an old `LEAVING` cannot hide a peer that has started again.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from p2p.errors import MalformedMessage
from p2p.identity import Identity, verify
from p2p.ids import PeerId
from p2p.wire.signatures import SIGNATURE_BYTES, Purpose, network_tag, to_sign

MAGIC = b"SB1"
START_BYTES = 8
_TAG_BYTES = 4
_SAID = struct.Struct(f"!{START_BYTES}sIBH")
_LAYOUT = struct.Struct(f"!{len(MAGIC) + _TAG_BYTES}s32s{_SAID.size}s{SIGNATURE_BYTES}s")
BEACON_BYTES = _LAYOUT.size


class BeaconKind(IntEnum):
    """What a beacon announces: that its sender has started, is present, or is leaving."""

    HELLO = 1
    """The sender has just started, and asks who else is here. Everybody answers with a `HERE`."""
    HERE = 2
    """The sender is here."""
    LEAVING = 3
    """The sender is leaving now."""


class Beacon(NamedTuple):
    """A beacon, parsed; nothing in it is proven until `BeaconCodec.proven` returns true."""

    peer: PeerId
    start: bytes
    number: int
    kind: BeaconKind
    port: int
    """The TCP port on which the sender listens; 0 if it cannot be dialled."""
    said: bytes
    signature: bytes


class BeaconCodec:
    """Writes this peer's beacons in one network, for a single run of the peer, and reads other peers' beacons."""

    def __init__(self, identity: Identity, network: str, start: bytes) -> None:
        self._identity = identity
        self._start = start
        self._head = MAGIC + network_tag(network)[:_TAG_BYTES]
        self._signed_head = to_sign(Purpose.BEACON, network)
        self._number = 0

    @property
    def peer_id(self) -> PeerId:
        return self._identity.peer_id

    def write(self, kind: BeaconKind, port: int) -> bytes:
        """The next beacon of this run."""
        self._number += 1
        said = _SAID.pack(self._start, self._number, kind, port)
        return _LAYOUT.pack(self._head, self.peer_id, said, self._identity.sign(self._signed_head + said))

    def read(self, data: bytes) -> Beacon:
        """Parses a beacon, cheaply, and checks all but the signature. Raises MalformedMessage."""
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
        """Whether the beacon is signed by the peer it names."""
        return verify(beacon.peer, beacon.signature, self._signed_head + beacon.said)
