"""Pace: the price of each message that another peer sends, and a limit on how much that peer may spend per second.

The price is the work that the message causes, in units of about 20 µs of the event loop: 1 for a short message, 3 for
a small question, 100 for a message that tells which of a million chunks its sender has. A sender that exceeds the limit
has to wait, and after messages that cost much together other tasks get their turn. So a flood over one connection takes
a few percent of the loop's time, and never blocks the loop for long (`tests/io/net/test_pace.py` lists the prices). All
connections together share what `attention` allows.
"""

import trio

from p2p.bucket import TokenBucket
from p2p.net.connection import Connection
from p2p.wire import messages, work
from p2p.wire.messages import AnyMessage, Unknown

UNITS_PER_S = 1000.0
BURST = 4000.0
COSTLY = 20.0
"""After messages that cost this many units together, other tasks get a turn."""
RANGES_PER_UNIT = 32
BYTES_PER_UNIT = 16 * 1024
CHUNKS_PER_UNIT = 64 * 1024
"""An operation on sets of a share's chunks costs one unit per this many chunks of the share."""
WANTS_PER_UNIT = 128
PEERS_PER_UNIT = 2
IDS_PER_UNIT = 256
QUEUED_PER_UNIT = 512
QUESTION = 3.0
"""The price of what is answered, even if only with a refusal."""
_THREAD = 30.0
_PART = messages.MAX_PART_BYTES / BYTES_PER_UNIT
_LIST = 50.0


class Pace:
    """Limits how much work per second the messages of one connection cause, and those of all.

    `chunks` is the number of chunks in the share that the connection exchanges; 0 if it exchanges none. Every message
    costs at least `least`."""

    def __init__(self, connection: Connection, chunks: int = 0, *, least: float = 1.0) -> None:
        self._connection = connection
        self._least = least
        self._otherwise = QUESTION if chunks else 1.0
        self._maps = chunks / CHUNKS_PER_UNIT
        self._bucket = TokenBucket(UNITS_PER_S, BURST, trio.current_time())
        self._spent = 0.0
        """What was spent since other tasks last had a turn."""

    async def spend(self, message: AnyMessage | Unknown, wants: int = 0) -> None:
        """Waits until the message may be handled, which was just received; `wants` is the number of the sender's open
        requests, or of units that wait for it."""
        cost = max(self._least, self.cost(message, wants), self._connection.message_bytes / BYTES_PER_UNIT)
        wait_s = self._bucket.take(cost, trio.current_time())
        self._spent += cost
        if self._spent >= COSTLY or wait_s:
            spent, self._spent = self._spent, 0.0
            await self._connection.attend(spent, wait_s)

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
            case messages.Cancel() | messages.Hurry():
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
            case messages.Offer() | messages.DialMe() | work.GetCapacity() | Unknown():
                return QUESTION
            case _:
                return self._otherwise
