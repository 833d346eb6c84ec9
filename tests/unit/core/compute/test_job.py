"""The owner's decisions: rules one by one, and a machine for all that volunteers, owners and the network may do."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2p.core.compute.attempts import Fault, JobEnded, JobState, SendUnits, UnitResult, WithdrawUnits
from p2p.core.compute.crew import MAX_STRIKES, STALL_S, TAKEN_AT_ITS_WORD, UNKNOWN_STRAGGLER_S
from p2p.core.compute.disputes import MAX_FAILURES, MAX_LOSSES
from p2p.core.compute.job import LEASE_S, Job
from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan
from p2p.core.compute.report import Report
from p2p.ids import PeerId
from tests.support.job_model import CONTEXT, OWNER, UNIT_S, World, output_of, peer, plan_of

ONE = plan_of((1, (), 0))
MANY = plan_of((40, (), 0))
SHUFFLE = plan_of((4, (), 3), (3, (0,), 0))
CHAIN = plan_of((3, (), 2), (2, (0,), 2), (2, (1,), 0))
DIAMOND = plan_of((3, (), 2), (2, (), 2), (2, (0, 1), 3), (2, (0,), 3), (3, (2, 3), 0))
EMPTY = plan_of((0, (), 2), (2, (0,), 0))
NOTHING = plan_of((0, (), 0))


def begun(*plans: Plan) -> World:
    world = World(*plans)
    world.start()
    return world


def test_one_unit_from_plan_to_result() -> None:
    world = begun(ONE)
    a = world.join("a")
    (unit,) = world.asked[a]
    world.give(a, unit)
    assert world.finishing
    world.finish()
    assert world.state is JobState.DONE
    assert [known.unit for known in world.accepted] == [unit]


def test_a_job_without_units_is_done_at_once() -> None:
    world = begun(NOTHING)
    assert world.finishing
    world.finish()
    assert world.state is JobState.DONE


def test_a_stage_waits_for_all_that_it_reads() -> None:
    world = begun(SHUFFLE)
    a = world.join("a", slots=8)
    assert {work.stage for work in world.asked[a].values()} == {0}
    while not world.complete(0):
        assert {work.stage for work in world.asked[a].values()} == {0}
        world.work(a)
    assert {work.stage for work in world.asked[a].values()} == {1}


def test_actions_follow_each_other_and_the_ids_depend_on_earlier_results() -> None:
    def second(first_result: bytes) -> list[bytes]:
        job = Job(OWNER, CONTEXT, UNIT_S, [first_result])
        commands = job.planned(plan_of((3, (), 0), action=1), [3], {0: b"range"}, 0.0)
        commands += job.joined(peer("a"), 4, 0.0)
        return [work.unit for command in commands if isinstance(command, SendUnits) for work in command.units]

    assert second(b"x" * 32) == second(b"x" * 32)
    assert not set(second(b"x" * 32)) & set(second(b"y" * 32))
    world = begun(SHUFFLE, plan_of((3, (), 0), action=1))
    world.run(world.join("a"))
    assert world.state is JobState.DONE
    assert len(world.actions) == 2


def test_a_plan_of_another_action_fails_the_job() -> None:
    job = Job(OWNER, CONTEXT, UNIT_S)
    (ended,) = job.planned(plan_of((1, (), 0), action=3), [1], {0: b""}, 0.0)
    assert isinstance(ended, JobEnded)
    assert ended.state is JobState.FAILED


def test_the_window_follows_the_pace_and_bounds_hold() -> None:
    world = begun(plan_of((50_000, (), 0)))
    a = world.join("a")
    assert len(world.asked[a]) == 2
    for _ in range(35):
        world.now += 0.01
        world.work(a, 1024)
    fast = len(world.asked[a])
    assert 200 < fast <= 1024
    slow = World(MANY)
    slow.start()
    b = slow.join("b", slots=2)
    for _ in range(5):
        slow.now += 20
        slow.work(b)
        assert len(slow.asked[b]) <= 4
    tight = begun(MANY)
    c = tight.join("c", slots=8, window=3)
    assert len(tight.asked[c]) == 3


def test_what_a_volunteer_had_goes_to_others_when_it_leaves() -> None:
    world = begun(MANY)
    a, b = world.join("a", slots=4), world.join("b", slots=4)
    had = set(world.asked[a])
    world.leave(a)
    world.run(b)
    assert world.state is JobState.DONE
    assert had <= world.runs.keys()
    assert world.job.losses == len(had)


def test_a_silent_volunteer_is_lost_after_one_lease() -> None:
    world = begun(ONE)
    a = world.join("a")
    b = world.join("b")
    world.tick(LEASE_S - 0.1, silent=[a])
    assert a not in world.dropped
    world.tick(0.2, silent=[a])
    assert "silent" in world.dropped[a]
    assert world.asked[b]


def test_a_volunteer_that_is_there_but_ends_nothing_is_dropped() -> None:
    world = begun(ONE)
    a = world.join("a")
    (unit,) = world.asked[a]
    for _ in range(40):
        world.tick(2.0)
    world.job.heard(a, world.now, [unit])  # it begins
    world.job.heard(a, world.now, [unit])
    for _ in range(int((UNIT_S + STALL_S) / 2)):
        assert a not in world.dropped
        world.tick(2.0)
        world.job.heard(a, world.now, [unit])  # begins only once
    world.tick(2.0)
    assert "in time" in world.dropped[a]


def test_a_volunteer_keeps_a_unit_for_as_long_as_it_lets_a_unit_run() -> None:
    """Its guests get only what its machine has to spare: a unit may take long, as long as the node beats."""
    world = begun(ONE)
    a = world.join("a", unit_s=20 * UNIT_S)
    (unit,) = world.asked[a]
    world.job.heard(a, world.now, [unit])
    for _ in range(10 * round(UNIT_S)):
        world.tick(2.0)
        world.job.heard(a, world.now, [unit])
    assert a not in world.dropped
    world.tick(STALL_S)
    world.job.heard(a, world.now, [unit])
    world.tick(1.0)
    assert "in time" in world.dropped[a]


def test_a_unit_that_takes_longer_than_volunteers_allow_is_run_by_the_owner_and_nobody_is_struck() -> None:
    world = begun(ONE)
    a, b = world.join("a", unit_s=UNIT_S), world.join("b", unit_s=UNIT_S)
    for volunteer in (a, b):
        (unit,) = world.asked[volunteer]
        world.job.heard(volunteer, world.now, [unit])
        for _ in range(round(UNIT_S)):
            world.tick(1.0)
            world.job.heard(volunteer, world.now, [unit])
        world.outlasted(volunteer, unit)
    (unit,) = world.asked[OWNER]
    world.give(OWNER, unit)
    assert world.job.state is JobState.FINISHING
    assert not world.dropped
    assert not world.job._crew._strikes
    assert not world.job.failures


def test_a_volunteer_that_ends_a_unit_before_its_time_is_at_fault() -> None:
    world = begun(ONE)
    a = world.join("a", unit_s=UNIT_S)
    (unit,) = world.asked[a]
    world.tick(1.0)
    world.outlasted(a, unit)
    assert world.job._crew._strikes == {a: 1}


def test_a_straggler_gets_a_second_and_the_first_result_wins() -> None:
    world = begun(plan_of((9, (), 0)))
    a, b = world.join("a"), world.join("b")
    held = next(iter(world.asked[b]))
    for _ in range(30):
        world.tick(0.1)
        world.give(a, *world.asked[a])
        world.give(b, *(unit for unit in world.asked[b] if unit != held))
    assert held not in world.asked[a] or world.runs[held] == 2
    assert world.runs[held] == 2
    assert all(count == 1 for unit, count in world.runs.items() if unit != held)
    assert world.finishing
    before = len(world.accepted)
    world.give(b, held)  # too late
    assert len(world.accepted) == before


def test_without_idle_capacity_nothing_runs_twice() -> None:
    world = begun(plan_of((9, (), 0)))
    a, b = world.join("a"), world.join("b")
    held_a, held_b = next(iter(world.asked[a])), next(iter(world.asked[b]))
    for _ in range(3):
        world.tick(0.1)
        world.give(a, *(unit for unit in world.asked[a] if unit != held_a))
        world.give(b, *(unit for unit in world.asked[b] if unit != held_b))
    world.tick(5.0)
    assert world.runs[held_a] == world.runs[held_b] == 1


def test_results_of_others_units_and_of_none_are_nothing() -> None:
    world = begun(MANY)
    a, b = world.join("a"), world.join("b")
    others = list(world.asked[b])
    world.obey(
        world.job.returned(a, [UnitResult(unit, output_of(unit)) for unit in (*others, b"x" * 32, b"")], world.now)
    )
    world.obey(world.job.returned(peer("stranger"), [UnitResult(others[0], output_of(others[0]))], world.now))
    assert not world.accepted
    unit = world.work(a)[0]
    world.give(a, unit)  # a duplicate
    assert len(world.accepted) == 1


def test_a_result_without_a_digest_is_the_peers_fault() -> None:
    world = begun(ONE)
    a, b = world.join("a"), world.join("b")
    (unit,) = world.asked.pop(a)
    world.asked[a] = {}
    world.obey(world.job.returned(a, [UnitResult(unit, b"short")], world.now))
    assert list(world.asked[b]) == [unit]


def test_the_jobs_fault_is_believed_once_an_unrelated_peer_and_the_owner_repeat_it() -> None:
    world = begun(ONE)
    a, b = world.join("a", relation="net 1"), world.join("b", relation="net 2")
    world.join("c", relation="net 3")
    (unit,) = world.asked[a]
    world.fail(a, unit, Fault.JOB, "ValueError: 1")
    assert world.ended is None
    assert list(world.asked[b]) == [unit]
    world.fail(b, unit, Fault.JOB, "ValueError: 2")
    assert world.ended is None
    assert list(world.asked[OWNER]) == [unit]
    world.fail(OWNER, unit, Fault.JOB, "ValueError: 3")
    assert world.ended == JobEnded(JobState.FAILED, "ValueError: 3")


def test_related_peers_are_not_believed_and_the_owner_repeats_it() -> None:
    world = begun(ONE)
    a, b = world.join("a", relation="net"), world.join("b", relation="net")
    (unit,) = world.asked[a]
    world.fail(a, unit, Fault.JOB)
    assert not world.asked[b]
    assert list(world.asked[OWNER]) == [unit]
    world.fail(OWNER, unit, Fault.JOB, "ValueError: here too")
    assert world.ended == JobEnded(JobState.FAILED, "ValueError: here too")


def test_who_blames_the_job_wrongly_is_at_fault_itself() -> None:
    world = begun(MANY)
    a = world.join("a", relation="net")
    for _ in range(MAX_STRIKES):
        world.tick(10)
        assert world.asked[a]
        unit = next(iter(world.asked[a]))
        world.fail(a, unit, Fault.JOB)
        assert list(world.asked[OWNER]) == [unit]
        world.give(OWNER, unit)
    assert "blamed" in world.dropped[a]
    world.join("a")
    assert not world.asked.get(a)
    world.run(world.join("b"))
    assert world.state is JobState.DONE


def test_a_disputed_unit_whose_second_judge_leaves_goes_to_the_owner() -> None:
    world = begun(ONE)
    a, b = world.join("a"), world.join("b")
    (unit,) = world.asked[a]
    world.fail(a, unit, Fault.JOB)
    assert unit in world.asked[b]
    world.leave(b)
    assert list(world.asked[OWNER]) == [unit]


def test_what_fails_somewhere_is_tried_elsewhere_first() -> None:
    world = begun(ONE)
    a, b = world.join("a"), world.join("b")
    (unit,) = world.asked[a]
    world.fail(a, unit, Fault.TRANSIENT)
    assert not world.asked[a]
    assert list(world.asked[b]) == [unit]
    world.leave(b)
    assert list(world.asked[a]) == [unit], "nobody else is left"


def tried_in_vain(world: World) -> bytes:
    """As often as volunteers may try a unit."""
    a = world.join("a")
    for n in range(MAX_FAILURES):
        assert not world.asked[OWNER]
        (unit,) = world.asked[a]
        world.fail(a, unit, Fault.TRANSIENT, f"out of memory {n}")
    assert not world.asked[a]
    return unit


def test_attempts_are_capped_and_the_last_is_the_owners() -> None:
    world = begun(ONE)
    unit = tried_in_vain(world)
    assert list(world.asked[OWNER]) == [unit]
    world.fail(OWNER, unit, Fault.TRANSIENT, "out of memory here too")
    assert world.ended is not None
    assert world.ended.state is JobState.FAILED
    assert f"tried {MAX_FAILURES + 1} times in vain, last with: out of memory here too" in world.ended.reason


def test_who_is_dropped_for_the_last_failure_of_a_unit_leaves_it_to_the_owner() -> None:
    world = begun(ONE)
    a = world.join("a")
    (unit,) = world.asked[a]
    for fault in (Fault.TRANSIENT, Fault.PEER, Fault.PEER):
        world.fail(a, unit, fault)
        world.tick(3.0)
        assert list(world.asked[a]) == [unit]
    assert world.job.failures == MAX_FAILURES - 1
    b = world.join("b")
    world.fail(a, unit, Fault.PEER)
    assert a in world.dropped
    assert not world.asked[b]
    assert list(world.asked[OWNER]) == [unit]


def test_what_fails_at_the_owner_since_it_reads_what_is_lost_is_run_once_that_is_made_again() -> None:
    world = begun(plan_of((1, (), 1), (1, (0,), 0)))
    world.work(world.join("a"), held=True)
    unit = tried_in_vain(world)
    world.fail(OWNER, unit, Fault.INPUT, "what it reads is lost")
    world.lose(peer("a"))
    world.work(peer("a"))
    assert list(world.asked[OWNER]) == [unit]
    world.give(OWNER, unit)
    assert world.finishing


def test_those_who_lose_what_a_unit_of_the_owners_reads_do_not_end_the_job() -> None:
    world = begun(plan_of((1, (), 1), (1, (0,), 0)))
    world.work(world.join("a"), held=True)
    unit = tried_in_vain(world)
    world.leave(peer("a"))
    holder = peer("a")
    for n in range(2 * MAX_FAILURES):
        world.lose(holder)  # while the owner reads
        world.fail(OWNER, unit, Fault.INPUT, "what it reads is lost")
        assert not world.asked[OWNER]
        holder = world.join(f"liar {n}")
        world.work(holder, held=True)
        assert list(world.asked[OWNER]) == [unit]
        world.leave(holder)
    world.give(OWNER, unit)
    assert world.finishing


def test_volunteers_together_do_not_end_a_job_whose_units_run() -> None:
    for fault in (Fault.JOB, Fault.TRANSIENT, Fault.INPUT, Fault.PEER):
        world = begun(MANY)
        honest = world.join("honest")
        for n in range(30):
            liar = world.join(f"liar {n}", relation=f"net {n}")
            while world.asked.get(liar):
                world.fail(liar, next(iter(world.asked[liar])), fault)
                while world.asked[OWNER]:
                    world.work(OWNER)
            world.tick(2.0)
            assert world.ended is None, fault
        world.run(honest)
        assert world.state is JobState.DONE, fault


def test_who_fails_where_the_owner_does_not_is_dropped_in_the_end() -> None:
    world = begun(MANY)
    a = world.join("a")
    for _ in range(MAX_STRIKES):
        world.tick(10)
        while a in world.present and not world.asked[OWNER]:
            world.fail(a, next(iter(world.asked[a])), Fault.TRANSIENT)
        world.work(OWNER)
    assert "its own failures" in world.dropped[a]
    world.run(world.join("b"))
    assert world.state is JobState.DONE


def test_a_unit_that_takes_volunteers_down_is_run_by_the_owner() -> None:
    world = begun(ONE)
    for n in range(MAX_LOSSES):
        assert not world.asked[OWNER]
        world.leave(world.join(f"peer {n}"))
    assert world.ended is None
    (unit,) = world.asked[OWNER]
    assert not world.asked[world.join("another")]
    world.fail(OWNER, unit, Fault.TRANSIENT, "it broke the guest")
    assert world.ended is not None
    assert "it broke the guest" in world.ended.reason


def test_who_says_that_it_keeps_what_it_does_not_is_dropped_in_the_end() -> None:
    world = begun(plan_of((4, (), 1), (1, (0,), 0)))
    liar = world.join("liar", slots=4)
    for _ in range(MAX_STRIKES):
        assert liar not in world.dropped
        world.give(liar, *[unit for unit, one in world.asked[liar].items() if one.stage == 0], held=True)
        assert world.complete(0)
        for place in [(0, partition) for partition in range(4)]:  # which is one fault
            world.unheld.add(place)
            world.obey(world.job.missing(*place, liar, world.now))
        for _ in range(5):
            world.tick(1)
    assert "did not keep" in world.dropped[liar]
    world.run(world.join("honest"))
    assert world.state is JobState.DONE


def test_who_holds_on_to_a_unit_does_not_keep_it_from_the_owner() -> None:
    world = begun(ONE)
    holder = world.join("holder")
    (unit,) = world.asked[holder]
    for n in range(MAX_FAILURES):
        assert not world.asked[OWNER]
        other = world.join(f"other {n}")
        for _ in range(5):
            world.tick(UNKNOWN_STRAGGLER_S / 4)
        world.fail(other, unit, Fault.TRANSIENT)
    assert unit in world.asked[holder]
    assert list(world.asked[OWNER]) == [unit]
    world.fail(OWNER, unit, Fault.TRANSIENT)
    assert world.ended is None, "somebody may still end it"
    world.give(OWNER, *world.asked[OWNER])
    assert world.finishing
    assert not world.asked[holder]


def test_the_owner_runs_one_unit_at_a_time() -> None:
    world = begun(plan_of((2, (), 0)))
    a, b = world.join("a"), world.join("b")
    (first,), (second,) = world.asked[a], world.asked[b]
    world.fail(a, first, Fault.JOB)
    assert first in world.asked[b]
    world.fail(b, second, Fault.JOB)
    world.fail(a, second, Fault.JOB)
    assert list(world.asked[OWNER]) == [second]
    world.leave(b)
    assert list(world.asked[OWNER]) == [second]
    world.give(OWNER, second)
    assert list(world.asked[OWNER]) == [first]
    world.give(OWNER, first)
    assert world.finishing


def test_units_that_merely_wait_at_lost_volunteers_are_not_blamed() -> None:
    world = begun(plan_of((4, (), 0)))
    for n in range(MAX_LOSSES - 1):
        who = world.join(f"peer {n}")
        world.leave(who)
    waiting = [trouble for stage in world.job.stages for trouble in stage.troubles.values()]
    assert sum(trouble.losses for trouble in waiting) == MAX_LOSSES - 1


def test_a_faulty_peer_rests_ever_longer_and_is_dropped_in_the_end() -> None:
    world = begun(MANY)
    a = world.join("a")
    for rest in (1.0, 2.0):
        world.fail(a, next(iter(world.asked[a])), Fault.PEER, "disk full")
        while world.asked[a]:
            world.work(a)
        world.tick(rest - 0.1)
        assert not world.asked[a]
        world.tick(0.2)
        assert world.asked[a]
    world.fail(a, next(iter(world.asked[a])), Fault.PEER, "disk full")
    assert "disk full" in world.dropped[a]
    assert world.ended is None
    world.run(world.join("b"))
    assert world.state is JobState.DONE


def test_refusals_are_nobodys_fault() -> None:
    world = begun(ONE)
    a = world.join("a")
    for _ in range(20):
        (unit,) = world.asked[a]
        world.refuse(a, unit)
        assert not world.asked[a]
        world.tick(1.1)
    world.run(a)
    assert world.state is JobState.DONE


def test_no_slots_no_units_and_what_was_begun_ends() -> None:
    world = begun(MANY)
    a = world.join("a")
    world.obey(world.job.slots(a, 0, world.now))
    world.work(a, 9)
    world.tick(1)
    assert not world.asked[a]
    world.obey(world.job.slots(a, 2, world.now))
    assert world.asked[a]


def test_lost_outputs_are_made_again_exactly() -> None:
    world = begun(CHAIN)
    a, b = world.join("a", slots=2), world.join("b", slots=1)
    while not world.complete(0):
        world.work(a, held=True)
        world.work(b, held=True)
    held_by_a = {known.unit for (stage, _), known in world.journal.items() if stage == 0 and known.holder == a}
    assert held_by_a
    world.leave(a)
    world.lose(a)
    world.run(b)
    assert world.state is JobState.DONE
    accepted = [known.unit for known in world.accepted]
    assert {unit for unit in accepted if accepted.count(unit) > 1} == held_by_a
    assert world.job.repeats == len(held_by_a)


def test_outputs_that_nobody_needs_any_more_are_not_made_again() -> None:
    world = begun(CHAIN)
    a = world.join("a", slots=8)
    while not world.complete(1):
        world.work(a, held=not world.complete(0))
    world.lose(a)
    assert world.job.repeats == 0
    world.run(a)
    assert all(count == 1 for count in world.runs.values())


def test_what_nobody_needs_any_more_is_taken_back_before_the_end() -> None:
    world = begun(SHUFFLE)
    a, b, c = world.join("a", slots=8), world.join("b", slots=8), world.join("c", slots=8)
    while not world.complete(0):
        world.work(a, 9, held=True)
    late = [unit for who in (a, b, c) for unit in world.asked[who]]
    assert len(late) == 3, "the readers are under way"
    world.lose(a)
    again = {unit for who in (a, b, c) for unit in world.asked[who]} - set(late)
    assert again
    for who in (a, b, c):
        world.give(who, *(unit for unit in late if unit in world.asked[who]))
    assert world.finishing
    assert not any(world.asked.values())
    world.finish()
    assert world.state is JobState.DONE


def test_a_loss_further_back_is_found_when_it_is_needed() -> None:
    world = begun(CHAIN)
    a, b = world.join("a", slots=8), world.join("b", slots=8)
    while not world.complete(1):
        world.work(a, held=True)
        world.work(b, held=True)
    world.lose(a)
    world.lose(b)
    assert world.job.repeats >= 5, "all units of two stages"
    world.run(a, b)
    assert world.state is JobState.DONE


def test_final_outputs_lost_before_the_owner_has_them_are_made_again() -> None:
    world = begun(plan_of((3, (), 0)))
    a = world.join("a", slots=8)
    world.work(a, 9, held=True)
    world.work(a, 9, held=True)
    assert world.finishing
    world.job.kept(0, 0)
    world.journal[0, 0] = world.journal[0, 0]._replace(holder=None)
    world.lose(a)
    assert world.state is JobState.RUNNING
    assert not world.finishing
    assert world.job.repeats == 2
    world.run(a)
    assert world.state is JobState.DONE


def test_one_missing_output_is_made_again() -> None:
    world = begun(SHUFFLE)
    a = world.join("a", slots=8)
    world.work(a, 9, held=True)
    while not world.complete(0):
        world.work(a, 1, held=True)
    world.obey(world.job.missing(0, 2, peer("other"), world.now))
    assert world.job.repeats == 0
    world.unheld.add((0, 2))
    world.obey(world.job.missing(0, 2, a, world.now))
    assert world.job.repeats == 1
    world.run(a)
    assert world.state is JobState.DONE


def test_a_job_that_gives_another_result_the_second_time_is_stopped() -> None:
    world = begun(SHUFFLE)
    a, b = world.join("a", slots=8), world.join("b")
    while not world.complete(0):
        world.work(a, 1, held=True)
        world.work(b, 1)
    world.lose(a)
    again = next(work.unit for work in (*world.asked[a].values(), *world.asked[b].values()) if work.stage == 0)
    who = a if again in world.asked[a] else b
    commands = world.job.returned(who, [UnitResult(again, b"z" * 32)], world.now)
    assert isinstance(commands[-1], JobEnded)
    assert "not deterministic" in commands[-1].reason


def test_cancel_frees_everybody_and_is_final() -> None:
    world = begun(MANY)
    a, b = world.join("a"), world.join("b")
    had = {who: tuple(world.asked[who]) for who in (a, b)}
    commands = world.job.cancel()
    assert commands == [WithdrawUnits(a, had[a]), WithdrawUnits(b, had[b]), JobEnded(JobState.CANCELLED, "cancelled")]
    assert world.job.cancel() == world.job.tick(world.now + 100) == world.job.joined(peer("c"), 1, world.now) == []
    assert world.job.returned(a, [UnitResult(had[a][0], output_of(had[a][0]))], world.now) == []
    assert world.job.done() == []


def test_what_is_journaled_is_never_run_again() -> None:
    world = begun(SHUFFLE)
    a = world.join("a")
    for _ in range(5):
        world.work(a)
    done = {known.unit for known in world.journal.values()}
    runs = {unit: world.runs[unit] for unit in done}
    world.restart()
    world.run(world.join("b"))
    assert world.state is JobState.DONE
    assert {unit: world.runs[unit] for unit in done} == runs


def test_a_journal_of_other_work_is_not_believed() -> None:
    job = Job(OWNER, CONTEXT, UNIT_S)
    wrong = [
        Known(b"x" * 32, 0, 0, b"d" * 32, None),
        Known(b"x" * 32, 0, 77, b"d" * 32, None),
        Known(b"x" * 32, 63, 0, b"d" * 32, None),
        Known(b"x" * 32, 1, 0, b"d" * 32, None),
    ]
    assert job.planned(SHUFFLE, [4, 3], {0: b""}, 0.0, wrong) == []
    assert [stage.done for stage in job.stages] == [0, 0]


def test_a_stranger_gets_at_most_a_third_while_others_idle() -> None:
    world = World(plan_of((12, (), 0)))
    stranger, known = world.join("stranger", slots=50, stranger=True), world.join("known", slots=50)
    world.start()
    world.tick(0.1)
    assert len(world.asked[stranger]) == 4
    world.tick(0.1)
    assert len(world.asked[known]) == 8


def test_a_stranger_may_do_it_all_where_nobody_idles() -> None:
    world = begun(plan_of((12, (), 0)))
    world.join("known", window=1)
    stranger = world.join("stranger", slots=50, stranger=True)
    assert len(world.asked[stranger]) == 11


def test_who_has_the_input_gets_it_first() -> None:
    world = World(MANY)
    a = world.join("a")
    world.start()
    world.leave(a)
    b, c = peer("b"), peer("c")
    world.obey(world.job.joined(b, 0, world.now))
    world.present.add(b)
    world.asked[b] = {}
    world.job.near(b, 0, [30, 31, 32, 33, 99, -1])
    world.job.near(c, 0, [1])
    world.obey(world.job.slots(b, 1, world.now))
    got = [work.partition for work in world.asked[b].values()]
    assert set(got) <= {0, 1, 30, 31}, "what was tried before goes first"
    while len(world.runs) < 40:
        world.work(b)
    assert world.ended is None


def test_a_report_says_where_and_what() -> None:
    trace = '  File "words.py", line 12, in f\n    int(x)\nValueError: invalid literal\n'
    report = Report("job", "invalid literal", "ValueError", trace, 12, "map", "'x'", "words.py")
    assert report.told(3, 7).splitlines() == [
        "ValueError: invalid literal",
        "  at partition 7 of stage 3, line 12 of words.py, in map",
        "  record: 'x'",
        "  unit: 0.3.7",
        '  File "words.py", line 12, in f',
        "    int(x)",
    ]
    assert report.told().splitlines()[1] == "  at line 12 of words.py, in map"
    assert Report("limit", "too much").told() == "too much"


PLANS = [
    (ONE,),
    (MANY,),
    (SHUFFLE,),
    (CHAIN,),
    (EMPTY,),
    (NOTHING,),
    (DIAMOND,),
    (SHUFFLE, plan_of((5, (), 2), (2, (0,), 0), action=1)),
]


class AnyJob(RuleBasedStateMachine):
    """Volunteers join, work, lie, fail, fall silent and leave; the owner is killed at any moment; in the end all ends.

    `World` checks each decision: nothing is sent or accepted twice, nothing before its inputs, nothing after the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World(ONE)
        self.judged = self.started = False
        """Whether the owner has seen a unit fail, in its own guest; for nothing else does a job fail."""
        self.names = 0
        self.old: list[tuple[PeerId, bytes]] = []

    @initialize(plans=st.sampled_from(PLANS), slots=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    def begin(self, plans: tuple[Plan, ...], slots: list[int]) -> None:
        self.world, self.started = World(*plans), True
        for number, count in enumerate(slots):
            self.world.join(f"first {number}", count, relation="xxy"[number % 3])
        self.world.start()

    @precondition(lambda self: self.world.ended is not None)
    @rule(seconds=st.sampled_from([0.0, 100.0]))
    def nothing_more(self, seconds: float) -> None:
        self.world.now += seconds
        assert self.world.job.tick(self.world.now) == self.world.job.cancel() == []
        assert self.world.job.joined(peer("late"), 1, self.world.now) == []
        for who, unit in self.old:
            assert self.world.job.returned(who, [UnitResult(unit, output_of(unit))], self.world.now) == []
            assert self.world.job.left(who, self.world.now) == []

    def _goes_on(self) -> bool:
        return self.started and self.world.ended is None

    def _someone(self, data: st.DataObject) -> PeerId:
        return data.draw(st.sampled_from(sorted(self.world.asked)))

    def _units(self, data: st.DataObject, who: PeerId) -> list[bytes]:
        units = list(self.world.asked[who])
        return data.draw(st.lists(st.sampled_from(units), unique=True)) if units else []

    @precondition(lambda self: self._goes_on())
    @rule(slots=st.integers(0, 9), stranger=st.booleans(), relation=st.sampled_from("xxy"), window=st.integers(1, 20))
    def join(self, slots: int, stranger: bool, relation: str, window: int) -> None:
        self.names += 1
        if len(self.world.present) < 6:
            self.world.join(f"peer {self.names}", slots, stranger=stranger, relation=relation, window=window)

    @precondition(lambda self: self._goes_on())
    @rule(slots=st.integers(0, 3))
    def owner_works_too(self, slots: int) -> None:
        if OWNER not in self.world.present:
            self.world.join("owner", slots)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), slots=st.integers(0, 4))
    def other_slots(self, data: st.DataObject, slots: int) -> None:
        self.world.obey(self.world.job.slots(self._someone(data), slots, self.world.now))

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), lost=st.booleans())
    def leave(self, data: st.DataObject, lost: bool) -> None:
        who = self._someone(data)
        if who in self.world.present:
            self.old += [(who, unit) for unit in self.world.asked[who]]
            self.world.leave(who)
            if lost and self.world.ended is None:
                self.world.lose(who)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), held=st.booleans())
    def work(self, data: st.DataObject, held: bool) -> None:
        who = self._someone(data)
        units = self._units(data, who)
        self.old += [(who, unit) for unit in units]
        self.world.give(who, *units, held=held and who != OWNER)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), held=st.booleans(), seconds=st.sampled_from([0.0, 0.1, 1.0, 12.0]))
    def work_on(self, data: st.DataObject, held: bool, seconds: float) -> None:
        """All but one, which idles or has a unit that takes for ever, do what they have."""
        slow = self._someone(data)
        for who in sorted(self.world.present - {slow}):
            if self.world.ended is None and who in self.world.present:
                self.world.work(who, 99, held=held and who != OWNER)
        if self.world.ended is None:
            self.world.tick(seconds)

    @precondition(lambda self: self._goes_on() and OWNER not in self.world.present)
    @rule(agrees=st.booleans())
    def owner_judges(self, agrees: bool) -> None:
        for unit in list(self.world.asked[OWNER]):
            if agrees:
                self.judged = True
                self.world.fail(OWNER, unit, Fault.JOB)
                return
            self.world.give(OWNER, unit)

    @precondition(lambda self: self._goes_on() and self.old)
    @rule(data=st.data())
    def late_or_twice(self, data: st.DataObject) -> None:
        who, unit = data.draw(st.sampled_from(self.old))
        self.world.give(who, unit)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), noise=st.binary(max_size=33))
    def lie(self, data: st.DataObject, noise: bytes) -> None:
        who = self._someone(data)
        others = {unit for asked in self.world.asked.values() for unit in asked} - set(self.world.asked[who])
        others |= {known.unit for known in self.world.journal.values()} - set(self.world.asked[who]) | {noise}
        before = len(self.world.accepted)
        self.world.obey(
            self.world.job.returned(who, [UnitResult(unit, b"l" * 32, who) for unit in others], self.world.now)
        )
        self.world.obey(self.world.job.failed(who, noise, Fault.JOB, "a lie", self.world.now))
        assert len(self.world.accepted) == before

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), fault=st.sampled_from(Fault))
    def fail(self, data: st.DataObject, fault: Fault) -> None:
        who = self._someone(data)
        if self.world.asked[who]:
            self.judged = self.judged or who == OWNER
            unit = data.draw(st.sampled_from(list(self.world.asked[who])))
            self.old.append((who, unit))
            self.world.fail(who, unit, fault)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), faults=st.lists(st.sampled_from(Fault), min_size=MAX_FAILURES, max_size=2 * MAX_LOSSES))
    def fail_everywhere(self, data: st.DataObject, faults: list[Fault]) -> None:
        """One unit fails wherever volunteers are at it, one after the other."""
        asked = sorted({unit for who in self.world.present - {OWNER} for unit in self.world.asked[who]})
        unit = data.draw(st.sampled_from(asked)) if asked else b""
        for fault in faults:
            for who in sorted(self.world.present - {OWNER}):
                if self.world.ended is None and unit in self.world.asked.get(who, ()):
                    self.old.append((who, unit))
                    self.world.fail(who, unit, fault)
        assert self.world.ended is None, "volunteers alone end no job"

    @precondition(lambda self: self._goes_on())
    @rule(fault=st.sampled_from([Fault.TRANSIENT, Fault.INPUT]))
    def owner_fails(self, fault: Fault) -> None:
        for unit in list(self.world.asked[OWNER]):
            if self.world.ended is None:
                self.judged = True
                self.world.fail(OWNER, unit, fault)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        who = self._someone(data)
        self.world.refuse(who, *self._units(data, who))

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data())
    def outlasted(self, data: st.DataObject) -> None:
        """The volunteer, which has not said how long it lets a unit run, ends a unit as if that were over."""
        who = self._someone(data)
        for unit in self._units(data, who) if who != OWNER else ():
            self.world.outlasted(who, unit)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        who = self._someone(data)
        self.world.job.heard(who, self.world.now, [*self._units(data, who), b"?" * 32])

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.1, 1.0, 3.0, 12.0, 100.0]))
    def pass_time(self, data: st.DataObject, seconds: float) -> None:
        silent = data.draw(st.sets(st.sampled_from(sorted(self.world.asked)), max_size=2))
        self.world.tick(seconds, silent=silent)

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data())
    def outputs_vanish(self, data: st.DataObject) -> None:
        holders = sorted({known.holder for known in self.world.journal.values() if known.holder})
        if holders:
            self.world.lose(data.draw(st.sampled_from(holders)))

    @precondition(lambda self: self._goes_on())
    @rule(data=st.data())
    def one_output_is_missing(self, data: st.DataObject) -> None:
        held = sorted(place for place, known in self.world.journal.items() if known.holder)
        if held:
            self.world.miss(*data.draw(st.sampled_from(held)))

    @precondition(lambda self: self._goes_on() and self.world.finishing)
    @rule()
    def combine(self) -> None:
        self.world.finish()

    @precondition(lambda self: self._goes_on())
    @rule(killed=st.sampled_from([False, False, False, True]))
    def restart(self, killed: bool) -> None:
        if not killed:
            return
        runs = {known.unit: self.world.runs.get(known.unit) for known in self.world.journal.values()}
        lost = set(self.world.unheld)
        kept = {known.unit for place, known in self.world.journal.items() if place not in lost}
        self.world.restart()
        assert all(self.world.runs.get(unit) == runs[unit] for unit in kept)

    @precondition(lambda self: self._goes_on())
    @rule(certain=st.sampled_from([False] * 19 + [True]))
    def cancel(self, certain: bool) -> None:
        if certain:
            self.world.obey(self.world.job.cancel())

    @invariant()
    def what_is_under_way_is_known_on_both_sides(self) -> None:
        for who, count in self.world.job.volunteers().items():
            assert count == len(self.world.asked[who])
        places = len(self.world.journal) - len(self.world.unheld)
        assert sum(stage.done - len(stage.gone) for stage in self.world.job.stages) in {places, 0}

    @invariant()
    def the_owner_judges_one_unit_at_a_time(self) -> None:
        if OWNER not in self.world.present:
            assert len(self.world.asked[OWNER]) <= 1
            assert self.world.job.owner_at_work == bool(self.world.asked[OWNER])

    def teardown(self) -> None:
        """Two honest volunteers come; whatever has happened, the job ends."""
        if not self._goes_on():
            return
        for who in sorted(self.world.present):
            if self.world.ended is None:
                self.world.leave(who)
        for holder in {known.holder for known in self.world.journal.values() if known.holder}:
            if self.world.ended is None:
                self.world.lose(holder)
        if self.world.ended is None:
            self.world.run(self.world.join("honest"), self.world.join("upright", 3))
        assert self.world.ended is not None
        if not self.judged:
            assert self.world.state is JobState.DONE
        if self.world.state is JobState.DONE:
            assert len(self.world.actions) == len(self.world.plans)
        else:
            assert self.world.ended.reason


TestAnyJob = AnyJob.TestCase
TestAnyJob.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


def test_a_boast_is_believed_only_so_far() -> None:
    world = begun(plan_of((10_000, (), 0)))
    a = world.join("a", slots=400)
    assert len(world.asked[a]) <= 2 * TAKEN_AT_ITS_WORD
    b = world.join("b", slots=2)
    assert world.asked[b]
    # One that really has as many comes to use them.
    for _ in range(4):
        world.work(a, len(world.asked[a]))
    assert len(world.asked[a]) > 2 * TAKEN_AT_ITS_WORD
    world.run(a, b)
    assert world.state is JobState.DONE


def test_idle_volunteers_help_out_though_nothing_has_come_back_yet() -> None:
    world = begun(plan_of((8, (), 0)))
    a = world.join("a", slots=8)
    b = world.join("b", slots=2)
    assert len(world.asked[a]) == 8
    world.tick(UNKNOWN_STRAGGLER_S / 2)
    assert not world.asked[b]
    for _ in range(4):
        world.tick(UNKNOWN_STRAGGLER_S / 4)
    assert len(world.asked[b]) == 2
    world.run(b)
    assert world.state is JobState.DONE


def test_what_two_that_never_return_anything_have_goes_to_a_third_that_does() -> None:
    world = begun(plan_of((2, (), 0)))
    c, a, b = world.join("c"), world.join("a"), world.join("b", slots=2)
    (late,) = world.asked[a]
    for _ in range(5):
        world.tick(UNKNOWN_STRAGGLER_S / 4)
    assert late in world.asked[b]
    assert late not in world.asked[c]
    world.work(c)
    for _ in range(10):
        world.tick(UNKNOWN_STRAGGLER_S / 4)
    assert late in world.asked[c]
    world.give(c, late)
    assert world.finishing
    assert not world.asked[a]
    assert not world.asked[b]


def test_a_third_attempt_is_not_for_one_that_has_returned_nothing() -> None:
    world = begun(ONE)
    a, b, c = world.join("a"), world.join("b"), world.join("c")
    for _ in range(20):
        world.tick(UNKNOWN_STRAGGLER_S / 4)
    assert world.asked[a].keys() == world.asked[b].keys() != set()
    assert not world.asked[c]


def test_who_accuses_the_job_gets_little_more_until_that_is_judged() -> None:
    world = begun(plan_of((400, (), 0)))
    liar = world.join("liar", relation="here")
    honest = world.join("honest", relation="here")
    for _ in range(20):
        for unit in list(world.asked[liar]):
            world.fail(liar, unit, Fault.JOB)
        world.work(honest, len(world.asked[honest]))
    assert world.job.failures <= 2 * MAX_STRIKES
    world.run(honest)
    assert world.state is JobState.DONE
