"""What is said of the files that cannot be cut, and which of them no unit could read."""

from pathlib import Path

import pytest

from p2p.compute.owner.dispatch import JobInput, partitioner_of
from p2p.compute.owner.input_forms import InputForms
from p2p.core.compute.plan import Plan, Source, Stage, of_command
from p2p.errors import JobError
from p2p.ids import ShareId
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.runtimes import Runtime, for_module

MIB = 1024 * 1024
PYTHON = Runtime("python-wasm", Path("python.wasm"), codecs=frozenset({"gz"}))
FILES = (("a.gz", 9 * MIB), ("b.txt", 9 * MIB), ("c.bin", 100))
INPUT = JobInput(ShareId(bytes(32)), "inputs", FILES, (), {"a.gz": "gz", "c.bin": "utf-16"})


def plan(kind: str, which: int | None = None) -> Plan:
    source = Source("files" if kind == "files" else "lines", input=which)
    return Plan(1, 0, "count", "d" * 64, (Stage(0, source, reads=(), outputs=0, label=f"{kind} > count"),))


def labelled(asked: Plan, runtime: Runtime = PYTHON, **limits: int) -> tuple[str, list[str]]:
    other = JobInput(ShareId(bytes(32)), "plain", FILES[1:2], ())
    found, said = InputForms([INPUT, other], runtime, GuestLimits(**limits)).labelled(asked)
    assert found.digest == asked.digest
    return found.stages[0].label, said


def test_stages_and_the_user_are_told_of_files_that_are_a_unit_each() -> None:
    label, said = labelled(plan("lines"))
    assert label == "lines > count (2 files unpacked, a unit each)"
    assert said == [
        "unpacked, and so one unit a file (gz, utf-16): a.gz, c.bin. More and smaller files make more units"
    ]
    assert labelled(plan("lines", 1)) == ("lines > count", [])
    assert labelled(plan("files")) == ("files > count", [])


def test_a_module_gets_them_as_they_are() -> None:
    label, said = labelled(of_command(None), for_module(Path("agrep.wasm")))
    assert label == "command (2 files given whole, a unit each)"
    assert said[0].startswith("given whole, and so one unit a file")


def test_what_no_unit_can_read_is_refused() -> None:
    with pytest.raises(
        JobError, match=r"a\.gz is read whole by one unit, as it is gz, and has 9 MiB.*8 MiB\. Give units more"
    ):
        labelled(plan("lines"), memory_bytes=8 * MIB)
    with pytest.raises(JobError, match=r"cannot decompress gz, as a\.gz needs: it has none\. Run the job with"):
        labelled(plan("lines"), Runtime("python-other", Path("python.wasm")))
    assert labelled(plan("lines", 1), memory_bytes=8 * MIB) == ("lines > count", [])


def test_they_have_a_partition_of_their_own() -> None:
    pieces = partitioner_of([INPUT], 4 * MIB).pieces(Source("lines"))
    assert [[(FILES[piece.file][0], piece.length) for piece in of] for of in pieces] == [
        [("a.gz", 9 * MIB)],
        [("b.txt", 4 * MIB)],
        [("b.txt", 4 * MIB)],
        [("b.txt", MIB)],
        [("c.bin", 100)],
    ]
    assert len(partitioner_of([INPUT], 20 * MIB).pieces(Source("files"))) == 1
