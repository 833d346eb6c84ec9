"""Whatever is wrong with a job is told with its line, and what to do."""

import json

import pytest

from p2p.jobs.faults import MAX_RECORD, MAX_TEXT, JobFault
from tests.support.local_jobs import expression, fault, run


def chain(operations: str) -> str:
    """A job of this chain, whose operations begin at line 4."""
    return f"def job(inputs):\n    return (inputs.range(8)\n        {operations})\n"


def test_the_report_has_record_line_operation_and_the_jobs_own_frames() -> None:
    text = """
def half(x):
    return 10 // x

def job(inputs):
    return (inputs.range(-2, 5)
        .map(lambda x: x * 2)
        .map(lambda x: half(x))
        .sum())
"""
    told = fault(text)
    assert (told.kind, told.place) == ("ZeroDivisionError", ("job.py", 4))
    assert (told.operation, told.record) == ("map", "0")
    assert told.traceback_text.splitlines()[0] == '  File "job.py", line 9, in <lambda>'
    assert "return 10 // x" in told.traceback_text
    assert told.traceback_text.endswith("ZeroDivisionError: " + told.text + "\n")
    assert "p2p" not in told.traceback_text
    assert json.loads(json.dumps(told.report()))["line"] == 4


@pytest.mark.parametrize(
    ("operations", "operation", "record"),
    [
        (".map(len).count()", "map", "0"),
        (".map(str).filter(abs).count()", "filter", "'0'"),
        (".flat_map(lambda x: x).count()", "flat_map", "0"),
        (".map(str).key_by(len).map(lambda p: p).map(sum).count()", "map", "(1, '0')"),
        (".map(str).sum()", "sum", "'0'"),
        (".map(str).mean()", "mean", "'0'"),
        (".map(lambda x: x or '').max()", "max", "1"),
        (".top(3, key=len)", "top", "0"),
        (".map(str).reduce(lambda a, b: int(a) + b)", "reduce", "'1'"),
        (".map_partitions(lambda xs: (x / 0 for x in xs)).count()", "map_partitions", None),
        (".map_partitions(lambda xs: 5).count()", "map_partitions", None),
        (".map(str).map(int).filter(lambda x: x).map(lambda x: 1 // (x - 7)).map_partitions(list).count()", "map", "7"),
        (".map(lambda x: (x % 2, x)).reduce_by_key(lambda a, b: a.x).count()", "reduce_by_key", "(0, 2)"),
        (".map(lambda x: (0, x)).reduce_by_key(lambda a, b: a + b if a < 3 else a.x).count()", "reduce_by_key", None),
        (".reduce_by_key(max).count()", "reduce_by_key", "0"),
        (".map(lambda x: [x]).save('text')", "save", "[0]"),
        (".map(lambda x: b'').save()", "save", "b''"),
        (".map(float).map(lambda x: x * float('nan')).max()", "max", "nan"),
        (".map(lambda x: exit()).count()", "map", "0"),
    ],
)
def test_an_exception_names_its_operation_and_record(operations: str, operation: str, record: str | None) -> None:
    told = fault(chain(operations), partitions=2)
    assert (told.operation, told.place) == (operation, ("job.py", 4))
    if record is not None:
        assert told.record == record


@pytest.mark.parametrize(
    ("operations", "advice"),
    [
        (".map(lambda x: (y for y in [x])).collect()", "generator.*from map, line 4"),
        (".map(lambda x: bytearray(2)).take(3)", "plain bytes"),
        (".map(lambda x: (x, frozenset())).reduce_by_key(max).count()", "make it a set"),
        (".map(lambda x: 1j).sum()", "complex is no record"),
        (".map(lambda x: (x, x)).reduce_by_key(max).map(object).collect()", "object"),
    ],
)
def test_what_is_no_record_is_refused_where_it_would_leave(operations: str, advice: str) -> None:
    if ".map(object)" in operations:
        operations = operations.replace(".map(object)", ".map(lambda p: object())")
    told = fault(chain(operations))
    assert told.kind == "NotARecord"
    assert told.place == ("job.py", 4)
    with pytest.raises(JobFault, match=advice):
        raise told


def test_inside_a_unit_anything_may_be_between_operations() -> None:
    assert expression("inputs.range(9).map(lambda x: (y for y in [x])).flat_map(list).sum()") == 36


@pytest.mark.parametrize("action", ["min()", "max()", "mean()", "reduce(max)"])
def test_what_needs_records_says_so(action: str) -> None:
    told = fault(f"def job(inputs):\n    return inputs.range(5).filter(str.split('').count).{action}\n")
    assert told.text == f"{action.split('(')[0]}() of no records"
    assert told.place == ("job.py", 3)


def test_a_result_has_a_bound() -> None:
    told = fault(chain(".map(lambda x: 'x' * 2_000_000).collect()"))
    assert (told.kind, told.operation) == ("ResultTooLarge", "collect")
    assert "save()" in told.text
    assert fault(chain(".map(lambda x: 'x' * 9_000_000).map_partitions(list).reduce(max)")).kind == "ResultTooLarge"


def test_a_line_that_is_no_json() -> None:
    told = fault("def job(inputs):\n    return inputs.records().count()\n", {"t": b'{"a": 1}\n{oops}\n'})
    assert (told.operation, told.record, told.place) == ("records", "'{oops}'", ("job.py", 3))


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("def job(inputs)\n    return 1\n", 2, "^expected ':'$"),
        ("def main(inputs):\n    return 1\n", 1, "def job"),
        ("job = 5\n", 1, "def job"),
        ("import no_such_module\ndef job(inputs): ...\n", 2, "no_such_module.*what its runtime has"),
        ("def job(inputs):\n    import no_such_module\n", 3, "no_such_module.*what its runtime has"),
        ("def job(): ...\n", 2, "must take the inputs"),
        ("def job(inputs, a, *, b=1, c): ...\n", 2, "needs the argument 'a'"),
        ("def job(inputs, other=1): ...\n", 2, "no argument 'a'; it takes other"),
        ("1 / 0\n", 2, "division"),
        ("def job(inputs):\n    return inputs.range(5)\n", None, r"\.collect"),
        ("def job(inputs):\n    return inputs.lines().count()\n", 3, "--input"),
        ("def job(inputs):\n    return inputs.range(5).top(0)\n", 3, "1 or more"),
        ("def job(inputs):\n    return inputs.range(5).map(3).count()\n", 3, "takes a function, not int"),
        ("def job(inputs):\n    return inputs.range(5).sample(3).count()\n", 3, "fraction"),
        ("def job(inputs):\n    return inputs.range(5).save('xml')\n", 3, "'json' or 'text'"),
        ("def job(inputs):\n    return inputs.range(2**70).count()\n", 3, "items"),
        ("def job(inputs):\n    for x in inputs.range(5): ...\n", 3, "cannot be looped over"),
        ("def job(inputs):\n    if inputs.range(5): ...\n", 3, "count"),
        (
            "def job(inputs):\n    data = inputs.range(5)\n    return data.map(lambda x: data.count()).sum()\n",
            4,
            "inside",
        ),
        ("def job(inputs):\n    raise KeyError('k')\n", 3, "'k'"),
        ("def job(inputs):\n    raise SystemExit(3)\n", 3, "3"),
        ("def job(inputs):\n    d = inputs.range(5)\n    for _ in range(300): d = d.map(abs)\n", 4, "200 operations"),
    ],
)
def test_a_broken_rule_is_told_with_its_line(text: str, line: int | None, advice: str) -> None:
    told = fault(text, a=1) if "takes other" in advice else fault(text)
    assert (told.place.line if told.place else None) == line
    with pytest.raises(JobFault, match=advice):
        raise told


def test_inputs_are_named_when_one_is_not_there() -> None:
    text = "def job(inputs, which):\n    return inputs.lines(which).count()\n"
    assert "the inputs are a, b" in fault(text, {"a": b"", "b": b""}, which="c").text
    assert "0 to 1" in fault(text, {"a": b"", "b": b""}, which=2).text


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("k = random.random(); return inputs.range(5).map(lambda x: x * k).sum()", "map, line 5"),
        ("return inputs.range(5).filter(lambda x, y=random.random(): x > y).count()", "filter, line 5"),
        ("return inputs.range(5).map(partial(max, random.random())).count()", "map, line 5"),
        ("return inputs.range(random.randrange(10**9)).count()", "range, line 5"),
        ("return inputs.params([random.random()]).count()", "params, line 5"),
        ("seen.append(1); return inputs.range(len(seen)).count()", "range, line 5"),
        (
            "seen.append(1); d = inputs.range(5)\n    for _ in seen: d = d.map(abs)\n    return d.count()",
            "count or map",
        ),
        ("return inputs.range(9).count() if seen.append(1) or len(seen) < 2 else 5", "returned"),
        ("return inputs.range(9).map(Scale(random.random()).by).count()", "map, line 5"),
    ],
)
def test_a_job_that_plans_differently_each_time(body: str, what: str) -> None:
    top = "import random; seen = []; from functools import partial\n"
    scale = "class Scale: __init__ = lambda self, by: setattr(self, 'k', by); by = lambda self, x: x * self.k\n"
    told = fault(f"{top}{scale}def job(inputs):\n    {body}\n")
    assert "plans differently each time" in told.text
    assert what in told.text


@pytest.mark.parametrize(
    "body",
    [
        "r = rng(); return inputs.range(5).map(lambda x: r.random()).sum()",
        "r = iter([1, 2, 3]); return inputs.range(2).map(lambda x: next(r)).sum()",
        "seen = []; return inputs.range(5).map(lambda x: seen.append(x) or len(seen)).sum()",
        "seen = {}; return inputs.range(5).map(lambda x: seen.setdefault(x, len(seen))).sum()",
        "box = Box(); return inputs.range(5).map(box.add).sum()",
    ],
)
def test_state_that_goes_on_from_unit_to_unit(body: str) -> None:
    box = "class Box:\n    n = 0\n    def add(self, x):\n        self.n += x\n        return self.n\n"
    told = fault(f"{box}def job(inputs):\n    {body}\n")
    assert (told.kind, told.operation, told.place) == ("StateKept", "map", ("job.py", 8))


def test_a_cache_may_stay() -> None:
    text = """
from functools import lru_cache
def job(inputs):
    square = lru_cache(lambda x: x * x)
    return inputs.range(5).map(square).sum()
"""
    assert run(text).answer.json == "30"


def test_chance_from_rng_is_the_same_plan() -> None:
    assert run("def job(inputs):\n    k = rng().random()\n    return inputs.range(5).map(lambda x: k).count()\n")


@pytest.mark.parametrize("clause", ["except:", "except BaseException:"])
def test_a_job_that_catches_its_own_end(clause: str) -> None:
    text = f"""
def job(inputs):
    try:
        n = inputs.range(5).count()
    {clause}
        n = 0
    return n
"""
    told = fault(text)
    assert "except Exception" in told.text
    assert told.place == ("job.py", 5)
    assert "except Exception" in fault(text.replace("return n", "return inputs.range(n).sum()")).text


def test_an_exception_class_of_the_jobs_own_cannot_hurt_the_report() -> None:
    text = """
class Odd(Exception):
    def __str__(self):
        raise ValueError
class Shy:
    def __repr__(self):
        raise Odd
def explode(x):
    raise Odd
def job(inputs):
    return inputs.range(3).map(lambda x: Shy()).map(explode).count()
"""
    told = fault(text)
    assert told.kind == "Odd"
    assert "cannot be shown" in told.text
    assert told.record is not None


ODD = (
    "class E(Exception):\n    def __str__(self): raise SystemExit",
    "class S(str):\n    encode = None\nclass E(Exception):\n    def __str__(self): return S('x')",
    "class E(Exception):\n    @property\n    def __cause__(self): raise KeyError",
    "class E(Exception):\n    @property\n    def __traceback__(self): raise KeyError",
    "class E(SyntaxError):\n    filename, lineno, msg = 'job.py', 'x', 5",
    "class E(SyntaxError):\n    filename = []",
)


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("skip", ["", ", on_error='skip'"])
def test_whatever_an_exception_of_the_jobs_own_does_when_asked(text: str, skip: str) -> None:
    """It ended the guest, or `--local` with a traceback of ours, and blamed the volunteer."""
    shy = "class Shy:\n    def __repr__(self): raise SystemExit"
    job = f"return inputs.range(3).map(lambda x: Shy()).map(explode{skip}).count()"
    text = f"{text}\n{shy}\ndef explode(x):\n    raise E\ndef job(inputs):\n    {job}\n"
    if skip:
        assert run(text).answer.json == "0"
    else:
        told = fault(text)
        assert (told.kind, told.record) == ("E", "<Shy that cannot be shown>")
        assert told.place


def test_reports_are_bounded() -> None:
    text = """
def explode(x):
    raise ValueError("\\udc80" + "ü" * 100_000)
def job(inputs):
    return inputs.range(3).map(lambda x: [["x" * 100_000] * 1000] * 100).map(explode).count()
"""
    told = fault(text).report()
    assert len(told["text"].encode()) <= MAX_TEXT
    assert len(told["traceback"].encode()) <= MAX_TEXT
    assert len(told["record"].encode()) <= MAX_RECORD


def test_endless_recursion_is_the_jobs_fault() -> None:
    told = fault("def f(x):\n    return f(x)\ndef job(inputs):\n    return inputs.range(3).map(f).count()\n")
    assert (told.kind, told.operation) == ("RecursionError", "map")
    assert len(told.traceback_text.encode()) <= MAX_TEXT
