"""How fast units go through volunteers. Run from the top of the repository:

    python -m scripts.bench.jobs                        no-op units a second, first result, words
    python -m scripts.bench.jobs --units 5000 --rounds 3 --json

An owner and two volunteers of one core each, real processes on loopback, up before anything is timed, the runtime
compiled. A time is from typing `shoal run` to its end but for `units/s`, which has the job's own time. Beside it, in
the same rounds: as many no-op calls through a ProcessPoolExecutor of two.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

_SHOAL = [sys.executable, "-P", "-m", "cli"]
_HERE = ["--listen", "127.0.0.1:0", "--network", "bench-jobs", "--no-lan", "--no-dht"]
NO_OP = "def job(inputs):\n    return inputs.range({units}).count()\n"
WORDS = """\
def job(inputs):
    words = inputs.lines().flat_map(str.split).map(lambda word: (word, 1))
    return words.reduce_by_key(lambda a, b: a + b).count()
"""


@contextmanager
def _node(home: Path, *options: str) -> Iterator[str]:
    """A node's address."""
    command = [*_SHOAL, "--home", str(home), "node", *_HERE, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[2]
        finally:
            process.terminate()


def _run(home: Path, job: Path, *options: str) -> tuple[dict[str, Any], float]:
    command = [*_SHOAL, "--home", str(home), "run", str(job), "--json", *options]
    started = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout), time.monotonic() - started


def _nothing(number: int) -> int:
    return number


def _pool(units: int) -> float:
    """Seconds for as many calls, the pool's processes being there."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_nothing, range(100)))
        started = time.monotonic()
        for future in [pool.submit(_nothing, number) for number in range(units)]:
            future.result()
        return time.monotonic() - started


def measure(units: int, rounds: int, megabytes: int) -> dict[str, list[float]]:
    """Figures by name, one for each round."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="shoal-jobs-") as folder, ExitStack() as stack:
        top = Path(folder)
        owner = top / "owner"
        peers: list[str] = []
        for number in range(2):
            address = stack.enter_context(_node(top / f"volunteer{number}", "--volunteer", "--cores", "1"))
            peers += ["--peer", address]
        stack.enter_context(_node(owner))
        no_op, words, text = top / "no_op.py", top / "words.py", top / "text.txt"
        no_op.write_text(NO_OP.format(units=units))
        words.write_text(WORDS)
        lines = (f"the quick fish number {n % 9973} jumps over the lazy shoal {n % 101}\n" for n in range(20_000))
        block = "".join(lines)
        text.write_text(block * (megabytes * 1_000_000 // len(block) + 1))
        _run(owner, no_op, "--partitions", "1", *peers)
        for _ in range(rounds):
            _, first = _run(owner, no_op, "--partitions", "1", *peers)
            answer, _ = _run(owner, no_op, "--partitions", str(units), *peers)
            _, counted = _run(owner, words, "--input", str(text), *peers)
            pool = units / _pool(units)
            rate = units / answer["seconds"]
            for name, value in (
                ("first result, s", first),
                ("no-op units/s", rate),
                ("no-op calls/s, pool of 2", pool),
                ("ratio to the pool", rate / pool),
                (f"words of {megabytes} MB, s", counted),
            ):
                found.setdefault(name, []).append(value)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=16, help="of text; default 16")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.units, options.rounds, options.megabytes)
    if options.json:
        print(json.dumps(found))
        return 0
    for name, values in found.items():
        print(f"{name:28} {median(values):10.2f}   ({min(values):.2f}-{max(values):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
