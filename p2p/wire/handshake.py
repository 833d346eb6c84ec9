"""The handshake before a conversation, sans-IO: how a dialer proves who it is.

TLS has already proven who the listener is: its certificate is made with its Ed25519 key. The standard library cannot
ask a client for an unknown self-signed certificate, so the dialer proves itself inside TLS, by signing the listener's
nonce together with the listener's id. A listener that relays another listener's nonce gains nothing: the dialer's
proof contains the relaying listener's id, so the other listener refuses the proof.
"""

from p2p import identity as identities
from p2p.errors import ProtocolViolation
from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.wire import signatures
from p2p.wire.messages import Challenge, Proof

ALPN_PREFIX, EARLIER_ALPN_PREFIX = "shoal/2/", "shoal/1/"


def alpn(network: str) -> list[str]:
    """The TLS application protocols (ALPN) that a peer of a network names: the one it speaks, and the one of before.

    Peers of different networks never get past TLS. The earlier protocol is only named so that a peer that still speaks
    it can be told from one of another network.
    """
    return [ALPN_PREFIX + network, EARLIER_ALPN_PREFIX + network]


def check_alpn(selected: str | None, network: str) -> None:
    """Raises ProtocolViolation if TLS did not arrive at this network's protocol."""
    spoken, earlier = alpn(network)
    if selected == earlier:
        raise ProtocolViolation("the other side runs an earlier version of Shoal, which has to be updated")
    if selected != spoken:
        raise ProtocolViolation(f"the other side is not on network {network!r}")


def prove(identity: Identity, network: str, challenge: Challenge, listener: PeerId) -> Proof:
    """The dialer's answer to a challenge by `listener`."""
    signed = identity.sign(signatures.dialer_proof(network, challenge.nonce, listener, identity.peer_id))
    return Proof(peer_id=identity.peer_id, signature=signed)


def check_proof(proof: Proof, network: str, challenge: Challenge, listener: PeerId) -> PeerId:
    """Checks the dialer's proof. Returns the dialer's id, now proven. Raises ProtocolViolation."""
    dialer = PeerId(proof.peer_id)
    signed = signatures.dialer_proof(network, challenge.nonce, listener, dialer)
    if not identities.verify(dialer, proof.signature, signed):
        raise ProtocolViolation("the dialer does not hold the key it claims")
    return dialer
