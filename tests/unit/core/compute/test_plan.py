"""Plans: what a guest says is checked whole, whatever it says; ids of units tell different work apart."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute import plan as module
from p2p.core.compute.plan import (
    MAX_PLAN_BYTES,
    MAX_STAGES,
    MAX_UNITS_PER_STAGE,
    Plan,
    check,
    decode,
    job_context,
    results_digest,
    sizes,
    stage_context,
    unit_id,
)
from p2p.errors import JobError

TOLD: dict[str, Any] = {
    "version": 1,
    "action": 0,
    "kind": "top",
    "digest": "ab" * 32,
    "line": 12,
    "stages": [
        {
            "index": 0,
            "source": {"kind": "lines", "input": None},
            "reads": [],
            "outputs": 8,
            "label": "lines",
            "line": 9,
        },
        {"index": 1, "source": None, "reads": [0], "outputs": 0, "partitions": 8, "label": "top", "line": 10},
    ],
}


def told(**changes: Any) -> bytes:
    """The plan with changes; `stage_0__outputs=3` changes a stage."""
    plan = json.loads(json.dumps(TOLD))
    for name, value in changes.items():
        *where, key = name.split("__")
        (plan["stages"][int(where[0][-1])] if where else plan)[key] = value
    return json.dumps(plan).encode()


def test_a_plan_as_a_guest_tells_it() -> None:
    plan = decode(told(), 1)
    assert (plan.kind, plan.action, plan.stages[1].reads) == ("top", 0, (0,))
    assert sizes(plan, [5, None]) == (5, 8)
    assert decode(msgspec.json.encode(plan), 1) == plan


def test_numbers_and_saved_files() -> None:
    numbers = {"kind": "range", "count": 10}
    plan = decode(told(stage_0__source=numbers, stage_0__partitions=4, kind="save", form="text"), 0)
    assert sizes(plan, [None, None]) == (4, 8)
    assert plan.form == "text"
    empty = decode(told(stage_0__source={"kind": "params", "count": 0}, stage_0__partitions=0), 0)
    assert sizes(empty, [None, None]) == (0, 8)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 2}, "version"),
        ({"digest": "xy"}, "digest"),
        ({"kind": "../.."}, "kind"),
        ({"stages": []}, "stages"),
        ({"more": 1}, "more"),
        ({"stage_0__index": 1}, "number 0"),
        ({"stage_0__outputs": 0}, "no outputs"),
        ({"stage_1__outputs": 8}, "no outputs"),
        ({"stage_0__outputs": -1}, "outputs"),
        ({"stage_0__outputs": 9}, "as many units"),
        ({"stage_1__reads": []}, "reads others"),
        ({"stage_1__reads": [0, 0]}, "each once"),
        ({"stage_1__reads": [1]}, "itself"),
        ({"stage_1__reads": [5]}, "later"),
        ({"stage_1__partitions": MAX_UNITS_PER_STAGE + 1}, "partitions"),
        ({"stage_0__reads": [0]}, "reads stages too"),
        ({"stage_0__partitions": 3}, "size alone"),
        ({"stage_0__source": {"kind": "lines", "input": 1}}, "input 1"),
        ({"stage_0__source": {"kind": "pickles"}}, "pickles"),
        ({"stage_0__source": {"kind": "range"}}, "count"),
        ({"stage_0__source": {"kind": "range", "count": 5}}, "partitions"),
        ({"stage_0__source": {"kind": "range", "count": 5}, "stage_0__partitions": 6}, "cannot be cut"),
        ({"stage_0__source": {"kind": "range", "count": 5}, "stage_0__partitions": 0}, "cannot be cut"),
        ({"stage_1__source": {"kind": "range", "count": 9}, "stage_1__reads": []}, "no later stage"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_reason(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(JobError, match=why):
        decode(told(**changes), 1)


def test_bytes_need_an_input() -> None:
    with pytest.raises(JobError, match="--input"):
        decode(told(), 0)


def test_large_plans_are_refused_unread() -> None:
    with pytest.raises(JobError, match="bytes"):
        decode(b" " * (MAX_PLAN_BYTES + 1), 0)
    chain = [{**TOLD["stages"][1], "index": n, "reads": [n - 1], "outputs": 8} for n in range(1, MAX_STAGES + 1)]
    with pytest.raises(JobError, match="stages"):
        decode(told(stages=[TOLD["stages"][0], *chain]), 1)


def test_too_many_units_or_outputs_are_refused() -> None:
    plan = decode(told(), 1)
    with pytest.raises(JobError, match="too many"):
        sizes(plan, [MAX_UNITS_PER_STAGE + 1, None])
    wide = decode(told(stage_0__outputs=4096, stage_1__partitions=4096), 1)
    with pytest.raises(JobError, match="too many"):
        sizes(wide, [4097, None])
    source = {"index": 0, "source": {"kind": "range", "count": 10**6}, "reads": [], "outputs": 1}
    many = [{**source, "index": n, "partitions": MAX_UNITS_PER_STAGE} for n in range(5)]
    last = {"index": 5, "source": None, "reads": [0, 1, 2, 3, 4], "outputs": 0, "partitions": 1}
    with pytest.raises(JobError, match="units in an action"):
        sizes(decode(told(stages=[*many, last]), 0), [None] * 6)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(sorted(TOLD)), st.sampled_from(sorted(TOLD["stages"][1])), st.integers(0, 2))
def test_any_json_in_any_place_is_a_plan_or_refused(value: Any, key: str, of_stage: str, inputs: int) -> None:
    for raw in (json.dumps(value).encode(), told(**{key: value}), told(**{f"stage_1__{of_stage}": value})):
        try:
            plan = decode(raw, inputs)
        except JobError:
            continue
        assert isinstance(plan, Plan)
        check(plan, inputs)
        assert all(read < stage.index for stage in plan.stages for read in stage.reads)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_a_plan(raw: bytes) -> None:
    with pytest.raises(JobError):
        decode(raw, 1)


def test_deep_json_is_refused() -> None:
    with pytest.raises(JobError):
        decode(b"[" * 100_000, 1)


def test_ids_tell_different_work_apart() -> None:
    jobs = [job_context(*fields) for fields in ((b"a", b"b", b"c"), (b"ab", b"", b"c"), (b"a", b"b", b"d"))]
    contexts = {
        stage_context(job, action, stage, digest, read)
        for job in jobs
        for action in (0, 1)
        for stage in (0, 1)
        for digest in (b"p", b"q")
        for read in ([], [b"x"], [b"y"], [b"x", b"y"])
    }
    assert len(contexts) == 3 * 2 * 2 * 2 * 4
    ids = {unit_id(context, partition) for context in contexts for partition in range(3)}
    assert len(ids) == 3 * len(contexts)
    assert {len(one) for one in ids} == {32}


def test_the_digest_of_results_depends_on_their_order() -> None:
    a, b = b"a" * 32, b"b" * 32
    assert len({results_digest([]), results_digest([a]), results_digest([a, b]), results_digest([b, a])}) == 4


def test_bounds_fit_each_other() -> None:
    assert module.MAX_UNITS_PER_STAGE <= module.MAX_UNITS_PER_PLAN
    assert module.MAX_OUTPUTS <= module.MAX_UNITS_PER_STAGE
