"""E: what a job's author is told: causes, keys, units, bounds, and what takes long."""

import time
from pathlib import Path

import pytest

from p2p.compute.execution.runner import ending
from p2p.compute.owner.jobs import _ended
from p2p.compute.owner.results import _fault
from p2p.core.compute.report import Report
from p2p.jobs import local
from p2p.jobs.faults import JobFault
from p2p.jobs.frames import MAX_HEADER_BYTES, BadFrame, pack
from p2p.sandbox.limits import EndKind, GuestEnded
from tests.support.local_jobs import HEAD, fault, run


def notes_of(text: str, files: dict[str, bytes] | None = None) -> list[str]:
    """What the user is told about a job that runs to its end."""
    notes: list[str] = []
    whole = {"job.py": (HEAD + text).encode(), **(files or {})}
    local.run(whole, [], {}, save=lambda *_: None, note=notes.append)
    return notes


def test_large_captured_values_are_cheap_and_told() -> None:
    """They took 15 s without a word for 30 MiB, because they were written as text first."""
    text = (
        "def job(inputs):\n    data = bytes(30 << 20)\n    words = ['word'] * 100_000\n"
        "    return inputs.range(4).map(lambda x: x + len(data)).filter(lambda x: x not in words).count()\n"
    )
    began = time.process_time()
    (told,) = notes_of(text)
    assert time.process_time() - began < 5
    assert told.startswith("map, line 5, uses 30.0 MiB that job() made")
    assert "--input" in told


def test_the_names_of_inputs_may_be_used_in_operations() -> None:
    """An error about an iterator that nobody had made."""
    text = "def job(inputs):\n    return inputs.lines().map(lambda line: inputs[0].name + line).collect()\n"
    assert run(text, {"a.txt": b"1\n2\n"}).answer.json == '["a.txt1", "a.txt2"]'


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ("async def job(inputs):\n    return 1\n", "without async"),
        ("async def job(inputs):\n    yield 1\n", "without async"),
        ("def job(inputs):\n    return inputs.range(3).count\n", "the function count and not its result"),
        ("def job(inputs):\n    return [1, lambda: 2]\n", "the function <lambda>"),
        ("def job(inputs):\n    return {'lines': inputs.range(3)}\n", "without an action"),
    ],
)
def test_a_result_that_was_never_computed_is_an_error(job: str, says: str) -> None:
    """The job was done, and its result a text such as `<bound method ...>`."""
    assert says in fault(job).text


def test_a_job_that_ended_is_told_in_english() -> None:
    """`run --resume` said that it "is failed"."""
    assert [_ended(state) for state in ("failed", "done", "cancelled")] == ["has failed", "is done", "is cancelled"]


def test_a_file_without_a_size_is_no_empty_input() -> None:
    """`run --local --input /proc/version` counted no lines."""
    with pytest.raises(OSError, match="has content but no size"):
        local.size_of(Path("/proc/version"))


def test_actions_of_inputs_in_operations_are_still_refused() -> None:
    told = fault("def job(inputs):\n    return inputs.range(3).map(lambda x: inputs.range(x).count()).sum()\n")
    assert "actions belong in job() itself" in told.text


RAISING = """
def parse(x):
    try:
        return int("x" * x)
    except ValueError as error:
        raise LookupError(f"row {x}") FROM

def job(inputs):
    return inputs.range(1, 9).map(parse).sum()
"""


@pytest.mark.parametrize(
    ("how", "link"), [("from error", "which is the direct cause of:"), ("", "and while this was handled:")]
)
def test_the_cause_of_an_exception_is_shown(how: str, link: str) -> None:
    told = fault(RAISING.replace("FROM", how))
    lines = told.traceback_text.splitlines()
    assert (told.kind, told.text, told.place) == ("LookupError", "row 1", ("job.py", 7))
    cause = lines.index("ValueError: invalid literal for int() with base 10: 'x'")
    assert lines[0] == '  File "job.py", line 5, in parse'
    assert lines[cause + 1] == link
    assert lines[-1] == "LookupError: row 1"
    assert len(Report("job", told.text, kind=told.kind, traceback=told.traceback_text).told().split("row 1")) == 2


def test_no_cause_where_the_job_wants_none_and_no_end_where_causes_go_in_circles() -> None:
    assert "ValueError" not in fault(RAISING.replace("FROM", "from None")).traceback_text
    circle = "def f(x):\n    a, b = KeyError('a'), KeyError('b')\n    a.__cause__, b.__cause__ = b, a\n    raise a\n"
    told = fault(f"{circle}def job(inputs):\n    return inputs.range(4).map(f).sum()\n")
    assert told.traceback_text.count("KeyError: 'b'") == 1


@pytest.mark.parametrize("partitions", [1, 4])
def test_an_error_while_values_of_a_key_are_combined_names_the_key(partitions: int) -> None:
    text = (
        "def add(a, b):\n    if a + b > 20: raise ValueError('too much')\n    return a + b\n"
        "def job(inputs):\n    return inputs.range(9).map(lambda x: ('k', x)).reduce_by_key(add).collect()\n"
    )
    told = fault(text, partitions=partitions)
    assert told.operation == "reduce_by_key"
    assert told.record is not None
    assert told.record.startswith("('k', ")


def test_an_error_names_its_unit() -> None:
    told = fault(
        "def job(inputs):\n    n = inputs.range(4).count()\n"
        "    return inputs.range(9).map(lambda x: 1 // (x - 8)).sum()\n"
    )
    assert told.unit == (0, 3, 1)
    assert "\n  unit: 1.0.3" in Report("job", told.text).told(*told.unit)


@pytest.mark.parametrize(
    ("kind", "advice", "not_advice"),
    [
        ("time", "--unit-time", "--unit-memory"),
        ("memory", "--unit-memory", "--unit-time"),
        ("output", "No option changes this limit", "--unit"),
        ("stack", "a loop", "--partitions"),
    ],
)
def test_the_advice_is_about_the_limit_that_was_reached(kind: EndKind, advice: str, not_advice: str) -> None:
    made = ending(GuestEnded(kind, "It has 5 bytes, over the 4 allowed."))
    _, report = _fault(made.kind, made.text, missing=False)
    assert isinstance(report, Report)
    assert "over its limits: It has 5 bytes, over the 4 allowed. " in report.text
    assert advice in report.text
    assert not_advice not in report.text


def test_an_answer_over_its_bound_names_the_bound() -> None:
    with pytest.raises(BadFrame, match=str(MAX_HEADER_BYTES)):
        pack({"value": "x" * MAX_HEADER_BYTES})


MAYBE = """
import typing
if typing.TYPE_CHECKING:
    import no_such_a
def rare():
    import no_such_b
def careful():
    try:
        import no_such_c
    except ImportError:
        pass
def main():
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        import no_such_d
if __name__ == "__main__":
    import no_such_e
if False:
    def never():
        import no_such_f
def job(inputs):
    return inputs.range(5).map(lambda x: x if x < 9 else rare()).count()
"""


def test_imports_that_never_run_do_not_refuse_the_job(tmp_path: Path) -> None:
    """Ray#49254. What may run is told, with its line."""
    test = b"import no_such_g\ndef test_it():\n    import no_such_h\n"
    (told,) = notes_of(MAYBE, {"tests/test_a.py": test, "unused.py": b"import no_such_i\n"})
    assert told.startswith("rare(), line 7 of job.py, imports 'no_such_b', which is not there")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import no_such_a\ndef job(inputs):\n    return 1\n", 2),
        ("class A:\n    import no_such_a\ndef job(inputs):\n    return 1\n", 3),
        (
            "def f(x):\n    import no_such_a\n    return x\n"
            "def job(inputs):\n    return inputs.range(5).map(f).count()\n",
            3,
        ),
        (
            "def f(x):\n    with open('a'):\n        from no_such_a.b import c\n    return x\n"
            "def job(inputs):\n    n = inputs.range(5).count()\n    return inputs.range(n).filter(f).count()\n",
            4,
        ),
        ("def job(inputs):\n    import no_such_a\n", 3),
    ],
)
def test_an_import_that_is_sure_to_run_is_refused_before_any_unit(text: str, line: int) -> None:
    units: list[object] = []
    with pytest.raises(JobFault, match=r"no_such_a.*what its runtime has") as caught:
        local.run(
            {"job.py": (HEAD + text).encode()}, [], {}, save=lambda *_: None, tell=lambda *done: units.append(done)
        )
    assert caught.value.place == ("job.py", line)
    assert caught.value.kind == "ModuleNotFoundError"
    assert len(units) == (5 if "n = inputs" in text else 0), "units of an earlier action only"
