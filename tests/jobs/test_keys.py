from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.jobs.keys import BadKey, Keys
from tests.support.local_jobs import expression, fault

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary())
KEYS = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


def admitted(keys: list[Any]) -> Keys:
    table: dict[Any, Any] = {}
    made = Keys(table)
    for key in keys:
        made.admit(key)
        table.setdefault(key, key)
    return made


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all through."""
    if type(one) is not type(other) or one != other:
        return False
    return all(map(same, one, other)) if type(one) is tuple else True


@given(st.lists(KEYS, max_size=12))
def test_equal_keys_of_different_types_are_refused_and_no_others(keys: list[Any]) -> None:
    mixed = any(one == other and not same(one, other) for one in keys for other in keys)
    if mixed:
        with pytest.raises(BadKey):
            admitted(keys)
    else:
        assert list(admitted(keys).table) == list(dict.fromkeys(keys))


@given(KEYS, st.integers(1, 50))
def test_equal_keys_meet_whatever_their_types_and_company(key: Any, partitions: int) -> None:
    def plain(part: Any) -> Any:
        return tuple(map(plain, part)) if type(part) is tuple else int(part) if type(part) is bool else part

    [alone] = admitted([key]).partitions(partitions)
    beside = list(admitted([True, ("x",), key]).partitions(partitions)) if key != 1 else [alone]
    assert list(admitted([plain(key)]).partitions(partitions)) == [alone]
    assert alone in beside
    assert 0 <= alone < partitions


def test_the_partition_of_a_key_never_changes() -> None:
    keys = ["a", b"a", 1, None, ("a", 1), -(2**80), "ü"]
    assert list(admitted(keys).partitions(1000)) == [959, 714, 428, 706, 679, 868, 411]


def test_keys_spread_evenly() -> None:
    counts = Counter(admitted([f"key{n}" for n in range(8000)]).partitions(8))
    assert all(800 < count < 1200 for count in counts.values())


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("1.0", "float cannot be a key"),
        ("float('nan')", "float cannot be a key"),
        ("('a', 0.5)", "float cannot be a key"),
        ("[1]", "list cannot be a key"),
        ("{'a': 1}", "dict cannot be a key"),
        ("frozenset()", "frozenset cannot be a key"),
        ("(1, True, {2})", "set cannot be a key"),
        ("x == 3 if x > 2 else 1", "both as a bool and as a number"),
        ("(x == 3 or 1, 'a')", "both as a bool and as a number"),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_what_cannot_be_a_key_is_told_with_record_and_line(key: str, advice: str, partitions: int) -> None:
    text = f"""
def job(inputs):
    pairs = inputs.range(8).map(lambda x: ({key}, x))
    return pairs.reduce_by_key(lambda a, b: a + b).count()
"""
    told = fault(text, partitions=partitions)
    assert advice in told.text
    assert (told.kind, told.operation, told.place) == ("BadKey", "reduce_by_key", ("job.py", 5))
    assert told.record


def test_bools_and_numbers_that_are_not_equal_are_different_keys() -> None:
    code = "sorted(inputs.range(8).map(lambda x: (x == 3 if x < 4 else x, 1)).reduce_by_key(max).collect(), key=repr)"
    found = expression(code)
    assert [repr(key) for key, _ in found] == ["4", "5", "6", "7", "False", "True"]
