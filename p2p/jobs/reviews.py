"""When the plans of a job are made once more, to see whether they are the same.

That takes a run of `job` from its beginning. A job of many short actions would spend its time on it if each had one. So
there is a review at the first action, and later ones take about a tenth of the job's time, with one
at the end, of the last action. Each compares the plans of all actions since the last one.
"""

_TIMES_AS_LONG = 10.0


class Reviews:
    """The reviews of one job. Times are in seconds, of one clock."""

    def __init__(self) -> None:
        self._due_at = float("-inf")
        self._began_at = 0.0
        self._are_complete = True
        """Whether the plans of all actions have been made again."""

    def begins(self, now: float) -> bool:
        """Whether a review begins now, as an action does."""
        self._are_complete = now >= self._due_at
        self._began_at = now
        return self._are_complete

    def is_missing(self, now: float) -> bool:
        """Whether one has to begin now that the job has returned."""
        self._began_at = now
        return not self._are_complete

    def ends(self, now: float) -> None:
        """Takes note that the review which began last has ended."""
        self._due_at = now + _TIMES_AS_LONG * (now - self._began_at)
