"""How long a guest may take: an idle guest that gets no processor has as much time to compute as any other."""

from collections.abc import Callable

import pytest
import trio

from p2p.errors import SandboxFailed
from p2p.sandbox.allowance import Allowance
from p2p.sandbox.limits import GuestEnded, GuestLimits

HOUR_S = 3600.0


async def ended_after(limits: GuestLimits, part: Callable[[float], float] | None) -> tuple[str, float]:
    """How and when a guest ends that never answers. In each second from its start, it runs for `part` of that second.

    If `part` is None, nobody knows how much it runs.
    """
    began = trio.current_time()
    earlier_s = 100.0  # of earlier answers

    async def cpu_s() -> float:
        if part is None:
            raise SandboxFailed("it is not known")
        return earlier_s + sum(part(float(second)) for second in range(round(trio.current_time() - began)))

    allowance = Allowance(limits, cpu_s)
    at = allowance.begin()
    while True:
        await trio.sleep_until(at)
        try:
            at = await allowance.more(b"")
        except GuestEnded as ended:
            return ended.kind, trio.current_time() - began
        assert at > trio.current_time()


LIMITS = GuestLimits(wall_s=100.0, cap_s=HOUR_S)


async def test_a_guest_that_runs_all_the_time_ends_at_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    assert await ended_after(LIMITS, lambda second: 1.0) == ("time", 100.0)
    assert await ended_after(LIMITS, lambda second: 0.9) == ("time", 100.0)


async def test_a_guest_whose_time_nobody_knows_ends_at_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    assert await ended_after(LIMITS, None) == ("time", 100.0)


async def test_time_without_a_processor_does_not_count(autojump_clock: trio.testing.MockClock) -> None:
    kind, seconds = await ended_after(LIMITS, lambda second: float(second < 50 or second >= 1000))
    assert kind == "time"
    assert 1045 <= seconds <= 1100
    kind, seconds = await ended_after(LIMITS, lambda second: 0.1)
    assert kind == "time"
    assert 540 <= seconds <= 1000


async def test_a_guest_that_hardly_runs_ends_at_what_the_machine_gives(autojump_clock: trio.testing.MockClock) -> None:
    assert await ended_after(LIMITS, lambda second: 0.001) == ("cap", HOUR_S)


@pytest.mark.parametrize("part", [0.0, 1.0])
async def test_what_the_machine_gives_is_less_than_what_is_asked(
    autojump_clock: trio.testing.MockClock, part: float
) -> None:
    limits = GuestLimits(wall_s=24 * HOUR_S, cap_s=HOUR_S)
    assert await ended_after(limits, lambda second: part) == ("cap", HOUR_S)
