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

ALPN_PREFIX = "shoal/1/"


def alpn(network: str) -> str:
    """The TLS application protocol (ALPN) of a network: peers of different networks never get past TLS."""
    return ALPN_PREFIX + network


def prove(identity: Identity, challenge: Challenge, listener: PeerId) -> Proof:
    """The dialer's answer to a challenge by `listener`."""
    signed = identity.sign(signatures.dialer_proof(challenge.nonce, listener, identity.peer_id))
    return Proof(peer_id=identity.peer_id, signature=signed)


def check_proof(proof: Proof, challenge: Challenge, listener: PeerId) -> PeerId:
    """Checks the dialer's proof. Returns the dialer's id, now proven. Raises ProtocolViolation."""
    dialer = PeerId(proof.peer_id)
    if not identities.verify(dialer, proof.signature, signatures.dialer_proof(challenge.nonce, listener, dialer)):
        raise ProtocolViolation("the dialer does not hold the key it claims")
    return dialer
