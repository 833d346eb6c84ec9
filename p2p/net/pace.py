"""Pace: the price of each message that another peer sends, and a limit on how much that peer may spend per second.

The price is the work that the message causes, in units of about 20 µs of the event loop: 1 for a short message, 100
for a message that tells which of a million chunks its sender has. A sender that exceeds the limit has to wait, and
after a costly message other tasks get their turn. So a flood takes a few percent of the loop's time, and never blocks
the loop for long (`tests/io/net/test_pace.py` lists the prices).
"""

import trio

from p2p.bucket import TokenBucket
from p2p.wire import messages, work
from p2p.wire.messages import AnyMessage, Unknown

UNITS_PER_S = 1000.0
BURST = 4000.0
COSTLY = 40.0
"""After a message that costs at least this many units, other tasks get a turn."""
RANGES_PER_UNIT = 32
BYTES_PER_UNIT = 16 * 1024
CHUNKS_PER_UNIT = 64 * 1024
"""An operation on sets of a share's chunks costs one unit per this many chunks of the share."""
WANTS_PER_UNIT = 128
PEERS_PER_UNIT = 2
IDS_PER_UNIT = 256
QUEUED_PER_UNIT = 512
_THREAD = 10.0
_PART = messages.MAX_PART_BYTES / BYTES_PER_UNIT
_LIST = 50.0


class Pace:
    """Limits how much work per second the messages of one connection cause.

    `chunks` is the number of chunks in the share that the connection exchanges; 0 if it exchanges none."""

    def __init__(self, chunks: int = 0) -> None:
        self._maps = chunks / CHUNKS_PER_UNIT
        self._bucket = TokenBucket(UNITS_PER_S, BURST, trio.current_time())

    async def spend(self, message: AnyMessage | Unknown, wants: int = 0) -> None:
        """Waits until the message may be handled; `wants` is the number of the sender's open requests, or of units that
        wait for it."""
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
            case work.CancelUnits(ids):
                return 1 + len(ids) / IDS_PER_UNIT + wants / QUEUED_PER_UNIT
            case work.Heartbeat(ids):
                return 1 + len(ids) / IDS_PER_UNIT
            case messages.Open() | messages.Bad() | messages.GetPointer():
                return _THREAD
            case _:
                return 1
