"""The stages of an action: in what order they open, what is known from before, what is made again of what is lost."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan, sizes
from p2p.core.compute.stage import DONE, StageUnits
from p2p.core.compute.stages import Stages
from tests.support.job_model import CONTEXT, output_of, peer, plan_of

CHAIN = plan_of((3, (), 2), (2, (0,), 2), (2, (1,), 0))
DIAMOND = plan_of((3, (), 2), (2, (), 2), (2, (0, 1), 3), (2, (0,), 3), (3, (2, 3), 0))
HOLDERS = [peer("a"), peer("b"), None]


def stages_of(plan: Plan, results: Sequence[bytes] = (), source: bytes = b"range") -> Stages:
    sources = {stage.index: source for stage in plan.stages if stage.source}
    return Stages(plan, sizes(plan, [None] * len(plan.stages)), sources, CONTEXT, results)


def finish(stage: StageUnits, partition: int, holder: int = 2) -> Known:
    unit = stage.unit(partition)
    stage.finish(partition, output_of(unit), HOLDERS[holder])
    return Known(unit, stage.index, partition, output_of(unit), HOLDERS[holder])


def finish_all(stages: Stages, holder: int = 2) -> list[Known]:
    """Every unit, as its stage opens."""
    known = []
    while opened := stages.open():
        for stage in opened:
            known += [finish(stage, partition, holder) for partition in range(stage.count)]
    return known


def indexes(opened: Sequence[StageUnits]) -> list[int]:
    return [stage.index for stage in opened]


def test_a_stage_opens_once_all_that_it_reads_is_complete() -> None:
    stages = stages_of(DIAMOND)
    assert indexes(stages.open()) == [0, 1]
    for partition in range(3):
        finish(stages.all[0], partition)
    assert indexes(stages.open()) == [1, 3]
    for index in (1, 3):
        for partition in range(2):
            finish(stages.all[index], partition)
    assert indexes(stages.open()) == [2]
    for partition in range(2):
        finish(stages.all[2], partition)
    assert indexes(stages.open()) == [4]
    assert not stages.complete
    for partition in range(3):
        finish(stages.all[4], partition)
    assert stages.open() == []
    assert stages.complete


def test_what_is_known_of_the_same_work_is_not_run_again() -> None:
    known = finish_all(stages_of(DIAMOND))
    again = stages_of(DIAMOND)
    again.recall(known)
    assert again.complete
    for other in (stages_of(DIAMOND, [b"a result"]), stages_of(DIAMOND, source=b"cut otherwise")):
        other.recall(known)
        assert [stage.done for stage in other.all] == [0] * len(DIAMOND.stages)


def test_what_is_known_of_stages_that_cannot_be_read_yet_is_left_out() -> None:
    known = finish_all(stages_of(CHAIN))
    again = stages_of(CHAIN)
    again.recall(one for one in known if (one.stage, one.partition) != (1, 0))
    assert [stage.done for stage in again.all] == [3, 1, 0]
    assert indexes(again.open()) == [1]


def test_what_is_lost_is_made_again_only_where_it_is_needed() -> None:
    stages = stages_of(CHAIN)
    for holder in (0, 1):
        for partition in range(stages.open()[0].count):
            finish(stages.open()[0], partition, holder)
    stages.all[0].unheld(peer("a"))
    assert stages.revive() == 0, "all that reads it is complete"
    assert indexes(stages.open()) == [2]
    stages.all[1].missing(1, peer("b"))
    assert stages.revive() == 1 + 3, "what is made again reads what was lost before"
    assert indexes(stages.open()) == [0]


def test_what_is_being_made_again_is_left_once_nobody_needs_it_any_more() -> None:
    stages = stages_of(CHAIN)
    for _ in range(2):
        (stage,) = stages.open()
        for partition in range(stage.count):
            finish(stage, partition, 0)
    assert indexes(stages.open()) == [2]
    stages.all[1].missing(1, peer("a"))
    assert stages.revive() == 1
    assert indexes(stages.open()) == [1]
    for partition in range(2):
        finish(stages.all[2], partition)  # readers that had it already
    assert stages.open() == []
    assert stages.complete


@given(
    st.sampled_from([CHAIN, DIAMOND]),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 2))),
    st.lists(st.integers(0, 1)),
)
def test_whatever_is_lost_all_is_complete_in_the_end(
    plan: Plan, done: list[tuple[int, int, int]], lost: list[int]
) -> None:
    stages = stages_of(plan)
    for index, partition, holder in done:
        for stage in stages.open():
            if stage.index == index and partition < stage.count and stage.state(partition) != DONE:
                finish(stage, partition, holder)
    for holder in lost:
        gone = HOLDERS[holder]
        assert gone is not None
        for stage in stages.all:
            stage.unheld(gone)
        stages.revive()
        assert all(stage.gone == set() for stage in stages.open())
    while opened := stages.open():
        for stage in opened:
            for partition in range(stage.count):
                if stage.state(partition) != DONE:
                    finish(stage, partition)
    assert stages.complete
    assert stages.revive() == 0
