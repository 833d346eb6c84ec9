"""The line of packets that wait for one other member.

It is bounded by age: what has waited for longer than LATE_S is dropped, oldest first, while more than SHORT_BYTES wait.
A bound in bytes alone is wrong at both ends: a megabyte is 2 ms at 0.5 GB/s, and a second at 8 Mbit/s. TCP within the
cluster slows down by what is dropped, as it would for any router, and a heartbeat waits for 100 ms rather than seconds
(CoDel, RFC 8289, has the idea).

Small packets go first, but never before one of their own flow: each flow keeps its order.
"""

from collections import Counter, deque

from p2p.core.cluster.packets import flow_of

LATE_S = 0.1
SHORT_BYTES = 64 * 1024
SMALL_BYTES = 256
MAX_LINE_BYTES = 4 * 1024 * 1024
BATCH_BYTES, FAST_BATCH_BYTES = 64 * 1024 + 256, 256 * 1024
"""How many bytes of packets share a frame, at most; what comes next waits until that frame is sent."""
FAST_S = 0.01
"""Where the next packet has waited for no longer, the way to the member is fast."""


class Line:
    """Packets to one member, with the time since when each waits."""

    __slots__ = ("_flows", "_large", "_small", "bytes", "dropped")

    def __init__(self) -> None:
        self._small: deque[tuple[float, bytes]] = deque()
        self._large: deque[tuple[float, bytes]] = deque()
        """In the order in which they came, with the small ones of their flows."""
        self._flows: Counter[bytes] = Counter()
        """How many packets of a flow are in `_large`."""
        self.bytes = 0
        self.dropped = 0
        """How many packets were dropped so far."""

    def put(self, packet: bytes, now: float) -> None:
        """Adds a packet, or drops it if there is no room, even without those that have waited for too long."""
        self._drop_late(self._large, now)
        self._drop_late(self._small, now)
        if self.bytes + len(packet) > MAX_LINE_BYTES:
            self.dropped += 1
            return
        flow = flow_of(packet)
        if len(packet) <= SMALL_BYTES and flow not in self._flows:
            self._small.append((now, packet))
        else:
            self._large.append((now, packet))
            self._flows[flow] += 1
        self.bytes += len(packet)

    def take(self, now: float) -> list[bytes]:
        """The packets of the next frame; empty if none waits."""
        self._drop_late(self._small, now)
        self._drop_late(self._large, now)
        taken: list[bytes] = []
        is_fast = self._large and self._large[0][0] > now - FAST_S
        room = FAST_BATCH_BYTES if is_fast else BATCH_BYTES
        for waiting in (self._small, self._large):
            while waiting and len(waiting[0][1]) <= room:
                taken.append(self._leave(waiting))
                room -= len(taken[-1])
        return taken

    def clear(self) -> None:
        """Drops all that waits."""
        self.dropped += len(self._small) + len(self._large)
        self._small.clear()
        self._large.clear()
        self._flows.clear()
        self.bytes = 0

    def _drop_late(self, waiting: deque[tuple[float, bytes]], now: float) -> None:
        while waiting and self.bytes > SHORT_BYTES and waiting[0][0] < now - LATE_S:
            self._leave(waiting)
            self.dropped += 1

    def _leave(self, waiting: deque[tuple[float, bytes]]) -> bytes:
        _, packet = waiting.popleft()
        self.bytes -= len(packet)
        if waiting is self._large:
            flow = flow_of(packet)
            if self._flows[flow] == 1:
                del self._flows[flow]
            else:
                self._flows[flow] -= 1
        return packet
