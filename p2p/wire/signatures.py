"""All purposes for which a peer signs, in one place, so that no signature can pass for another.

A signature is over `"shoal/2 <purpose>\\0"`, the network's tag, and fixed-length fields or the exact bytes sent. So
nothing that was signed in one network counts in another.
"""

from enum import StrEnum

from p2p.ids import H, PeerId

NONCE_BYTES = 32
SIGNATURE_BYTES = 64


class Purpose(StrEnum):
    """What a signature is for; the purpose is part of what is signed."""

    DIALER = "dialer"
    """The signer is the dialer of this connection to this listener, and holds this peer id's key."""
    ANNOUNCE = "announce"
    """The signer announces this to the tracker that the announce names."""
    BEACON = "beacon"
    """The signer is on this local network, at this port."""
    DATAGRAM = "datagram"
    """The signer sent this datagram of the DHT."""
    RECORD = "record"
    """The signer states this in the DHT, until it expires."""


def network_tag(network: str) -> bytes:
    """What stands for a network in signatures, and at the head of datagrams."""
    return H("network", network.encode())


def to_sign(purpose: Purpose, network: str, *fields: bytes) -> bytes:
    """The bytes to sign. The purpose fixes the lengths of the fields."""
    return f"shoal/2 {purpose}\0".encode() + network_tag(network) + b"".join(fields)


def record_before(body: bytes) -> bytes:
    """The bytes that were signed for a record before shoal/2: a home may still have such records."""
    return b"shoal/1 record\0" + body


def dialer_proof(network: str, nonce: bytes, listener: PeerId, dialer: PeerId) -> bytes:
    """The bytes that a dialer signs. The listener's id in them makes the proof useless to a listener that relays it."""
    return to_sign(Purpose.DIALER, network, nonce, listener, dialer)
