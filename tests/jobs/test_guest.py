"""The guest as a real process that knows nothing but the bootstrap, and real frames."""

import json
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute import plan as plans
from p2p.jobs.codec import encode
from p2p.jobs.frames import BadFrame, pack, receive
from tests.support.guest_process import PYTHON, Guest, carry_out, guest
from tests.support.leaks import none_left
from tests.support.local_jobs import COUNT_WORDS, run

TEXT = " ".join(f"word{n % 37} w{n % 11}" + "\n" * (n % 5 == 0) for n in range(2000)).encode()
HASHES = """
from p2p.jobs import Inputs

def job(inputs):
    words = inputs.lines().flat_map(str.split)
    letters = words.map(lambda w: (w[-1], {w, w[::-1], len(w)})).reduce_by_key(lambda a, b: a | b)
    kinds = words.map(lambda w: ((w[0], len(w) > 4), {w: {w}})).reduce_by_key(lambda a, b: b)
    return [len(letters.collect()), kinds.count(), letters.top(3, key=lambda pair: len(pair[1]))[0][0]]
"""


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def one() -> Iterator[Guest]:
    with guest() as started:
        yield started


def test_a_job_over_frames_is_the_job_in_this_process() -> None:
    data = {"a.txt": TEXT, "b.txt": b"no end"}
    answer, made = carry_out({"wordcount.py": COUNT_WORDS}, data)
    assert (answer["ok"], answer["saved"]) == ("done", False)
    assert answer["value"] == json.loads(run(COUNT_WORDS, data, partition_bytes=1000).answer.json or "")
    assert [plan["action"] for plan in made.plans] == [0, 1, 2]
    assert all(plans.decode(json.dumps(plan).encode(), inputs=2) for plan in made.plans)


def test_blobs_and_plans_do_not_depend_on_how_strings_hash() -> None:
    first, *others = (carry_out({"job.py": HASHES}, {"t": TEXT}, PYTHONHASHSEED=seed)[1] for seed in ("0", "1", "77"))
    assert len(first.blobs) > 10
    for other in others:
        assert other.blobs == first.blobs
        assert other.plans == first.plans


AT_ONCE = "import random\ndef draw(x):\n    return random.random()\n"


@pytest.mark.parametrize(
    "drawing",
    [
        "from random import random\ndef draw(x):\n    return random()\n",
        "def draw(x):\n    import random\n    return random.random()\n",
        "def draw(x):\n    if x < 6:\n        return 0\n    import random\n    return random.random()\n",
        "from random import *\ndef draw(x):\n    return random()\n",
        "import statistics\ndef draw(x):\n    return statistics.random.random()\n",
        "import tempfile\ndef draw(x):\n    return __import__('random').random()\n",
        "import importlib, random\ndef draw(x):\n    importlib.reload(random)\n    return random.random()\n",
        "import sys\ndef draw(x):\n    sys.modules.pop('random', 0)\n    import random\n    return random.random()\n",
        "import random\nrandom.gauss(0, 1)\ndef draw(x):\n    return random.random()\n",
    ],
)
def test_chance_does_not_depend_on_who_imports_it_when(drawing: str) -> None:
    job = "def job(inputs):\n    return inputs.range(12).map(draw).collect()\n"
    (found, _), (expected, _) = (carry_out({"job.py": text + job}, partitions=12) for text in (drawing, AT_ONCE))
    assert found["value"][6:] == expected["value"][6:]
    assert len(set(expected["value"])) == 12


def test_saved_files_and_every_kind_of_source() -> None:
    text = """
def job(inputs):
    inputs.lines(1).map(str.upper).save("text")
    sizes = inputs.files().map(lambda file: [file[0], len(file[1])]).collect()
    chunks = inputs.chunks(0).map(len).sum()
    return [sizes, chunks, inputs.records("b").sum(), inputs.params("xyz").collect(), inputs.range(3, 9).sum()]
"""
    answer, made = carry_out({"job.py": text}, {"a": b"1\n2\n", "b": b"5\n6"}, partition_bytes=2)
    assert answer["value"] == [[["a", 4], ["b", 3]], 4, 11, ["x", "y", "z"], 33]
    assert answer["saved"] is True
    assert made.saved == [b"5\n", b"6\n"]


def test_faults_are_told_in_a_frame_and_the_guest_goes_on(one: Guest) -> None:
    text = "def job(inputs, top):\n    return inputs.range(4).map(lambda x: 6 // x).sum()\n"
    assert one.load({"job.py": text}, arguments={"top": 1}) == ({"ok": "loaded", "blobs": []}, [])
    plan = one.ask({"do": "plan"})[0]["plan"]
    digest = plan["digest"]
    for _ in range(2):
        answer, _ = one.ask({"unit": [0, 0, 1, digest, [0, 2]]})
        assert (answer["error"], answer["kind"], answer["line"]) == ("job", "ZeroDivisionError", 2)
        assert (answer["operation"], answer["record"]) == ("map", "0")
        answer, blobs = one.ask({"unit": [0, 0, 1, digest, [1, 2]]})
        assert (answer["records_in"], answer["records_out"], len(blobs)) == (2, 1, 1)
    assert one.ask({"unit": [0, 0, 1, "0" * 64, [0, 2]]})[0]["error"] == "plan"
    assert one.ask({"unit": [1, 0, 1, digest, [0, 2]]})[0]["error"] == "plan"
    assert one.ask({"unit": [0, 9, 1, digest, [0, 2]]})[0]["error"] == "plan"
    assert one.ask({"unit": [0, 0, 1, digest, [3, 1]]})[0]["ok"] == "unit"
    assert one.end() == ""


@pytest.mark.parametrize(
    ("text", "line"), [("def job(inputs) return", 1), ("import nowhere", 1), ("x = 1", 1), ("\n1 / 0", 2)]
)
def test_a_file_that_cannot_be_loaded(one: Guest, text: str, line: int) -> None:
    answer, _ = one.load({"mine.py": text})
    assert (answer["error"], answer["line"], answer["file"]) == ("job", line, "mine.py")


def test_a_plan_by_chance_is_not_confirmed(one: Guest) -> None:
    text = "import random\ndef job(inputs):\n    return inputs.range(4 + random.randrange(10**6)).count()\n"
    one.load({"job.py": text})
    plan = one.ask({"do": "plan"})[0]["plan"]
    answer, _ = one.ask({"do": "confirm", "action": 0, "digest": plan["digest"]})
    assert (answer["error"], answer["kind"], answer["line"]) == ("job", "PlanMismatch", 3)
    assert one.ask({"do": "confirm", "action": 0, "digest": "0" * 64})[0]["error"] == "plan"


def test_an_old_unit_runs_again_with_the_results_before_it(one: Guest) -> None:
    text = """
def job(inputs):
    total = 1
    for _ in range(3):
        total = inputs.range(3).map(lambda x: x + total).sum()
    return total
"""
    one.load({"job.py": text}, partitions=1)
    digests: list[str] = []
    results: list[bytes] = []
    partials: list[list[bytes]] = []
    for action in range(3):
        learned = {"results": [action - 1] if action else []}
        plan = one.ask({"do": "plan"} | learned, results[-1:])[0]["plan"]
        digests.append(plan["digest"])
        partials.append(one.ask({"unit": [action, 0, 0, plan["digest"], [0, 3]]})[1])
        results += one.ask({"do": "finish", "action": action, "digest": plan["digest"]}, partials[-1])[1]
    answer, _ = one.ask({"do": "plan", "results": [2]}, results[-1:])
    assert answer["value"] == 66
    for action in (1, 0, 2, 0):
        assert one.ask({"unit": [action, 0, 0, digests[action], [0, 3]]})[1] == partials[action]


def test_what_a_job_prints_and_reads_never_touches_the_frames(one: Guest) -> None:
    text = """
import os, sys
print("loading")
def look(x):
    print("record", x)
    os.write(1, b"raw\\n")
    sys.stdout.write(repr(sys.stdin.read()))
    return x
def job(inputs):
    return inputs.range(2).map(look).sum()
"""
    one.load({"job.py": text}, partitions=1)
    plan = one.ask({"do": "plan"})[0]["plan"]
    assert one.ask({"unit": [0, 0, 0, plan["digest"], [0, 2]]})[0]["ok"] == "unit"
    printed = one.end()
    assert printed.startswith("loading\nrecord 0\n")
    assert printed.count("raw\n") == 2


def test_a_large_value_comes_as_a_blob(one: Guest) -> None:
    one.load({"job.py": "def job(inputs):\n    return ['x' * 1000] * 1000\n"})
    answer, [blob] = one.ask({"do": "plan"})
    assert (answer["ok"], answer["value"]) == ("done", None)
    assert json.loads(blob) == ["x" * 1000] * 1000


def test_memory_that_is_not_there_is_a_limit(one: Guest) -> None:
    one.load({"job.py": "def job(inputs):\n    return inputs.range(2).map(lambda x: b'x' * 2**62).count()\n"})
    plan = one.ask({"do": "plan"})[0]["plan"]
    assert one.ask({"unit": [0, 0, 0, plan["digest"], [0, 2]]})[0]["error"] == "limit"
    assert one.ask({"do": "plan"})[0]["ok"] == "plan"


def test_a_frame_larger_than_the_memory_is_a_limit_too() -> None:
    little = "import resource; resource.setrlimit(resource.RLIMIT_AS, (150_000_000, 150_000_000))\n"
    with guest((*PYTHON[:-1], little + PYTHON[-1])) as one:
        one.load({"job.py": "def job(inputs):\n    return inputs.lines().map(len).sum()\n"}, inputs={"t": b""})
        plan = one.ask({"do": "plan"})[0]["plan"]
        pieces = [["t", 1, 3, False], ["t", 4, 1, False]]
        unit = {"unit": [0, 0, 0, plan["digest"], pieces]}
        assert one.ask(unit, [b"x" * 3, bytes(150_000_000), b"y"])[0]["error"] == "limit"
        assert one.ask(unit, [b"x" * 3, b"y"])[1] == [encode(4)]
        assert one.end() == ""


def test_bytes_that_no_unit_made_are_not_the_jobs_fault(one: Guest) -> None:
    one.load({"job.py": COUNT_WORDS}, inputs={"t": b""})
    plan = one.ask({"do": "plan"})[0]["plan"]
    unit = {"unit": [0, 1, 0, plan["digest"], []]}
    finish = {"do": "finish", "action": 0, "digest": plan["digest"]}
    for blob in (b"", b"garbage", encode({"a": 1})[:-1]):
        assert one.ask(unit, [blob])[0]["error"] == "limit"
        assert one.ask(finish, [blob])[0]["error"] == "limit"
    assert one.ask(unit, [encode([1])])[0]["error"] == "limit"
    assert one.ask(finish, [encode({"a": 1})])[0]["error"] == "limit"
    assert one.ask(finish, [encode([1])])[0]["ok"] == "finished"


def test_a_guest_without_a_job_ends_with_its_pipe(one: Guest) -> None:
    assert one.end() == ""


@given(st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_none(data: bytes) -> None:
    try:
        received = receive(BytesIO(data))
    except BadFrame:
        return
    if received is None:
        assert not data
        return
    header, blobs = received
    assert len(header["blobs"]) == len(blobs)


@given(st.lists(st.binary(max_size=20), max_size=4), st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_a_frame_comes_back_and_a_damaged_one_never_does_harm(blobs: list[bytes], at: int, noise: bytes) -> None:
    frame = pack({"do": "unit", "text": "ü"}, blobs)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert receive(BytesIO(frame)) == ({"do": "unit", "text": "ü", "blobs": list(map(len, blobs))}, blobs)
    damaged = bytearray(frame)
    damaged[at % len(frame) : at % len(frame) + len(noise)] = noise
    with suppress(BadFrame):
        receive(BytesIO(damaged))
    with pytest.raises(BadFrame):
        receive(BytesIO(frame[:-1]))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b'{"blobs": 3}',
        b'{"blobs": [-1, 1]}',
        b'{"blobs": [true]}',
        b'{"blobs": [1.0]}',
        b"\xff",
        b'{"blobs": [1]}, and more',
        b"[" * 9999,
    ],
)
def test_a_header_that_is_none(header: bytes) -> None:
    with pytest.raises(BadFrame):
        receive(BytesIO((len(header) + 5).to_bytes(4, "big") + len(header).to_bytes(4, "big") + header + b"x"))


def test_a_frame_is_bounded() -> None:
    with pytest.raises(BadFrame):
        pack({"text": "x" * 2**20})
