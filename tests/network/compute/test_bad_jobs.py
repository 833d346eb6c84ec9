"""Jobs and inputs that are not as they should be: their user is told what, and where; the peers go on."""

from pathlib import Path
from typing import Any

import pytest

from p2p.errors import ConfigError, JobError
from tests.support.world import World, hint_of
from tests.support.world_jobs import MIB, SUM, run_job, volunteer, write_job

NEVER_PLANNED = "stopped after"
FAULTS = {
    "a loop at import": ("while True:\n    pass\n", NEVER_PLANNED),
    "prints for ever": ("def job(inputs):\n    while True:\n        print('x' * 1000)\n", NEVER_PLANNED),
    "a loop in a unit": (
        "def work(n):\n    while n == 3:\n        pass\n    return n\n"
        "def job(inputs):\n    return inputs.range(4).map(work).sum()\n",
        r"went over its limits: It was stopped after 3 s\..*--unit-time.*\n *at partition 3 of stage 0",
    ),
    "raises on one record": (
        "def work(n):\n    return 1 // (7 - n)\ndef job(inputs):\n    return inputs.range(20).map(work).sum()\n",
        r"ZeroDivisionError(.|\n)*partition 1 of stage 0, line 2 of job.py, in map\n *record: 7(.|\n)*line 2, in work",
    ),
    "plans by chance": (
        "import random\ndef job(inputs):\n    return inputs.range(4 + random.randrange(10**6)).count()\n",
        "PlanMismatch: .* plans differently each time, at range, line 3",
    ),
    "a result that is too large": (
        "def job(inputs):\n    return inputs.range(9).map(lambda n: 'x' * 2**20).collect()\n",
        "ResultTooLarge: collect",
    ),
    "an output that is too large": (
        "def job(inputs):\n    return len(inputs.range(1).map(lambda n: 'x' * 70 * 2**20).collect())\n",
        "ResultTooLarge: collect(.|\\n)*partition 0 of stage 0, line 2",
    ),
    "an answer past what its own API allows": (
        "import p2p.jobs.session as session\n"
        "def job(inputs):\n    session.as_json = lambda value: '[' + '[],' * (11 << 20) + '0]'\n    return 1\n",
        "The job's result has 34603011 bytes of JSON; 33554432 are allowed",
    ),
    "no record": ("def job(inputs):\n    return inputs.range(4).map(lambda n: object()).collect()\n", "object"),
    "takes all memory": (
        "def job(inputs):\n    return inputs.range(1).map(lambda n: len(bytearray(2**30))).sum()\n",
        "MemoryError|memory",
    ),
    "recursion": (
        "def f(n):\n    return f(n)\ndef job(inputs):\n    return inputs.range(1).map(f).sum()\n",
        "RecursionError(.|\\n)*in f",
    ),
    "exits": (
        "import os\ndef job(inputs):\n    return inputs.range(1).map(os._exit).sum()\n",
        "tried 5 times in vain, last with: It ended by itself",
    ),
}


async def test_what_a_job_does_wrong_is_told(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    for source, says in FAULTS.values():
        # Only what never ends is given little time: on a busy machine an honest unit may take long.
        unit_time_s = 1.0 if says == NEVER_PLANNED else 3.0 if "stopped after" in says else 60.0
        with pytest.raises(JobError, match=says):
            await run_job(owner, write_job(world, source), [hint_of(local)], partitions=4, unit_time_s=unit_time_s)
    answer = await run_job(owner, write_job(world, SUM), [hint_of(local)], partitions=6)
    assert answer.result == sum(i * i for i in range(60))
    assert not list((owner.home / "jobs").iterdir())


LINES = """
def job(inputs):
    return inputs.lines().map(lambda line: [len(line), line[:20]]).take(100)
"""


def text(world: World, name: str, content: bytes) -> str:
    path = world.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return str(path)


async def test_inputs_of_all_kinds(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    job = write_job(world, LINES)

    async def lines_of(*inputs: str) -> list[list[object]]:
        answer = await run_job(owner, job, [hint_of(local)], inputs=inputs)
        found: list[list[object]] = answer.result
        return found

    cut_short = text(world, "cut short", b"one\ntwo\nthr")
    assert await lines_of(cut_short) == [[3, "one"], [3, "two"], [3, "thr"]]
    odd = text(world, "odd", b"\xff\x80\n\x00\r\n\xe2\x82\n\n")
    assert await lines_of(odd) == [[2, "\ufffd\ufffd"], [1, "\x00"], [1, "\ufffd"], [0, ""]]
    assert await lines_of(text(world, "empty", b"")) == []
    for number in range(3):
        text(world, f"some/{number}", b"" if number == 1 else b"%d" % number)
    assert await lines_of(str(Path(cut_short).parent / "some")) == [[1, "0"], [1, "2"]]
    (world.folder / "none").mkdir()
    for path, says in ((world.folder / "nowhere", "does not exist"), (world.folder / "none", "nothing to share")):
        with pytest.raises(ConfigError, match=says):
            await lines_of(str(path))


async def test_one_record_that_is_very_long(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    size = 80 * 10**6
    with (world.folder / "long").open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"\nshort\n")
    job = write_job(world, "def job(inputs):\n    return inputs.lines().map(len).sum()\n")
    run: dict[str, Any] = {"inputs": (str(world.folder / "long"),)}
    with pytest.raises(JobError, match="bytes in its lines; 67108864 are allowed"):
        await run_job(owner, job, [hint_of(local)], unit_memory=64 * MIB, **run)
    answer = await run_job(owner, job, [hint_of(local)], unit_memory=1024 * MIB, **run)
    assert answer.result == size + 5


async def test_one_partition_that_has_it_all(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    job = write_job(
        world,
        "def job(inputs):\n"
        "    pairs = inputs.range(30_000).map(lambda n: ('key', [n]))\n"
        "    return pairs.reduce_by_key(lambda a, b: a + b).map(lambda pair: len(set(pair[1]))).collect()\n",
    )
    assert (await run_job(owner, job, [hint_of(local)], partitions=8)).result == [30_000]
