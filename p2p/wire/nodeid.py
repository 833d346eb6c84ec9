"""Where a peer stands in the DHT: an id that its key and a piece of work give it, and that it cannot choose.

S/Kademlia's static puzzle (Baumgart and Mies 2007): the id is a hash of key and nonce and is valid only if a hash of
the id begins with enough zero bits, so ids close to a chosen key cost that many times more to make.
"""

from collections.abc import Callable

from p2p.ids import H, PeerId

NODE_ID_BYTES = 20
NONCE_BYTES = 8
MAIN_WORK_BITS = 16


def work_bits(network: str, configured: int | None) -> int:
    """The work that a network asks for: it belongs to the network, so all its peers must have it set alike."""
    if configured is not None:
        return configured
    return MAIN_WORK_BITS if network == "main" else 0


def node_id(peer: PeerId, nonce: bytes) -> bytes:
    """The peer's DHT node id, 20 bytes."""
    return H("id", peer, nonce)[:NODE_ID_BYTES]


def is_valid(node: bytes, bits: int) -> bool:
    """Whether enough work is in the id."""
    return not bits or int.from_bytes(H("work", node), "big") >> (256 - bits) == 0


def find_nonce(peer: PeerId, bits: int, check: Callable[[], None] = lambda: None) -> bytes:
    """The first nonce that makes a valid id: about 2**bits tries. `check` is called now and then, and may raise."""
    count = 0
    while True:
        nonce = count.to_bytes(NONCE_BYTES, "big")
        if is_valid(node_id(peer, nonce), bits):
            return nonce
        count += 1
        if count % 1024 == 0:
            check()
