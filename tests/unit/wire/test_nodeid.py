"""Node ids: given by key and work, the same for everybody who computes them."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.ids import H, PeerId
from p2p.wire.nodeid import MAIN_WORK_BITS, NODE_ID_BYTES, NONCE_BYTES, find_nonce, is_valid, node_id, work_bits

peers = st.binary(min_size=32, max_size=32).map(PeerId)


@given(peers, st.integers(0, 8))
def test_the_nonce_found_is_the_first_that_is_valid(peer: PeerId, bits: int) -> None:
    nonce = find_nonce(peer, bits)
    assert is_valid(node_id(peer, nonce), bits)
    tried = (number.to_bytes(NONCE_BYTES, "big") for number in count())
    assert nonce == next(one for one in tried if is_valid(node_id(peer, one), bits))


@given(peers, st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES))
def test_an_id_is_of_key_and_nonce_and_has_as_much_work_as_its_hash_has_leading_zeros(
    peer: PeerId, nonce: bytes
) -> None:
    node = node_id(peer, nonce)
    assert len(node) == NODE_ID_BYTES
    assert node == H("id", peer, nonce)[:NODE_ID_BYTES]
    zeros = 256 - int.from_bytes(H("work", node), "big").bit_length()
    assert [is_valid(node, bits) for bits in range(33)] == [bits <= zeros for bits in range(33)]


def test_the_same_work_is_of_no_use_to_another_key() -> None:
    mine, other = PeerId(bytes(32)), PeerId(bytes(31) + b"\1")
    nonce = find_nonce(mine, 12)
    assert is_valid(node_id(mine, nonce), 12)
    assert not is_valid(node_id(other, nonce), 12)


def test_the_search_can_be_stopped() -> None:
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        find_nonce(PeerId(bytes(32)), 200, stop)


def test_the_work_belongs_to_the_network() -> None:
    assert work_bits("main", None) == MAIN_WORK_BITS
    assert work_bits("tests", None) == 0
    assert work_bits("main", 4) == work_bits("tests", 4) == 4
    assert work_bits("main", 0) == 0
