"""How long a guest may take for one answer.

A guest computes all the time: it cannot sleep, and waits for nobody. So its time is what passes until it answers. But
an idle guest gets no processor while other processes want it, and that is not its fault: for such a guest, only the
time counts in which it ran.
"""

from collections.abc import Awaitable, Callable

import trio

from p2p.errors import SandboxFailed
from p2p.sandbox.limits import GuestEnded, GuestLimits

CpuTime = Callable[[], Awaitable[float]]
"""Returns how many seconds a guest's process has run so far. Raises SandboxFailed if that cannot be known."""

BUSY = 0.8
"""A guest that ran for this part of a while counts as having run for all of it."""
MIN_LOOK_S = 0.1


class Allowance:
    """The time that a guest has left for an answer. `cpu_s` is given for idle guests."""

    def __init__(self, limits: GuestLimits, cpu_s: CpuTime | None) -> None:
        self._limits = limits
        self._cpu_s = cpu_s
        self._began = self._looked = self._left_s = 0.0
        self._ran_s: float | None = None

    def begin(self) -> float:
        """To be called when an answer is next. Returns the time at which to call `more`, if it is not here by then."""
        self._began = self._looked = trio.current_time()
        self._left_s, self._ran_s = self._limits.wall_s, None
        return self._next_look()

    async def more(self, log: bytes) -> float:
        """Returns the time at which to call this again. Raises GuestEnded, with this log, if the guest's time is up."""
        now = trio.current_time()
        used = passed = now - self._looked
        if self._cpu_s is not None:
            try:
                ran = await self._cpu_s()
            except SandboxFailed:
                self._cpu_s = None
            else:
                # Before the first look it may have run for earlier answers.
                ran_since = min(ran, passed) if self._ran_s is None else ran - self._ran_s
                used = passed if ran_since >= BUSY * passed else ran_since
                self._ran_s = ran
        self._looked, self._left_s = now, self._left_s - used
        if now - self._began >= self._limits.cap_s < self._limits.wall_s:
            raise GuestEnded("cap", f"It was stopped after {self._limits.cap_s:g} s.", log)
        if self._left_s <= 1e-3:
            raise GuestEnded("time", f"It was stopped after {self._limits.wall_s:g} s.", log)
        if now - self._began >= self._limits.cap_s:
            raise GuestEnded("cap", f"It was stopped after {self._limits.cap_s:g} s, in which it hardly ran.", log)
        return self._next_look()

    def _next_look(self) -> float:
        """What was used before the first look is only known to be at most what passed: so it comes half-way."""
        first = self._cpu_s is not None and self._ran_s is None
        look_s = max(self._left_s / 2 if first else self._left_s, MIN_LOOK_S if self._cpu_s else 0.0)
        return min(self._looked + look_s, self._began + self._limits.cap_s)
