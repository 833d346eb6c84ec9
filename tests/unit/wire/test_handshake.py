"""The dialer's proof: worth something to one listener, once, from one key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import ProtocolViolation
from p2p.identity import Identity
from p2p.wire import handshake
from p2p.wire.messages import Challenge, Proof

ALICE, BOB, EVE = (Identity.of(Ed25519PrivateKey.from_private_bytes(bytes(31) + n)) for n in (b"a", b"b", b"e"))
CHALLENGE = Challenge(nonce=bytes(range(32)))


def test_the_dialer_is_known_by_its_proof() -> None:
    proof = handshake.prove(ALICE, "main", CHALLENGE, BOB.peer_id)
    assert handshake.check_proof(proof, "main", CHALLENGE, BOB.peer_id) == ALICE.peer_id


def test_a_proof_for_one_listener_is_none_for_another() -> None:
    """Eve cannot pass Bob's nonce on to Alice and then be Alice to Bob."""
    proof = handshake.prove(ALICE, "main", CHALLENGE, EVE.peer_id)
    with pytest.raises(ProtocolViolation):
        handshake.check_proof(proof, "main", CHALLENGE, BOB.peer_id)


def test_a_proof_is_good_for_one_nonce() -> None:
    proof = handshake.prove(ALICE, "main", CHALLENGE, BOB.peer_id)
    with pytest.raises(ProtocolViolation):
        handshake.check_proof(proof, "main", Challenge(nonce=bytes(32)), BOB.peer_id)


def test_a_proof_names_its_own_key() -> None:
    proof = handshake.prove(EVE, "main", CHALLENGE, BOB.peer_id)
    with pytest.raises(ProtocolViolation):
        handshake.check_proof(Proof(peer_id=ALICE.peer_id, signature=proof.signature), "main", CHALLENGE, BOB.peer_id)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_no_bytes_are_a_proof(peer_id: bytes, signature: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        handshake.check_proof(Proof(peer_id=peer_id, signature=signature), "main", CHALLENGE, BOB.peer_id)


def test_networks_differ_in_their_alpn() -> None:
    assert handshake.alpn("main") == ["shoal/2/main", "shoal/1/main"]
    assert not {*handshake.alpn("test")} & {*handshake.alpn("main")}


def test_what_tls_arrived_at_decides_whether_to_go_on() -> None:
    handshake.check_alpn("shoal/2/main", "main")
    with pytest.raises(ProtocolViolation, match="updated"):
        handshake.check_alpn("shoal/1/main", "main")
    for other in (None, "shoal/2/test", "shoal/1/test", "http/1.1"):
        with pytest.raises(ProtocolViolation, match="network 'main'"):
            handshake.check_alpn(other, "main")
