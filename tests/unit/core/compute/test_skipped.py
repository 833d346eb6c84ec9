"""The count of skipped records: exact however often units run, and the first of them by unit."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute.report import Report
from p2p.core.compute.skipped import MAX_LISTED, SkippedRecords, Skips, UnitPlace

PLACES = st.builds(UnitPlace, st.integers(0, 1), st.integers(0, 2), st.integers(0, 30))


def skips(place: UnitPlace, count: int) -> Skips:
    report = Report("job", f"at {place}", kind="ValueError", line=4, operation="map", record="'x'")
    return Skips(count, [report] * min(count, 10))


@given(st.lists(st.tuples(PLACES, st.integers(0, 30)), max_size=80))
def test_the_last_count_of_each_unit_is_the_one_that_counts(said: list[tuple[UnitPlace, int]]) -> None:
    records = SkippedRecords(50)
    known: dict[UnitPlace, int] = {}
    kept: dict[UnitPlace, Skips] = {}
    for place, count in said:
        after = sum({**known, place: count}.values())
        assert records.would_exceed(place, skips(place, count)) == (count > 0 and after > 50)
        assert records.would_exceed(place, skips(place, count), 7) == (count > 0 and after + 7 > 50)
        new = records.set(place, skips(place, count))
        assert (new is None) == (known.get(place, 0) == count)
        if new is not None:
            kept[place] = new
        known[place] = count
        assert records.total == sum(known.values())
        assert records.is_exceeded == (records.total > 50)
    again = SkippedRecords(50)
    for place, one in sorted(kept.items()):
        again.set(place, one)
    assert again.total == records.total


@given(st.sets(PLACES, max_size=60), st.randoms(use_true_random=False))
def test_the_first_are_those_of_the_first_units(places: set[UnitPlace], random: object) -> None:
    order = sorted(places)
    random.shuffle(order)  # type: ignore[attr-defined]
    records = SkippedRecords(10**6)
    for place in order:
        records.set(place, skips(place, 3))
    expected = [str(place) for place in sorted(places) for _ in range(3)][:MAX_LISTED]
    assert [one.unit for one in records.first()] == expected


def test_too_many_are_told_with_the_first() -> None:
    records = SkippedRecords(1_500)
    for partition in range(4):
        records.set(UnitPlace(0, 1, partition), skips(UnitPlace(0, 1, partition), 500))
    assert records.excess() == (
        "2,000 records were skipped because of errors, and --max-skipped allows 1,500. Mend what is wrong, or run the "
        "job again with a higher --max-skipped. The first:" + "\n  unit 0.1.0, map, line 4: ValueError: at 0.1.0; "
        "record: 'x'" * 3
    )


def test_one_is_told_as_one() -> None:
    records = SkippedRecords(0)
    records.set(UnitPlace(0, 0, 0), skips(UnitPlace(0, 0, 0), 1))
    assert records.excess().startswith("1 record was skipped because of an error, and --max-skipped allows 0.")
