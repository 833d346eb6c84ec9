"""Who gets how much: windows, portions, and fairness between jobs."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute.matching import (
    MAX_AHEAD,
    MIN_AHEAD,
    Need,
    UnitPace,
    VolunteerOffer,
    allot,
    portion,
    stranger_room,
    suits,
    topped_up,
)
from p2p.core.compute.stage import Durations
from p2p.ids import PeerId

SMALL, LARGE = 2**28, 2**32
PEERS = [PeerId(bytes([n]) * 32) for n in range(6)]
OFFERS = st.builds(
    VolunteerOffer,
    st.integers(0, 9),
    st.sampled_from([SMALL, LARGE]),
    st.frozensets(st.sampled_from(["wasm", "python-wasm"])),
)
NEEDS = st.builds(Need, st.sampled_from(["wasm", "python-wasm"]), st.sampled_from([SMALL, LARGE]), st.integers(0, 20))


@given(st.floats(1e-4, 100), st.floats(1e-4, 5), st.integers(1, 64))
def test_the_window_settles_at_the_rate_and_stays_in_its_bounds(unit_s: float, trip_s: float, slots: int) -> None:
    """A volunteer that takes `unit_s` for a unit in each slot and is `trip_s` away is never idle for long."""
    pace, now = UnitPace(0.0), 0.0
    for _ in range(60):
        window = pace.window(slots)
        assert MIN_AHEAD * slots <= window <= MAX_AHEAD * slots
        # A window of units comes back one after the other.
        sent, each = now, max(unit_s / slots, trip_s / window)
        for n in range(1, min(window, 50) + 1):
            now = sent + max(trip_s + unit_s, 0) + n * each if n == 1 else now + each
            pace.returned(sent, now)
    assert pace.least <= trip_s + unit_s + max(unit_s, trip_s) + 1e-6
    if unit_s * 2 >= 0.1 and trip_s < 1e-2 * unit_s:
        assert pace.window(slots) <= 4 * slots


def test_a_fast_volunteer_gets_a_tenth_of_a_second_ahead() -> None:
    pace = UnitPace(0.0)
    for n in range(1, 2001):
        pace.returned(n / 2000 - 0.001, n / 2000)
    assert 180 <= pace.window(1) <= 220


def test_portions_shrink_towards_the_end() -> None:
    waiting, sent = 1000, []
    while waiting:
        sent.append(portion(300, waiting, 1, 2, 0))
        waiting -= sent[-1]
    assert sent[0] == 250
    assert sent == sorted(sent, reverse=True)
    assert sent[-1] == 1


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20), st.integers(1, 40), st.integers(-5, 20))
def test_portions_are_within_what_there_is(room: int, waiting: int, slots: int, more: int, idle: int) -> None:
    got = portion(room, waiting, slots, slots + more, idle)
    assert 0 <= got <= min(room, waiting)
    assert got or not (room and waiting), "whoever has room gets something"


def test_idle_slots_are_shared_evenly() -> None:
    assert portion(16, 3, 8, 8, 8) == 3
    assert portion(16, 8, 8, 16, 8) == 4


def test_a_third_for_strangers() -> None:
    assert [stranger_room(9, taken) for taken in (0, 2, 3, 9)] == [3, 1, 0, 0]
    assert stranger_room(1, 0) == 1


@given(st.lists(NEEDS, max_size=5), st.dictionaries(st.sampled_from(PEERS), OFFERS), st.data())
def test_slots_are_allotted_to_jobs_that_can_use_them_as_evenly_as_can_be(
    needs: list[Need], offers: dict[PeerId, VolunteerOffer], data: st.DataObject
) -> None:
    held = [data.draw(st.dictionaries(st.sampled_from(PEERS), st.integers(1, 3))) for _ in needs]
    given_slots = allot(needs, offers, held)
    totals = [sum(slots.values()) for slots in given_slots]
    for need, slots, total in zip(needs, given_slots, totals, strict=True):
        assert total <= need.units
        assert all(suits(need, offers[peer]) and count > 0 for peer, count in slots.items())
    for peer, offer in offers.items():
        used = sum(slots.get(peer, 0) for slots in given_slots)
        assert used <= offer.slots
        hungry = [n for n, need in enumerate(needs) if suits(need, offer) and totals[n] < need.units]
        assert used == offer.slots or not hungry, "a slot idles though a job could use it"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_equal_jobs_get_equal_parts(wanted: list[int], slots: list[int]) -> None:
    needs = [Need("wasm", SMALL, units) for units in wanted]
    offers = {PEERS[n]: VolunteerOffer(count, SMALL, frozenset({"wasm"})) for n, count in enumerate(slots)}
    totals = [sum(one.values()) for one in allot(needs, offers, [{}] * len(needs))]
    unfed = [total for total, units in zip(totals, wanted, strict=True) if total < units]
    assert sum(totals) == min(sum(wanted), sum(slots))
    if unfed:
        assert max(totals) <= min(unfed) + 1


def test_a_job_keeps_its_volunteers_when_another_comes() -> None:
    needs = [Need("wasm", SMALL, 10), Need("wasm", SMALL, 10)]
    offers = {peer: VolunteerOffer(1, SMALL, frozenset({"wasm"})) for peer in PEERS[:4]}
    held: list[dict[PeerId, int]] = [{}, dict.fromkeys(PEERS[:2], 1)]
    first, second = allot(needs, offers, held)
    assert len(first) == len(second) == 2
    assert PEERS[0] in second, "it was its own before"


def test_allotting_thousands_of_slots_takes_few_steps() -> None:
    needs = [Need("wasm", SMALL, 10**6) for _ in range(10)]
    offers = {PEERS[n]: VolunteerOffer(10**6, SMALL, frozenset({"wasm"})) for n in range(6)}
    totals = [sum(one.values()) for one in allot(needs, offers, [{}] * 10)]
    assert sum(totals) == 6 * 10**6
    assert max(totals) - min(totals) <= 1


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_of_durations(durations: list[float], fraction: float) -> None:
    kept = Durations()
    for duration in durations:
        kept.add(duration)
    exact = sorted(durations)[max(-(-int(fraction * len(durations) * 10**6) // 10**6) - 1, 0)]
    assert kept.quantile(fraction) >= min(exact, 1e-4) * 0.99
    assert kept.quantile(1) >= max(durations) * 0.99
    assert kept.quantile(1) <= max(max(durations) * 1.2, 1e-4)


def test_of_nothing_nothing_is_late() -> None:
    assert Durations().quantile(0.75) == float("inf")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), st.integers(0, 40))
def test_spare_slots_go_to_those_with_the_fewest(jobs: list[tuple[int, int]], spare: int) -> None:
    slots, wanted = [count for count, _ in jobs], [most for _, most in jobs]
    now = topped_up(slots, wanted, spare)
    assert all(before <= count <= max(before, most) for before, count, most in zip(slots, now, wanted, strict=True))
    assert sum(now) - sum(slots) == min(spare, sum(max(0, most - before) for before, most in jobs))
    given = [count for before, count in zip(slots, now, strict=True) if count > before]
    lacking = [count for count, most in zip(now, wanted, strict=True) if count < most]
    assert not given or not lacking or max(given) <= min(lacking) + 1
