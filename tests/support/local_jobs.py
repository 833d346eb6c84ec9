"""Jobs given as text, run in this process."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

from p2p.jobs import local
from p2p.jobs.faults import JobFault
from p2p.jobs.local import Skips
from p2p.jobs.planning import Settings
from p2p.jobs.session import Answer

HEAD = "from p2p.jobs import Inputs, rng\n"
COUNT_WORDS = """
def job(inputs, top=3):
    counts = (inputs.lines()
        .flat_map(str.split)
        .map(lambda word: (word.lower(), 1))
        .reduce_by_key(lambda a, b: a + b))
    return [sorted(counts.collect()), counts.top(top, key=lambda pair: pair[1]), counts.count()]
"""
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec=None)), st.binary()
)
HASHABLE = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
RECORDS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
    ),
    max_leaves=15,
)


class Outcome(NamedTuple):
    """What a job returned, and the files that it saved, by action and partition."""

    answer: Answer
    saved: dict[tuple[int, int], bytes]


def run(
    text: str,
    inputs: Mapping[str, bytes] | None = None,
    *,
    partitions: int = 4,
    reduce_partitions: int = 3,
    partition_bytes: int = 50,
    files: Mapping[str, bytes] | None = None,
    note: Callable[[str], None] = lambda text: None,
    skips: Skips = lambda unit, count, reports: None,
    **arguments: Any,
) -> Outcome:
    """Runs a job. Its text begins at line 2 of job.py; an input's name may contain a folder."""
    saved: dict[tuple[int, int], bytes] = {}

    def save(action: int, partition: int, data: bytes) -> None:
        saved[action, partition] = data

    with tempfile.TemporaryDirectory() as name:
        for path, data in (inputs or {}).items():
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        answer = local.run(
            {"job.py": (HEAD + text).encode(), **(files or {})},
            [Path(name, top) for top in dict.fromkeys(Path(path).parts[0] for path in inputs or {})],
            arguments,
            save=save,
            settings=Settings(partitions, reduce_partitions),
            partition_bytes=partition_bytes,
            note=note,
            skips=skips,
        )
    return Outcome(answer, saved)


def expression(code: str, inputs: Mapping[str, bytes] | None = None, **options: Any) -> Any:
    """The value of one expression over `inputs` as the job sees it, not converted to JSON."""
    told: list[Any] = []
    run(f"def job(inputs, tell, **args):\n    tell({code})\n", inputs, tell=told.append, **options)
    [value] = told
    return value


def notes(code: str, inputs: Mapping[str, bytes] | None = None, **options: Any) -> list[str]:
    """What the user is told while one expression is computed."""
    told: list[str] = []
    run(f"def job(inputs):\n    {code}\n", inputs, note=told.append, **options)
    return told


def fault(text: str, inputs: Mapping[str, bytes] | None = None, **options: Any) -> JobFault:
    """Runs a job that must end with a fault; returns the fault."""
    with pytest.raises(JobFault) as caught:
        run(text, inputs, **options)
    return caught.value
