"""C1: packages that go along with a job keep state, too, which is told apart from what they only cache."""

import pytest

from tests.support.guest_process import carry_out
from tests.support.local_jobs import fault, run
from tests.support.packages.wheels import wheel

USES = "def f(x):\n    return kept.f(x)\ndef job(inputs):\n    return inputs.range(40).map(f).count()\n"
KEPT = {
    "kept.seen": "seen = set()\ndef f(x):\n    seen.add(x % 10)\n    return len(seen)\n",
    "kept.calls": "calls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return calls\n",
    "kept.counts": "counts = {}\ndef f(x):\n    counts[0] = counts.get(0, 0) + 1\n    return counts[0]\n",
    "kept.rows": "rows = {'a': []}\ndef f(x):\n    rows['a'].append(x)\n    return len(rows['a'])\n",
    "kept.last": "last = [0.5]\ndef f(x):\n    global last\n    last = [x, *last[:1]]\n    return last[-1]\n",
}
SORTED = """\
class Sorted:
    def __init__(self):
        self.inner = Inner()
class Inner:
    __slots__ = ("items",)
    def __init__(self):
        self.items = []
held = None
def f(x):
    return x
"""
HARMLESS = """\
import math
cache, odd, table, lines, limit, names = {}, float("nan"), None, [], 5, {"f": print}
class Engine:
    lines, memo, name = (), {}, None
    def read(self, x):
        self.lines, self.name, self.size = [x], str(x), x
        return self.memo.setdefault(x, self)
def f(x):
    global table, odd, limit
    table, odd, limit = [1], math.nan, 5
    names[x] = Engine()
    return cache.setdefault(x, [x])[0]
"""


def packed(code: str) -> dict[str, bytes]:
    return {"p2p/wheels/kept-1-py3-none-any.whl": wheel("kept", "1", {"kept.py": code.encode()})}


@pytest.mark.parametrize("name", KEPT)
def test_a_variable_of_a_package_is_named(name: str) -> None:
    """The same set that is refused in the job itself counted otherwise at two volunteers than at one."""
    late = USES.replace("return kept", "import kept\n    return kept")
    for text in (f"import kept\n{USES}", late):
        told = fault(text, files=packed(KEPT[name]))
        assert (told.kind, told.place) == ("StateKept", None)
        assert told.text.startswith(f"{name} changed while a unit ran")


def test_a_guest_finds_it_too() -> None:
    answer, _ = carry_out({"job.py": f"import kept\n{USES}", **packed(KEPT["kept.seen"])})
    assert (answer["error"], answer["kind"]) == ("job", "StateKept")
    assert answer["text"].startswith("kept.seen changed")


def test_an_object_of_a_package_that_the_job_keeps_is_looked_into() -> None:
    text = f"import kept\nmine = kept.Sorted()\n{USES.replace('kept.f(x)', 'mine.inner.items.append(x)')}"
    assert fault(text, files=packed(SORTED)).text.startswith("mine.inner.items changed while a unit ran")


def test_what_a_package_caches_is_no_state() -> None:
    text = f"import kept\nmine = kept.Engine()\n{USES.replace('kept.f(x)', 'kept.f(x) + len(mine.read(x).lines)')}"
    assert run(text, files=packed(HARMLESS)).answer.json == "40"
