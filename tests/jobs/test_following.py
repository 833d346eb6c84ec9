"""`job` runs once, from action to action; wherever it is begun again, it comes to the same plans."""

from collections.abc import Iterator

import pytest

from p2p.jobs.reviews import Reviews
from tests.support.guest_process import Guest, guest
from tests.support.local_jobs import fault, run

STEPS = """
import random
from p2p.jobs import rng

def drawn(record):
    return random.random() + rng().random() + record

def job(inputs, steps):
    total, state = 0.0, random.getstate()
    for step in range(steps):
        print("step", step)
        random.setstate(state)
        total += inputs.params([random.randint(1, 9), rng().randint(1, 9)]).map(drawn).sum()
        random.seed(total)
        state = random.getstate()
    print("end")
    return total
"""


@pytest.fixture
def one() -> Iterator[Guest]:
    with guest() as made:
        yield made


def carried_out(one: Guest, actions: int) -> tuple[list[str], list[bytes]]:
    """Carries out so many actions of a job of one unit each: the digests of their plans, and their results."""
    digests: list[str] = []
    results: list[bytes] = []
    for action in range(actions):
        known = {"results": [action - 1]} if action else {}
        plan = one.ask({"do": "plan"} | known, results[-1:])[0]["plan"]
        digests.append(plan["digest"])
        partial = one.ask({"unit": [action, 0, 0, digests[-1], [0, 2]]})[1]
        results += one.ask({"do": "finish", "action": action, "digest": digests[-1]}, partial)[1]
    return digests, results


def test_a_job_is_not_begun_again_for_each_action(one: Guest) -> None:
    one.load({"job.py": STEPS}, arguments={"steps": 5}, partitions=1)
    _, results = carried_out(one, 5)
    assert one.ask({"do": "plan", "results": [4]}, results[-1:])[0]["ok"] == "done"
    assert one.end() == "step 0\nstep 1\nstep 2\nstep 3\nstep 4\nend\n"


def test_a_guest_of_units_follows_the_job_too(one: Guest) -> None:
    job = STEPS.replace("random.setstate(state)", "").replace("random.randint(1, 9)", "5")
    with guest() as owner:
        owner.load({"job.py": job}, arguments={"steps": 4}, partitions=1)
        digests, results = carried_out(owner, 4)
    one.load({"job.py": job}, arguments={"steps": 4}, partitions=1)
    for action in (0, 1, 3):  # another volunteer had the unit between
        known = list(range(max(0, action - 1 if action < 3 else 1), action))
        request = {"unit": [action, 0, 0, digests[action], [0, 2]], "results": known}
        assert one.ask(request, [results[n] for n in known])[0]["ok"] == "unit"
    assert one.end() == "step 0\nstep 1\nstep 2\nstep 3\n"


def test_units_do_not_disturb_the_randomness_of_a_job(one: Guest) -> None:
    one.load({"job.py": STEPS}, arguments={"steps": 6}, partitions=1)
    digests, results = carried_out(one, 6)
    with guest() as other:  # it begins in the middle, with no unit before
        other.load({"job.py": STEPS}, arguments={"steps": 6}, partitions=1)
        plan = other.ask({"do": "plan", "results": [0, 1, 2, 3]}, results[:4])[0]["plan"]
    assert plan["digest"] == digests[4]


def test_when_reviews_were_does_not_show_in_what_a_job_returns() -> None:
    job = """
import random
def job(inputs):
    first = random.random()
    for n in range(3):
        inputs.range(2).count()
    return [first, random.random()]
"""
    returned = []
    for reviewed in ((), (0,), (0, 2), (0, 1, 2)):
        with guest() as one:
            one.load({"job.py": job}, partitions=1)
            results: list[bytes] = []
            for action in range(3):
                known = {"results": [action - 1]} if action else {}
                digest = one.ask({"do": "plan"} | known, results[-1:])[0]["plan"]["digest"]
                if action in reviewed:
                    assert one.ask({"do": "confirm", "action": action, "digest": digest})[0]["ok"] == "confirmed"
                partial = one.ask({"unit": [action, 0, 0, digest, [0, 2]]})[1]
                results += one.ask({"do": "finish", "action": action, "digest": digest}, partial)[1]
            returned.append(one.ask({"do": "plan", "results": [2]}, results[-1:])[0]["value"])
    assert returned == [returned[0]] * 4


def test_a_job_may_change_its_arguments() -> None:
    text = """
def job(inputs, left, options):
    counts = []
    while left:
        options["seen"].append(left.pop())
        counts.append(inputs.range(options["seen"][-1]).count())
    return [counts, options]
"""
    left, options = [3, 2, 1], {"seen": [9]}
    assert run(text, left=left, options=options).answer.json == '[[1, 2, 3], {"seen": [9, 1, 2, 3]}]'
    assert (left, options) == ([3, 2, 1], {"seen": [9]})


def test_plans_since_the_last_review_are_compared_together(one: Guest) -> None:
    text = """
import random
def job(inputs):
    inputs.range(2).count()
    inputs.range(2).map(lambda x: x + CHANCE).sum()
    inputs.range(3).count()
    return inputs.range(4).count()
"""
    for chance, line in (("0", None), ("0 * random.random()", None), ("drawn", 5)):
        with guest() as made:
            job = text.replace("CHANCE", chance).replace(
                "(2).count()\n", "(2).count()\n    drawn = random.random()\n", 1
            )
            made.load({"job.py": job}, partitions=1)
            _, results = carried_out(made, 3)
            last = made.ask({"do": "plan", "results": [2]}, results[-1:])[0]["plan"]
            answer, _ = made.ask({"do": "confirm", "action": 3, "digest": last["digest"]})
            if line is None:
                assert answer["ok"] == "confirmed"
            else:
                assert (answer["kind"], answer["line"] - 1) == ("PlanMismatch", line)


def test_a_review_in_a_guest_that_is_new() -> None:
    job = STEPS.replace("random.randint(1, 9)", "5")
    digests: dict[str, str] = {}
    for text in (job, STEPS):
        with guest() as one:
            one.load({"job.py": text}, arguments={"steps": 3}, partitions=1)
            digests[text] = one.ask({"do": "plan"})[0]["plan"]["digest"]
    for text, expected in ((job, ("confirmed", None)), (STEPS, (None, "plan"))):
        with guest() as other:
            other.load({"job.py": text}, arguments={"steps": 3}, partitions=1)
            answer, _ = other.ask({"do": "confirm", "action": 0, "digest": digests[text]})
            assert (answer.get("ok"), answer.get("error")) == expected
            assert other.ask({"do": "confirm", "action": 0, "digest": "0" * 64})[0]["error"] == "plan"


def test_what_a_unit_raises_is_not_the_jobs_to_catch() -> None:
    text = """
def job(inputs):
    try:
        return inputs.range(3).map(lambda x: 1 // x).sum()
    except Exception:
        return "caught"
"""
    assert fault(text).kind == "ZeroDivisionError"


def test_an_exception_that_ends_a_run_must_not_be_caught() -> None:
    text = """
def job(inputs):
    try:
        inputs.range(3).count()
    except BaseException:
        pass
    return inputs.range(3).count()
"""
    assert "except Exception" in fault(text).text


def test_what_a_job_does_after_its_last_action_is_done_once() -> None:
    told: list[int] = []
    text = """
def job(inputs, tell):
    for n in range(40):
        inputs.range(2).count()
    tell(n)
"""
    run(text, tell=told.append)
    assert told == [39]


def test_variables_that_a_job_changes_are_found_though_it_runs_once() -> None:
    text = """
seen = []
def job(inputs):
    for n in range(3):
        seen.append(inputs.range(2 + len(seen) // 100).count())
    return len(seen)
"""
    found = fault(text)
    assert (found.kind, "seen" in found.text) == ("StateKept", True)


def test_reviews_take_a_tenth_of_the_time() -> None:
    reviews, now, spent = Reviews(), 0.0, 0.0
    began = 0
    for action in range(10_000):
        if reviews.begins(now):
            began += 1
            now += 0.0001 * (action + 1)
            spent += 0.0001 * (action + 1)
            reviews.ends(now)
        now += 0.01
    assert 5 < began < 100
    assert spent < now / 8
    assert reviews.is_missing(now) != (reviews.begins(now))


def test_a_short_job_has_no_review_at_its_end() -> None:
    reviews = Reviews()
    assert reviews.begins(0.0)
    reviews.ends(1.0)
    assert not reviews.is_missing(1.0)
    assert not reviews.begins(2.0)
    assert reviews.is_missing(2.0)
