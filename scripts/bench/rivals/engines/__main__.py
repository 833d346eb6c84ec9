"""One engine as a program, run by `scripts.bench.jobs` in an interpreter that has the engine.

    python -m scripts.bench.rivals.engines NAME PART ...

    first              one task; ends when its stdin is closed
    units N TIMES      N no-op tasks at once, then TIMES one after another
    counters FOLDER    the words of its files, by a task with a Counter for each
    records FOLDER     the same by operations on records (dask, spark)
    kill N SECONDS     N tasks that take SECONDS each, by 4 workers, one of which is killed half-way

NAME is dask, pool, ray or spark. Prints one JSON line. Times are taken with the engine up and its workers used once.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.bench.rivals.engines.engine import Engine, RecordEngine
from scripts.bench.rivals.engines.tasks import busy, count_words, digest_of, joined, nothing

WORKERS, WORKERS_WITH_VICTIM = 2, 4
WARM_UP = 100
TRIAL_LOOPS = 1_000_000


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def first(engine: Engine) -> dict[str, Any]:
    return {"result": engine.alone(nothing, 1)}


def units(engine: Engine, count: int, times: int) -> dict[str, Any]:
    engine.each(nothing, range(WARM_UP))
    together_s, results = timed(lambda: engine.each(nothing, range(count)))
    engine.alone(nothing, 0)
    one_by_one_s, _ = timed(lambda: [engine.alone(nothing, number) for number in range(times)])
    return {"right": sorted(results) == list(range(count)), "seconds": together_s, "latency_s": one_by_one_s / times}


def records(engine: RecordEngine, folder: Path) -> dict[str, Any]:
    return _table(engine.words, folder)


def counters(engine: Engine, folder: Path) -> dict[str, Any]:
    return _table(lambda paths: joined(engine.as_they_come(count_words, paths)), folder)


def _table(count: Callable[[list[str]], Mapping[str, int]], folder: Path) -> dict[str, Any]:
    paths = sorted(str(path) for path in folder.iterdir())
    count(paths[:2])
    seconds, table = timed(lambda: count(paths))
    return {"seconds": seconds, "digest": digest_of(table)}


def kill(engine: Engine, count: int, seconds: float) -> dict[str, Any]:
    _loops(engine, seconds)  # no-ops may be over before all workers are up
    loops = [_loops(engine, seconds)] * count
    whole_s, workers = timed(lambda: engine.each(busy, loops))
    victim = threading.Timer(whole_s / 2, os.kill, (workers[-1], signal.SIGKILL))
    victim.start()
    killed_s, results = timed(lambda: engine.each(busy, loops))
    return {"right": len(results) == count, "whole_s": whole_s, "killed_s": killed_s}


def _loops(engine: Engine, seconds: float) -> int:
    """How many loops keep a core busy for this long while the others are busy, too."""
    tasks = 2 * WORKERS_WITH_VICTIM
    took, _ = timed(lambda: engine.each(busy, [TRIAL_LOOPS] * tasks))
    return round(seconds * TRIAL_LOOPS * tasks / min(WORKERS_WITH_VICTIM, os.cpu_count() or 1) / took)


def main(name: str, part: str, *arguments: str) -> None:
    module = importlib.import_module(f"scripts.bench.rivals.engines.on_{name}")
    with module.open_engine(WORKERS_WITH_VICTIM if part == "kill" else WORKERS) as engine:
        match part, arguments:
            case "first", ():
                found = first(engine)
            case "units", (count, times):
                found = units(engine, int(count), int(times))
            case "records", (folder,):
                found = records(engine, Path(folder))
            case "counters", (folder,):
                found = counters(engine, Path(folder))
            case "kill", (count, seconds):
                found = kill(engine, int(count), float(seconds))
            case _:
                sys.exit(__doc__)
        print(json.dumps(found), flush=True)
        if part == "first":
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
