"""Rate limits for trio tasks."""

import trio

from p2p.bucket import TokenBucket

BURST_S = 0.1
MIN_BURST_BYTES = 64 * 1024


class Throttle:
    """Limits all tasks that use this throttle to `bytes_per_s` bytes per second in total; 0 means no limit."""

    def __init__(self, bytes_per_s: int) -> None:
        burst = max(MIN_BURST_BYTES, bytes_per_s * BURST_S)
        self._bucket = TokenBucket(bytes_per_s, burst, trio.current_time()) if bytes_per_s else None

    async def spend(self, count: int) -> None:
        """Waits until `count` bytes may pass. Without a limit, this is not a checkpoint."""
        if self._bucket is not None:
            wait = self._bucket.take(count, trio.current_time())
            if wait:
                await trio.sleep(wait)
