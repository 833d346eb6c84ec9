"""State that a job keeps between calls is refused, with its name, and never changes a result without a word."""

import builtins
import decimal
import json
import math
import string
import sys
from collections import Counter
from types import ModuleType

import pytest

from tests.support.guest_process import carry_out
from tests.support.local_jobs import fault, run

DISTINCT = """
seen = set()
def new(x):
    if x in seen:
        return False
    seen.add(x)
    return True

def job(inputs):
    return inputs.range(200).map(lambda x: x % 100).filter(new).count()
"""


def test_a_set_at_module_level_is_refused_on_both_sides() -> None:
    """Dask.distributed#3733, dask#1851: 100 with `--local` and at one volunteer, 200 at two."""
    told = fault(DISTINCT)
    assert (told.kind, told.place) == ("StateKept", ("job.py", 3))
    assert told.text.startswith("seen changed while a unit ran")
    assert "reduce_by_key" in told.text
    answer, _ = carry_out({"job.py": DISTINCT})
    assert (answer["error"], answer["kind"], answer["line"]) == ("job", "StateKept", 2)
    assert answer["text"].startswith("seen changed")


STATES = {
    "calls": "calls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return calls",
    "last": "last = None\ndef f(x):\n    global last\n    last, before = x, last\n    return before or 0",
    "Meter.total": "class Meter:\n    total = 0\ndef f(x):\n    Meter.total += x\n    return Meter.total",
    "Meter.seen": "class Meter:\n    seen = []\ndef f(x):\n    Meter.seen.append(x)\n    return len(Meter.seen)",
    "meter.n": (
        "class Meter:\n    def __init__(self): self.n = 0\n    def __call__(self, x):\n        self.n += 1\n"
        "        return self.n\nmeter = Meter()\ndef f(x):\n    return meter(x)"
    ),
    "box": "class Box:\n    __slots__ = 'n',\nbox = Box()\nbox.n = 0\ndef f(x):\n    box.n += x\n    return box.n",
    "the default of held in f()": "def f(x, held=[]):\n    held.append(x)\n    return len(held)",
    "the default of held in add()": (
        "class C:\n    def add(self, x, *, held={}):\n        return held.setdefault(x, len(held))\ndef f(x):\n"
        "    return C().add(x)"
    ),
    "f.calls": "def f(x):\n    f.calls = getattr(f, 'calls', 0) + 1\n    return f.calls",
    "n": (
        "def counted():\n    n = 0\n    def inner(x):\n        nonlocal n\n        n += 1\n        return n\n"
        "    return inner\nf = counted()"
    ),
    "numbers": "import itertools\nnumbers = itertools.count()\ndef f(x):\n    return next(numbers)",
    "parts": "parts = iter(range(1000))\ndef f(x):\n    return next(parts)",
    "both": "import itertools\nboth = zip(range(1000), iter([5] * 1000))\ndef f(x):\n    return next(both)[0]",
    "numbered": (
        "def gen():\n    n = 0\n    while True:\n        n += 1\n        yield n\n"
        "numbered = gen()\ndef f(x):\n    return next(numbered)"
    ),
    "dice": "import random\ndice = random.Random(5)\ndef f(x):\n    return dice.randrange(10)",
    "words": (
        "from collections import Counter\nwords = Counter()\ndef f(x):\n    words[x % 3] += 1\n    return words[0]"
    ),
    "queue": (
        "from collections import deque\nqueue = deque(maxlen=3)\ndef f(x):\n    queue.append(x)\n    return sum(queue)"
    ),
    "spaces.n": (
        "from types import SimpleNamespace\nspaces = SimpleNamespace(n=0)\ndef f(x):\n"
        "    spaces.n += 1\n    return spaces.n"
    ),
    "deep": "deep = {'a': [{'b': []}]}\ndef f(x):\n    deep['a'][0]['b'].append(x)\n    return x",
    "mixed": "mixed = [len, {'a': [0]}]\ndef f(x):\n    mixed[1]['a'][0] += 1\n    return mixed[1]['a'][0]",
    "grown": "grown = [len]\ndef f(x):\n    grown.append(grown)\n    return len(grown)",
    "raw": "raw = bytearray(4)\ndef f(x):\n    raw[0] = (raw[0] + 1) % 256\n    return raw[0]",
    "text": "import io\ntext = io.StringIO()\ndef f(x):\n    return text.write('a') + text.tell()",
    "pair": "pair = ([], 5)\ndef f(x):\n    pair[0].append(x)\n    return len(pair[0])",
    "add": "add = [].append\ndef f(x):\n    add(x)\n    return len(add.__self__)",
    "made": "def f(x):\n    global made\n    made = [x]\n    return x",
    "gone": "gone = 5\ndef f(x):\n    globals().pop('gone', None)\n    return x",
    "large": "large = dict.fromkeys(range(100_000), 0)\ndef f(x):\n    large[7] += 1\n    return large[7]",
    "rows": "rows = [[0] for _ in range(50_000)]\ndef f(x):\n    rows[40_000][0] += 1\n    return rows[40_000][0]",
}


ELSEWHERE = {
    "math.seen": "import math\nmath.seen = set()\ndef f(x):\n    math.seen.add(x)\n    return len(math.seen)",
    "string.n": "def f(x):\n    import string\n    string.n = getattr(string, 'n', 0) + 1\n    return string.n",
    "json.n": "import json\ndef f(x):\n    setattr(json, 'n', getattr(json, 'n', 0) + 1)\n    return json.n",
    "json.dumps.n": "import json\njson.dumps.n = 0\ndef f(x):\n    json.dumps.n += 1\n    return json.dumps.n",
    "Counter.n": "from collections import Counter\nCounter.n = 0\ndef f(x):\n    Counter.n += 1\n    return Counter.n",
    "string.by_text": (
        "import importlib\ndef f(x):\n    module = importlib.import_module('string')\n"
        "    module.by_text = getattr(module, 'by_text', 0) + 1\n    return module.by_text"
    ),
    "builtins.n": "import builtins\nbuiltins.n = 0\ndef f(x):\n    builtins.n += 1\n    return n",
    "form.n": "import string\nform = string.Formatter()\nform.n = 0\ndef f(x):\n    form.n += 1\n    return form.n",
    "json.decoder.BACKSLASH": "import json\ndef f(x):\n    json.decoder.BACKSLASH[x] = x\n    return x",
    "fake.held": (
        "import sys, types\nfake = sys.modules['fake'] = types.ModuleType('fake')\nfake.held = []\ndel fake\n"
        "def f(x):\n    import fake\n    fake.held.append(x)\n    return len(fake.held)"
    ),
    "sys.modules['fake2']": "import sys\nsys.modules['fake2'] = []\ndef f(x):\n    sys.modules['fake2'].append(x)\n",
    "os.environ": "import os\ndef f(x):\n    os.environ['SHOAL_N'] = os.environ.get('SHOAL_N', '') + 'a'\n    return x",
    "variable": (
        "from contextvars import ContextVar\nvariable = ContextVar('v', default=0)\ndef f(x):\n"
        "    variable.set(variable.get() + 1)\n    return variable.get()"
    ),
    "local.n": "import threading\nlocal = threading.local()\nlocal.n = 0\ndef f(x):\n    local.n += 1",
    "g.cache_info()": (
        "from functools import cache\n@cache\ndef g(x): return x\ndef f(x):\n    return g(x) + g.cache_info().currsize"
    ),
    "a result of g()": "from functools import cache\n@cache\ndef g(): return []\ndef f(x):\n    g().append(x)",
    "a result of h()": "from functools import lru_cache\n@lru_cache(9)\ndef h(): return {}\ndef f(x):\n    h()[x] = 1",
    "c.held": (
        "from functools import cached_property\nclass C:\n    @cached_property\n    def held(self): return []\n"
        "c = C()\ndef f(x):\n    c.held.append(x)"
    ),
    "E.A._value_": "import enum\nclass E(enum.Enum):\n    A = []\ndef f(x):\n    E.A.value.append(x)",
    "weak.data": (
        "import weakref\nclass K: pass\nkeep = [K() for _ in range(99)]\nweak = weakref.WeakSet()\ndef f(x):\n"
        "    weak.add(keep[x])\n    return len(weak)"
    ),
    "error": "error = ValueError()\ndef f(x):\n    error.args += (x,)\n    return len(error.args)",
    "digest": "import hashlib\ndigest = hashlib.sha256()\ndef f(x):\n    digest.update(b'a')",
    "queued": "import queue\nqueued = queue.SimpleQueue()\ndef f(x):\n    queued.put(x)\n    return queued.qsize()",
    "view": "view = memoryview(bytearray(1))\ndef f(x):\n    view[0] = (view[0] + 1) % 99\n    return view[0]",
    "__n__": "__n__ = [0]\ndef f(x):\n    __n__[0] += 1\n    return __n__[0]",
    "stepped": (
        "async def steps():\n    n = 0\n    while True:\n        n += 1\n        yield n\n"
        "stepped = steps()\ndef f(x):\n    try:\n        stepped.asend(None).send(None)\n"
        "    except StopIteration as stop:\n        return stop.value"
    ),
}
OBJECTS = {
    "tree": (
        "from xml.etree.ElementTree import Element, SubElement\ntree = Element('a')\ndef f(x):\n"
        "    SubElement(tree, 'b')\n    return len(tree)"
    ),
    "boxes": (
        "from xml.etree.ElementTree import Element\nclass Box(Element): pass\nboxes = Box('a')\ndef f(x):\n"
        "    boxes.append(Element('b'))\n    return len(boxes)"
    ),
    "deep_tree": (
        "from xml.etree.ElementTree import fromstring\n"
        "deep_tree = fromstring('<a><b><c n=\"0\"/></b></a>')\ndef f(x):\n"
        "    deep_tree[0][0].set('n', deep_tree[0][0].get('n') + '0')"
    ),
    "config.": (
        "import configparser\nconfig = configparser.ConfigParser()\nconfig.add_section('a')\ndef f(x):\n"
        "    config.set('a', str(x), '')\n    return len(config['a'])"
    ),
    "letter.": "from email.message import Message\nletter = Message()\ndef f(x):\n    letter['To'] = str(x)",
    "agenda.": "import sched\nagenda = sched.scheduler()\ndef f(x):\n    agenda.enter(9, x, print)",
    "order.": "import graphlib\norder = graphlib.TopologicalSorter()\ndef f(x):\n    order.add(x)",
    "pages.": "from html.parser import HTMLParser\npages = HTMLParser()\ndef f(x):\n    pages.feed('<a')",
    "exact": "import decimal\nexact = decimal.Context(prec=5)\ndef f(x):\n    exact.prec += 1",
    "decimal.getcontext()": "import decimal\ndef f(x):\n    decimal.getcontext().prec += 1",
    "page": (
        "from xml.dom.minidom import parseString\npage = parseString('<a/>')\ndef f(x):\n"
        "    page.documentElement.appendChild(page.createElement('b'))"
    ),
}
STATES |= ELSEWHERE | OBJECTS
OF_THE_PROCESS = {"os.environ", "decimal.getcontext()", "sys.modules['fake2']"}


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the jobs here leave behind in this process is taken away."""
    monkeypatch.setenv("SHOAL_N", "")
    for name in ("fake", "fake2"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for module, name in (
        (math, "seen"),
        (string, "n"),
        (string, "by_text"),
        (json, "n"),
        (json.dumps, "n"),
        (Counter, "n"),
        (builtins, "n"),
    ):
        monkeypatch.setattr(module, name, None, raising=False)
        monkeypatch.delattr(module, name)
    monkeypatch.setattr(json.decoder, "BACKSLASH", {})
    monkeypatch.setattr(decimal.getcontext(), "prec", decimal.getcontext().prec)


@pytest.mark.parametrize("name", STATES)
def test_every_way_to_keep_state_at_module_level_is_named(name: str) -> None:
    told = fault(f"{STATES[name]}\ndef job(inputs):\n    return inputs.range(40).map(lambda x: f(x)).count()\n")
    assert told.kind == "StateKept"
    assert told.text.startswith(name if name.endswith(".") else f"{name} changed while a unit ran")
    assert (told.place and told.place.file) == (None if name in OF_THE_PROCESS else "job.py")


def test_state_in_another_module_of_the_job_even_one_imported_late() -> None:
    helper = b"seen = []\ndef note(x):\n    seen.append(x)\n    return len(seen)\n"
    text = (
        "def f(x):\n    import helper\n    return helper.note(x)\ndef job(inputs):\n"
        "    return inputs.range(9).map(f).sum()\n"
    )
    for early in ("import helper\n", ""):
        told = fault(early + text, files={"helper.py": helper})
        assert told.text.startswith("helper.seen changed")
        assert told.place == ("helper.py", 1)


def test_state_that_begins_after_the_first_units() -> None:
    text = "seen = []\ndef f(x):\n    if x > 30:\n        seen.append(x)\n    return len(seen)\n"
    told = fault(f"{text}def job(inputs):\n    return inputs.range(40).map(f).sum()\n", partitions=8)
    assert told.text.startswith("seen changed")


def test_state_that_a_reduce_keeps() -> None:
    text = "n = 0\ndef add(a, b):\n    global n\n    n += 1\n    return a + b + n\n"
    told = fault(f"{text}def job(inputs):\n    return inputs.range(4).reduce(add)\n", partitions=4)
    assert told.text.startswith("n changed")


CHANGED_BY_JOB = {
    "words": "words = []\ndef job(inputs):\n    words.extend(inputs.range(3).collect())\n    %s",
    "Conf.k": "import random\nclass Conf:\n    k = 0\ndef job(inputs):\n    Conf.k = random.random()\n    %s",
    "salt": "import random\nsalt = 0\ndef job(inputs):\n    global salt\n    salt = random.random()\n    %s",
    "runs": "runs = 0\ndef job(inputs):\n    global runs\n    runs += 1\n    %s",
    "job.n": "def job(inputs):\n    job.n = getattr(job, 'n', 0) + 1\n    %s",
}


@pytest.mark.parametrize("name", CHANGED_BY_JOB)
def test_state_that_job_itself_keeps_from_run_to_run(name: str) -> None:
    """How often `job` runs in a process differs: units at two peers would have read different values."""
    told = fault(CHANGED_BY_JOB[name] % "return inputs.range(9).map(lambda x: hash(x)).count()\n")
    assert told.kind == "StateKept"
    assert f"job() changes {name}" in told.text


FINE = {
    "constants": "WORDS = {'a', 'b'}; TABLE = {n: [n] for n in range(50)}\ndef f(x):\n    return TABLE[x % 50][0]",
    "cache": "from functools import cache\n@cache\ndef f(x):\n    return x * 2",
    "method cache": (
        "from functools import cached_property\nclass C:\n    @cached_property\n    def k(self): return 5\nc = C()\n"
        "def f(x):\n    return c.k"
    ),
    "singledispatch": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 1\n@g.register\n"
        "def _(x: int): return 2\ndef f(x):\n    return g(x)"
    ),
    "enum": "import enum\nclass C(enum.Flag):\n    A = 1\n    B = 2\ndef f(x):\n    return (C.A | C.B).value",
    "lazy import": "def f(x):\n    global json\n    import json\n    return len(json.dumps(x))",
    "local": "def f(x):\n    seen = set()\n    seen.add(x)\n    return len(seen)",
    "the same again": (
        "limit = 'a' * 3\ndef f(x):\n    global limit\n    limit = 'a' * len(limit)\n    return len(limit)"
    ),
    "random": "import random\nfrom random import choice\ndef f(x):\n    return random.random() + choice([1, 2])",
    "warning": "import warnings\ndef f(x):\n    warnings.simplefilter('ignore')\n    warnings.warn('x')\n    return x",
    "dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int\n    xs: list = field("
        "default_factory=list)\ndef f(x):\n    p = P(x)\n    p.xs.append(x)\n    return len(p.xs)"
    ),
    "regex": "import re\nfind = re.compile('1').findall\ndef f(x):\n    return len(find(str(x)))",
    "logger": "import logging\nlog = logging.getLogger('a')\ndef f(x):\n    log.debug('%s', x)\n    return x",
    "typing": (
        "from typing import Generic, TypeVar, NamedTuple\nT = TypeVar('T')\nclass G(Generic[T]):\n    pass\n"
        "class N(NamedTuple):\n    a: int = 0\ndef f(x):\n    G[int]()\n    return N(x).a"
    ),
    "abc": "import abc\nclass A(abc.ABC):\n    pass\ndef f(x):\n    return int(isinstance(x, A))",
    "set once by job": "TABLE = None\ndef f(x):\n    return TABLE[x % 3]",
    "late parts of other packages": (
        "import base64, datetime, sys\ndef f(x):\n    import decimal\n    sys.stdout.write('')\n"
        "    base64.b85encode(b'a')\n"
        "    return datetime.datetime.strptime('2020', '%Y').year + ('numpy' in sys.modules)"
    ),
    "named like attributes elsewhere": (
        "import os, math\nclass W:\n    def __init__(self, x):\n        self.path = os.path.join('a')\n"
        "        self.sqrt = math.sqrt(x)\ndef f(x):\n    return W(x).sqrt"
    ),
    "a lock": "import threading\nlock = threading.Lock()\ndef f(x):\n    with lock:\n        return x",
    "results in a cache": "from functools import cache\n@cache\ndef g(x): return [x]\ndef f(x):\n    return g(x)[0]",
    "objects that are only read": (
        "import configparser, decimal, pathlib, re\nfrom email.message import Message\nfrom xml.dom import minidom\n"
        "from xml.etree.ElementTree import fromstring\nexact = decimal.Context(prec=5)\nhere = pathlib.Path('a')\n"
        "config = configparser.ConfigParser()\nconfig.read_string('[a]\\nb = %(c)s\\nc = 1')\nletter = Message()\n"
        "letter['To'] = 'a'\ntree = fromstring('<a><b/></a>')\npage = minidom.parseString('<a b=\"c\"/>')\ndef f(x):\n"
        "    exact.divide(x, 3)\n    str(here)\n    config['a'].getint('b')\n    letter.get_all('to')\n"
        "    tree.find('b').get('c')\n    page.documentElement.getAttribute('b')\n    return len(list(tree.iter()))"
    ),
    "a setting": "import decimal\ndef f(x):\n    decimal.getcontext().prec = 50\n    return decimal.Decimal(x) / 3",
    "broken attributes": (
        "class Odd:\n    def __getattr__(self, name): raise ValueError(name)\nodd = Odd()\ndef f(x):\n    return x"
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_what_keeps_no_state_runs_as_before(name: str) -> None:
    before = "global TABLE; TABLE = inputs.range(3).collect()" if "TABLE = None" in FINE[name] else "pass"
    text = f"{FINE[name]}\ndef job(inputs):\n    {before}\n    return inputs.range(40).map(f).map(float).count()\n"
    assert run(text).answer.json == "40"
