"""The engines that Shoal's jobs are measured against: where each is found, and how it is run. None is imported here.

An engine runs as `python -m scripts.bench.rivals.engines` in an interpreter that has it: this one, or one that was
named.
"""

import importlib.metadata
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.support.measure import ENVIRONMENT, BenchError, run

DISTRIBUTIONS = {"dask": "distributed", "ray": "ray", "spark": "pyspark"}
NAMES = ("pool", *DISTRIBUTIONS)
ROOT = Path(__file__).parents[3]
TIMEOUT_S = 600


@dataclass(frozen=True)
class Rival:
    """An engine in the interpreter `python`."""

    name: str
    python: str
    version: str

    def run(self, work: Path, part: str, *arguments: object) -> dict[str, Any]:
        """Runs a part; returns what it printed. Raises BenchError if it failed."""
        said = run(self._argv(work, part, *arguments), timeout_s=TIMEOUT_S).stdout
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])  # Ray tells of dead workers before
        return answer

    @contextmanager
    def up(self, work: Path) -> Iterator[tuple[int, float]]:
        """The engine after its first task: its process, and the seconds from nothing until that task's result."""
        with (work / f"{self.name}.log").open("wb") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                self._argv(work, "first"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT
            )
        with process:
            assert process.stdout is not None
            try:
                ready = select.select([process.stdout], [], [], TIMEOUT_S)[0]
                took = time.perf_counter() - started
                if not ready or json.loads(process.stdout.readline() or "{}") != {"result": 1}:
                    raise BenchError(f"{self.name} had no first result: {Path(log.name).read_text()[-2000:]}")
                yield process.pid, took
                process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()  # of no effect where it has ended

    def _argv(self, work: Path, part: str, *arguments: object) -> list[str]:
        own = {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(work),
            "RAY_TMPDIR": str(work),
            "RAY_USAGE_STATS_ENABLED": "0",
            "SPARK_LOCAL_DIRS": str(work),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": self.python,
        }
        program = [self.python, "-m", "scripts.bench.rivals.engines", self.name, part, *map(str, arguments)]
        return ["env", *(f"{name}={value}" for name, value in own.items()), *program]


def find(named: Mapping[str, str], notes: list[str]) -> tuple[Rival, ...]:
    """Finds the installed rivals, in the `named` interpreters, otherwise in this one; notes what is missing."""
    rivals = [Rival("pool", named.get("pool", sys.executable), sys.version.split()[0])]
    for name, distribution in DISTRIBUTIONS.items():
        version = _version(named.get(name), distribution)
        if version is None:
            notes.append(f"{name} is not installed: skipped; say where with --engines {name}=PYTHON")
        elif name == "spark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
            notes.append("spark needs java, which is not installed: skipped")
        else:
            rivals.append(Rival(name, named.get(name, sys.executable), version))
    versions = ", ".join(f"{rival.name} {rival.version}" for rival in rivals[1:])
    notes.append(f"pool is ProcessPoolExecutor of Python {rivals[0].version}" + (f"; {versions}" if versions else ""))
    return tuple(rivals)


def _version(python: str | None, distribution: str) -> str | None:
    """The version of what is installed there, or None. Raises BenchError if there is no such interpreter."""
    if python is None:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
    asking = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    try:
        done = subprocess.run([python, "-c", asking], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise BenchError(f"{python}: {error.strerror}") from error
    return done.stdout.strip() if done.returncode == 0 else None
