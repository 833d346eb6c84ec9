"""Pace: what a peer's messages cost this one, and how fast the peer may send them.

A message is charged for the work it makes, in units of some 20 µs of the event loop: a short message costs one, a map
of a million chunks a hundred. Past the rate, its sender waits, and after a costly message other tasks get their turn,
so a flood takes a few hundredths of the loop and no long stretch of it (`tests/io/net/test_pace.py` has the prices).
"""

import trio

from p2p.bucket import TokenBucket
from p2p.wire import messages
from p2p.wire.messages import AnyMessage, Unknown

UNITS_PER_S = 1000.0
BURST = 4000.0
COSTLY = 40.0
"""The cost of a message, in units, from which other tasks get a turn after it."""
RANGES_PER_UNIT = 32
BYTES_PER_UNIT = 16 * 1024
CHUNKS_PER_UNIT = 64 * 1024
"""How many chunks a share has for each unit that an operation on sets of its chunks costs."""
WANTS_PER_UNIT = 128
PEERS_PER_UNIT = 2
_THREAD = 10.0
_PART = messages.MAX_PART_BYTES / BYTES_PER_UNIT
_LIST = 50.0


class Pace:
    """The pace of one connection. `chunks` is how many chunks the share exchanged over it has, if there is one."""

    def __init__(self, chunks: int = 0) -> None:
        self._maps = chunks / CHUNKS_PER_UNIT
        self._bucket = TokenBucket(UNITS_PER_S, BURST, trio.current_time())

    async def spend(self, message: AnyMessage | Unknown, wants: int = 0) -> None:
        """Waits until the message may be handled; `wants` is how many of the sender's requests are open."""
        cost = self.cost(message, wants)
        wait = self._bucket.take(cost, trio.current_time())
        if wait:
            await trio.sleep(wait)
        elif cost >= COSTLY:
            await trio.lowlevel.checkpoint()

    def cost(self, message: AnyMessage | Unknown, wants: int = 0) -> float:
        """The price of a message, in units."""
        match message:
            case messages.Have(ranges=ranges, bits=bits):
                return 1 + self._maps + len(ranges) / RANGES_PER_UNIT + len(bits) / BYTES_PER_UNIT
            case messages.Gone(ranges):
                return 1 + self._maps + len(ranges) / RANGES_PER_UNIT
            case messages.Choked():
                return 1 + self._maps
            case messages.Want():
                return 1 + self._maps / 4
            case messages.Cancel():
                return 1 + wants / WANTS_PER_UNIT
            case messages.Peers(peers):
                return 1 + len(peers) / PEERS_PER_UNIT
            case messages.GetRoot() | messages.GetPart():
                return _PART
            case messages.Browse():
                return _LIST
            case messages.Open() | messages.Bad() | messages.GetPointer():
                return _THREAD
            case _:
                return 1
