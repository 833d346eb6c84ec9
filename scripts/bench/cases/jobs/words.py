"""Parts about text: counting words, by operations on records, and with one Counter per partition."""

from functools import partial
from pathlib import Path

from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.cases.jobs.turns import Measure, take_turns
from scripts.bench.rivals.engines.tasks import count_words, digest_of, joined
from scripts.bench.rivals.jobs import Rival
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError
from scripts.bench.support.network import Network, network
from scripts.bench.support.report import MIB, Report, Row
from scripts.bench.support.text import write_text

SPARE_BYTES = 2 << 30
RECORDS = """\
def job(inputs):
    words = inputs.lines().flat_map(str.split).map(lambda word: (word, 1))
    return words.reduce_by_key(lambda a, b: a + b).collect()
"""
COUNTERS = """\
from collections import Counter

def count(chunks):
    table = Counter()
    for chunk in chunks:
        table.update(chunk.decode().split())
    return table.items()

def job(inputs):
    return inputs.chunks().map_partitions(count).reduce_by_key(lambda a, b: a + b).collect()
"""
SOURCES = {"records": RECORDS, "counters": COUNTERS}
ALL_WORDS = "all words, s"
HAVE_RECORDS = {"dask", "spark"}
WAYS = {
    "records": "each word a record: flat_map, map, reduce_by_key; dask.bag, RDD",
    "counters": "a Counter for each partition; the others: a task with a Counter for each file",
}


def words(way: str, settings: Settings) -> Report:
    """Counts words; the owner gets the whole table, which is checked against a count in this process."""
    report = Report(way, f"words, {WAYS[way]}; interleaved rounds: {settings.rounds}")
    report.notes.append("shoal: from typing the command to its end; the others: started, and used on two files before")
    size = settings.megabytes * MIB
    with workspace(5 * size + SPARE_BYTES) as work, network(work, 2) as peers:
        folder = work / "text"
        report.notes.append(write_text(folder, size))
        expected = digest_of(joined(count_words(str(path)) for path in folder.iterdir()))
        ours: dict[str, Measure] = {
            runtime: partial(_ours, peers, runtime, way, folder, expected) for runtime in settings.runtimes
        }
        fetching = [measure()[ALL_WORDS] for measure in ours.values()]  # compiling, too, but for the first runtime
        report.rows.append(Row(f"text still to be fetched: {settings.runtimes[0]}", "s", fetching[:1]))
        rivals = {
            rival.name: partial(_theirs, rival, work, way, folder, expected)
            for rival in settings.rivals
            if way == "counters" or rival.name in HAVE_RECORDS
        }
        take_turns(report, ours, rivals, settings)
    return report


def _ours(peers: Network, runtime: str, way: str, folder: Path, expected: str) -> dict[str, float]:
    answer = peers.run(SOURCES[way], "--input", str(folder), runtime=runtime)
    return _figures(answer.wall_s, digest_of(dict(answer.result)), expected)


def _theirs(rival: Rival, work: Path, way: str, folder: Path, expected: str) -> dict[str, float]:
    found = rival.run(work, way, folder)
    return _figures(found["seconds"], found["digest"], expected)


def _figures(seconds: float, digest: str, expected: str) -> dict[str, float]:
    if digest != expected:
        raise BenchError(f"WRONG RESULT: another table of words ({digest}, not {expected})")
    return {ALL_WORDS: seconds}
