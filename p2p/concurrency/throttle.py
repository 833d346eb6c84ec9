"""Rate limits for trio tasks."""

import trio

from p2p.bucket import TokenBucket
from p2p.wire.frames import MAX_DATA_BYTES, MIN_DATA_BYTES

BURST_S = 0.1
MIN_BURST_BYTES = 64 * 1024
PIECE_S = 0.5
MIN_PIECE_BYTES, MAX_PIECE_BYTES = MIN_DATA_BYTES, MAX_DATA_BYTES
IDLE_FULLNESS = 0.5


class Throttle:
    """Limits all tasks that use this throttle to `bytes_per_s` bytes per second in total; 0 means no limit.

    Tasks wait in line, and only the first one pays: a task that gives up while it waits leaves no debt to the others.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._line = trio.StrictFIFOLock()
        self.change(bytes_per_s)

    def change(self, bytes_per_s: int) -> None:
        """Sets another limit. Whoever is the first in line pays by the one before."""
        self.bytes_per_s = bytes_per_s
        self.piece_bytes = MAX_PIECE_BYTES
        """How many bytes to spend at a time, so that under a small limit each piece takes only a moment."""
        self._bucket: TokenBucket | None = None
        if bytes_per_s:
            self.piece_bytes = max(MIN_PIECE_BYTES, min(MAX_PIECE_BYTES, int(bytes_per_s * PIECE_S)))
            # Under a small limit, a burst of many seconds' worth would make the limit a lie.
            burst = max(min(MIN_BURST_BYTES, bytes_per_s), bytes_per_s * BURST_S)
            self._bucket = TokenBucket(bytes_per_s, burst, trio.current_time())

    async def spend(self, count: int) -> None:
        """Waits until `count` bytes may pass. Without a limit, this is not a checkpoint."""
        if self._bucket is not None:
            async with self._line:
                if (bucket := self._bucket) is None:
                    return
                wait = bucket.take(count, trio.current_time())
                if wait:
                    try:
                        await trio.sleep(wait)
                    except trio.Cancelled:
                        bucket.give_back(count)
                        raise

    def give_back(self, count: int) -> None:
        """Returns bytes that were paid for and not sent."""
        if self._bucket is not None:
            self._bucket.give_back(count)

    @property
    def idle(self) -> bool:
        """Whether there is a limit and most of it is unused."""
        return self._bucket is not None and self._bucket.fullness(trio.current_time()) >= IDLE_FULLNESS
