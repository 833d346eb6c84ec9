"""How late something is that a job waits for: its bundle, or what its units read. A late job counts as idle, so nobody
holds a volunteer's cores by sending it a little now and then.
"""

LEAST_BYTES_PER_S = 16 * 1024
"""How fast comes at least what is not late."""


class Lateness:
    """How late is what comes from now on. What came faster than it had to is no credit for later.

    `came` is how many bytes have come so far, in total; times are in seconds.
    """

    def __init__(self, came: int, now: float) -> None:
        self._came = came
        self._at = now
        self._late_s = 0.0

    def seconds(self, came: int, now: float) -> float:
        """By how many seconds it is late; to be asked now and then."""
        due_s = now - self._at - (came - self._came) / LEAST_BYTES_PER_S
        self._late_s = max(0.0, self._late_s + due_s)
        self._came, self._at = came, now
        return self._late_s
