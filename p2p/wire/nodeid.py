"""A peer's node id in the DHT, made from its key and a proof of work, so that the peer cannot choose it.

S/Kademlia's static puzzle (Baumgart and Mies 2007): the id is a hash of key and nonce, and is valid only if a hash of
the id begins with enough zero bits. Each required zero bit doubles the cost of finding ids close to a chosen key.
"""

from collections.abc import Callable

from p2p.ids import H, PeerId

NODE_ID_BYTES = 20
NONCE_BYTES = 8
MAIN_WORK_BITS = 16


def work_bits(network: str, configured: int | None) -> int:
    """The proof of work that a network requires, in zero bits: all peers of a network must have the same setting."""
    if configured is not None:
        return configured
    return MAIN_WORK_BITS if network == "main" else 0


def node_id(peer: PeerId, nonce: bytes) -> bytes:
    """The peer's DHT node id, 20 bytes."""
    return H("id", peer, nonce)[:NODE_ID_BYTES]


def is_valid(node: bytes, bits: int) -> bool:
    """Whether the id has enough work."""
    return not bits or int.from_bytes(H("work", node), "big") >> (256 - bits) == 0


def find_nonce(peer: PeerId, bits: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Finds the first nonce that gives a valid id, in about 2**bits tries. `check` is called at times and may raise."""
    count = 0
    while True:
        nonce = count.to_bytes(NONCE_BYTES, "big")
        if is_valid(node_id(peer, nonce), bits):
            return nonce
        count += 1
        if count % 1024 == 0:
            check()
