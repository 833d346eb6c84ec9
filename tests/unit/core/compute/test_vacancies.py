"""Who hears of a place that another job of the same owner has left."""

from dataclasses import dataclass, field

from p2p.core.compute.vacancies import Vacancies
from p2p.ids import PeerId

A, B = PeerId(b"a" * 32), PeerId(b"b" * 32)


@dataclass(eq=False)
class Job:
    needs_some: bool = True
    asked: list[PeerId] = field(default_factory=list)

    def ask_again(self, peer: PeerId) -> bool:
        if self.needs_some:
            self.asked.append(peer)
        return self.needs_some


def test_one_job_hears_of_each_place_in_turn() -> None:
    vacancies, jobs = Vacancies(), [Job(), Job()]
    for job in (*jobs, jobs[0]):
        vacancies.declined(A, job)
    vacancies.left(B)
    assert [job.asked for job in jobs] == [[], []]
    vacancies.left(A)
    assert [job.asked for job in jobs] == [[A], []]
    vacancies.declined(A, jobs[0])  # once more: it is last now
    vacancies.left(A)
    assert [job.asked for job in jobs] == [[A], [A]]


def test_a_job_that_needs_nobody_leaves_the_place_to_the_next() -> None:
    vacancies, idle, other = Vacancies(), Job(needs_some=False), Job()
    vacancies.declined(A, idle)
    vacancies.declined(A, other)
    vacancies.left(A)
    assert other.asked == [A]


def test_a_job_that_has_a_place_needs_no_other() -> None:
    vacancies, job, other = Vacancies(), Job(), Job()
    vacancies.declined(A, job)
    vacancies.declined(A, other)
    vacancies.found(A, job)
    vacancies.found(B, job)
    vacancies.left(A)
    assert not job.asked
    assert other.asked == [A]


def test_a_job_that_is_over_hears_of_nothing() -> None:
    vacancies, job, other = Vacancies(), Job(), Job()
    for peer in (A, B):
        vacancies.declined(peer, job)
    vacancies.declined(B, other)
    vacancies.over(job)
    vacancies.left(A)
    vacancies.left(B)
    assert not job.asked
    assert other.asked == [B]
