"""The examples as they are: in this process, and in a guest over frames, against plain Python."""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2p.jobs import local
from p2p.jobs.planning import Settings
from tests.support.guest_process import carry_out

FOLDER = Path(__file__).parents[2] / "examples"
TEXT = "".join(f"Zeile {n % 13} von the The THE {n % 7} ünd\n" for n in range(500)).encode()
Runner = Callable[..., tuple[Any, list[bytes]]]


def in_this_process(name: str, inputs: Mapping[str, bytes], folder: Path, **arguments: Any) -> tuple[Any, list[bytes]]:
    for path, data in inputs.items():
        (folder / path).write_bytes(data)
    saved: list[bytes] = []
    answer = local.run(
        {name: (FOLDER / name).read_bytes()},
        [folder / path for path in inputs],
        arguments,
        entry=name,
        save=lambda action, partition, data: saved.append(data),
        settings=Settings(4, 3),
        partition_bytes=1000,
    )
    return json.loads(answer.json or ""), saved


def over_frames(name: str, inputs: Mapping[str, bytes], folder: Path, **arguments: Any) -> tuple[Any, list[bytes]]:
    answer, made = carry_out({name: (FOLDER / name).read_bytes()}, inputs, arguments=arguments)
    assert answer["ok"] == "done", answer
    return answer["value"], made.saved


both = pytest.mark.parametrize("runner", [in_this_process, over_frames])


@both
def test_wordcount(runner: Runner, tmp_path: Path) -> None:
    found, _ = runner("wordcount.py", {"a": TEXT, "b": b"the end"}, tmp_path, top=4)
    counts = Counter((TEXT.decode() + "the end").lower().split())
    assert found == [[word, counts[word]] for word in ("the", "von", "ünd", "zeile")]


@both
def test_pi(runner: Runner, tmp_path: Path) -> None:
    found, _ = runner("pi.py", {}, tmp_path, points=400_000)
    assert found == pytest.approx(math.pi, abs=0.02)


@both
def test_grep(runner: Runner, tmp_path: Path) -> None:
    _, saved = runner("grep.py", {"a": TEXT}, tmp_path, pattern=r"zeile 1[12]\b", ignore_case=True)
    assert b"".join(saved).decode().splitlines() == re.findall(r"Zeile 1[12]\b.*", TEXT.decode())


@both
def test_array_sum(runner: Runner, tmp_path: Path) -> None:
    found, _ = runner("array_sum.py", {}, tmp_path, size=250)
    assert found["size"] == 250
    assert found["mean"] == pytest.approx(0.5, abs=0.01)
    assert found["sum"] == pytest.approx(found["mean"] * 250**2)


@both
def test_kmeans(runner: Runner, tmp_path: Path) -> None:
    chance = random.Random(5)
    true = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]
    points = [[x + chance.gauss(0, 0.5), y + chance.gauss(0, 0.5)] for x, y in true * 60]
    text = "\n".join(f"{x},{y}" for x, y in points).encode()
    found, _ = runner("kmeans.py", {"points.csv": text}, tmp_path, k=3)
    for near in true:
        centre = min(found, key=partial(math.dist, near))
        cluster = [point for point in points if math.dist(point, near) < 5]
        mean = [sum(values) / len(cluster) for values in zip(*cluster, strict=True)]
        assert centre == pytest.approx(mean)


def test_every_example_says_how_to_run_it() -> None:
    jobs = [path for path in FOLDER.glob("*.py") if "def job(" in path.read_text()]
    assert len(jobs) >= 5
    for path in jobs:
        assert f"shoal run examples/{path.name}" in path.read_text().split('"""')[1]
