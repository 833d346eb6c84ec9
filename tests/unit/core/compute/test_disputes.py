"""Units at which volunteers fail: when the owner is to see for itself, what it concludes, and who was wrong."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute.attempts import Attempt, Fault, Step
from p2p.core.compute.crew import FIRST_REST_S, MAX_STRIKES, Crew, CrewMember
from p2p.core.compute.disputes import MAX_FAILURES, MAX_LOSSES, Disputes
from p2p.core.compute.stage import DONE, RUNNING, StageUnits
from tests.support.job_model import OWNER, peer

NOW = 1000.0
SAID = "it raised"
WHICH = st.integers(0, 3)


class Company:
    """Volunteers, each with what relates it to others, at the units of one stage."""

    def __init__(self, relations: Iterable[str], units: int = 2) -> None:
        self.crew = Crew(OWNER)
        self.disputes = Disputes(self.crew)
        self.stage = StageUnits(0, units, (), ())
        self.stage.named(b"context")
        self.volunteers = [self._joined(number, relation) for number, relation in enumerate(relations)]

    def _joined(self, number: int, relation: str) -> CrewMember:
        volunteer = CrewMember(peer(f"volunteer {number}"), NOW)
        volunteer.claimed = volunteer.most = 8
        volunteer.relation = relation
        self.crew.joined[volunteer.peer] = volunteer
        return volunteer

    def begin(self, volunteer: CrewMember, partition: int = 0) -> Attempt:
        self.stage.start(partition, volunteer.peer)
        return volunteer.attempts[volunteer.begin(self.stage, partition, NOW).unit]

    def fail(self, volunteer: CrewMember, fault: Fault, partition: int = 0) -> Attempt:
        attempt = self.begin(volunteer, partition)
        volunteer.stop(attempt, Step.FAILED)
        self.disputes.failed(attempt, volunteer, fault)
        return attempt

    def repeated(self) -> list[int]:
        """The partitions that the owner is to run now."""
        sends = self.disputes.repeat([self.stage], NOW)
        assert all(send.volunteer == OWNER for send in sends)
        return [unit.partition for send in sends for unit in send.units]

    def own_attempt(self) -> Attempt:
        (attempt,) = self.crew.own.attempts.values()
        return attempt

    def judge(self, fault: Fault, *, is_open: bool = True) -> str | None:
        """The owner's guest fails at what it repeats."""
        attempt = self.own_attempt()
        self.crew.own.stop(attempt, Step.FAILED)
        return self.disputes.judged(attempt, fault, SAID, is_open=is_open)

    def acquit(self, attempt: Attempt) -> list[CrewMember]:
        """A result of the unit is accepted."""
        trouble = self.stage.troubles[attempt.partition]
        for at_it in self.stage.finish(attempt.partition, b"digest", None):
            volunteer = self.crew.find(at_it)
            assert volunteer is not None
            del volunteer.attempts[attempt.unit]
        return list(self.disputes.acquit(attempt, trouble, NOW))


def test_the_owner_does_not_wait_for_a_second_try_that_would_prove_nothing() -> None:
    company = Company(["x", "x"])
    first, related = company.volunteers
    company.begin(related)
    company.fail(first, Fault.JOB)
    assert company.stage.state(0) == RUNNING
    assert company.repeated() == [0]


def test_one_accusation_is_put_to_somebody_unrelated_first() -> None:
    company = Company(["x", "x", "y"])
    first, related, other = company.volunteers
    company.fail(first, Fault.JOB)
    assert company.repeated() == []
    company.fail(related, Fault.JOB)
    assert company.repeated() == [], "two who are related are one"
    company.fail(other, Fault.JOB)
    assert company.repeated() == [0]


def test_the_owner_judges_where_nobody_unrelated_can() -> None:
    company = Company(["x", "x", "y"])
    first, _, other = company.volunteers
    company.fail(first, Fault.JOB)
    other.claimed = 0
    assert company.repeated() == [0]


def test_who_is_at_it_is_waited_for_unless_two_have_accused() -> None:
    company = Company(["x", "y", "z"])
    first, second, third = company.volunteers
    company.fail(first, Fault.JOB)
    company.begin(third)
    second.claimed = 0
    assert company.stage.state(0) == RUNNING
    assert company.repeated() == []
    company.fail(second, Fault.JOB)
    assert company.repeated() == [0]


@pytest.mark.parametrize(
    ("fault", "most"), [(Fault.TRANSIENT, MAX_FAILURES), (Fault.PEER, MAX_FAILURES), (Fault.INPUT, MAX_LOSSES)]
)
def test_what_is_tried_often_enough_is_for_the_owner(fault: Fault, most: int) -> None:
    company = Company(["x"] * most)
    for volunteer in company.volunteers:
        assert company.repeated() == []
        company.fail(volunteer, fault)
    assert company.repeated() == [0]


@pytest.mark.parametrize("units", [1, 3])
def test_state_is_looked_for_with_another_unit_between_two_runs(units: int) -> None:
    """A unit alone may show nothing, because a cache is still empty before it."""
    company = Company(["x", "y"], units=units)
    partition = units - 1
    for volunteer in company.volunteers:
        attempt = company.begin(volunteer, partition)
        volunteer.stop(attempt, Step.FAILED)
        company.disputes.failed(attempt, volunteer, Fault.JOB, shows_later=volunteer is company.volunteers[0])
    ((work,),) = [send.units for send in company.disputes.repeat([company.stage], NOW)]
    assert work.partition == partition
    assert [other.partition for other in work.between] == [0]


def test_what_takes_volunteers_down_is_for_the_owner() -> None:
    company = Company(["x"] * MAX_LOSSES)
    for volunteer in company.volunteers:
        assert company.repeated() == []
        attempt = company.begin(volunteer)
        company.disputes.lost(attempt, volunteer)
        volunteer.stop(attempt, Step.LOST)
    assert company.repeated() == [0]


def test_the_owner_repeats_one_at_a_time_in_their_order_and_none_of_a_stage_that_is_closed() -> None:
    company = Company(["x", "y"], units=3)
    for partition in (2, 0):
        for volunteer in company.volunteers:
            company.fail(volunteer, Fault.JOB, partition)
    assert company.disputes.repeat([], NOW) == []
    assert company.repeated() == [2]
    assert company.repeated() == []
    company.acquit(company.own_attempt())
    assert company.repeated() == [0]
    company.acquit(company.own_attempt())
    assert company.repeated() == []


def test_what_the_owner_has_seen_raise_ends_the_job() -> None:
    company = Company(["x"])
    company.fail(company.volunteers[0], Fault.JOB)
    assert company.repeated() == [0]
    assert company.judge(Fault.JOB) == SAID


def test_what_fails_otherwise_at_the_owner_ends_the_job_only_after_volunteers_have_tried() -> None:
    company = Company(["x"])
    company.fail(company.volunteers[0], Fault.JOB)
    for _ in range(MAX_FAILURES - 1):
        assert company.repeated() == [0]
        assert company.judge(Fault.TRANSIENT) is None
    assert company.repeated() == [0]
    told = company.judge(Fault.TRANSIENT)
    assert told == f"Partition 0 of stage 0 was tried {1 + MAX_FAILURES} times in vain, last with: {SAID}"


def test_what_fails_at_the_owner_last_of_all_ends_the_job_unless_somebody_is_still_at_it() -> None:
    for at_it in (False, True):
        company = Company(["x"] * (MAX_FAILURES + 1))
        *tried, other = company.volunteers
        for volunteer in tried:
            company.fail(volunteer, Fault.TRANSIENT)
        if at_it:
            company.begin(other)
        assert company.repeated() == [0]
        assert (company.judge(Fault.TRANSIENT) is None) == at_it


def test_inputs_that_are_being_made_again_say_nothing_of_the_unit() -> None:
    company = Company(["x"])
    company.fail(company.volunteers[0], Fault.JOB)
    for _ in range(3 * MAX_FAILURES):
        assert company.repeated() == [0]
        assert company.judge(Fault.INPUT, is_open=False) is None
    for _ in range(MAX_FAILURES - 1):
        assert company.repeated() == [0]
        assert company.judge(Fault.INPUT) is None
    assert company.repeated() == [0]
    assert company.judge(Fault.INPUT) is not None


def test_who_accused_a_unit_that_is_fine_is_struck_and_out_in_the_end() -> None:
    company = Company(["x", "y"], units=MAX_STRIKES)
    liar, honest = company.volunteers
    for partition in range(MAX_STRIKES):
        attempt = company.fail(liar, Fault.JOB, partition)
        assert liar.accusations == 1
        out = company.acquit(attempt)
        assert liar.accusations == 0
        assert liar.rests_until > NOW
        assert out == ([liar] if partition == MAX_STRIKES - 1 else [])
    assert honest.rests_until == NOW


def test_who_failed_is_struck_only_where_the_owner_was_to_see() -> None:
    for times in (1, MAX_FAILURES):
        company = Company(["x"] * times)
        for volunteer in company.volunteers:
            attempt = company.fail(volunteer, Fault.TRANSIENT)
        assert company.acquit(attempt) == []
        rests = {volunteer.rests_until for volunteer in company.volunteers}
        assert rests == {NOW if times == 1 else NOW + FIRST_REST_S}


def test_what_was_fine_is_not_disputed_when_it_is_made_again() -> None:
    company = Company(["x"])
    (volunteer,) = company.volunteers
    company.acquit(company.fail(volunteer, Fault.JOB))
    company.stage.gone.add(0)
    assert company.stage.revive() == [0]
    assert company.repeated() == []


def test_nothing_of_an_action_is_disputed_after_it() -> None:
    company = Company(["x"])
    company.fail(company.volunteers[0], Fault.JOB)
    company.disputes.clear()
    assert company.repeated() == []


@given(st.lists(st.tuples(WHICH, WHICH, st.sampled_from(Fault)), max_size=60))
def test_the_owner_is_at_one_unit_at_the_most_and_every_disputed_one_comes_to_an_end(
    steps: list[tuple[int, int, Fault]],
) -> None:
    company = Company(["w", "x", "y", "y"], units=4)
    for who, partition, fault in steps:
        volunteer = company.volunteers[who]
        if company.stage.state(partition) != DONE and volunteer.peer not in company.stage.running.get(partition, ()):
            company.fail(volunteer, fault, partition)
        company.disputes.repeat([company.stage], NOW)
        assert len(company.crew.own.attempts) <= 1
    disputed = [partition for partition, trouble in company.stage.troubles.items() if trouble.for_owner]
    while company.crew.own.attempts or company.repeated():
        company.acquit(company.own_attempt())
    assert all(company.stage.state(partition) == DONE for partition in disputed)
    assert all(volunteer.accusations >= 0 for volunteer in company.volunteers)
