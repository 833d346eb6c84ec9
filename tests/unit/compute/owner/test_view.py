"""How a job stands: the rate of a volunteer."""

import pytest

from p2p.compute.owner.view import Rate

LOOK_S = 0.25


@pytest.mark.parametrize("unit_s", [0.5, 3.0])
def test_a_rate_is_steady_though_units_come_seldom(unit_s: float) -> None:
    rate, seen = Rate(), []
    assert rate.per_s == 0
    for look in range(1, 400):
        now = look * LOOK_S
        rate.add(int(now / unit_s) - int((now - LOOK_S) / unit_s), LOOK_S)
        if now > 5 * unit_s:
            seen.append(rate.per_s * unit_s)
    assert 0.75 < min(seen) <= max(seen) < 1.25


def test_a_rate_forgets() -> None:
    rate = Rate()
    for _ in range(40):
        rate.add(10, LOOK_S)
    assert rate.per_s == pytest.approx(40)
    for _ in range(400):
        rate.add(1, LOOK_S)
    assert rate.per_s == pytest.approx(4, rel=0.05)
