"""What is signed: each purpose by itself, every field in its place."""

from p2p.ids import H, PeerId
from p2p.wire import signatures
from p2p.wire.signatures import Purpose


def test_the_dialers_proof_is_pinned() -> None:
    """A change here would shut out every peer of an earlier version."""
    nonce, listener, dialer = b"n" * 32, PeerId(b"l" * 32), PeerId(b"d" * 32)
    expected = b"shoal/2 dialer\0" + H("network", b"main") + b"n" * 32 + b"l" * 32 + b"d" * 32
    assert signatures.dialer_proof("main", nonce, listener, dialer) == expected


def test_no_purpose_begins_another() -> None:
    heads = [signatures.to_sign(purpose, "main") for purpose in Purpose]
    assert all(head.startswith(b"shoal/2 ") for head in heads)
    assert not [(a, b) for a in heads for b in heads if a != b and a.startswith(b)]


def test_networks_differ_in_what_is_signed() -> None:
    assert signatures.to_sign(Purpose.RECORD, "main", b"x") != signatures.to_sign(Purpose.RECORD, "test", b"x")
