"""What a user of jobs is told: of errors in the words of the job's own file, of results whatever they are, of who
works."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support.fleet import LONELY, PLAIN, peers, under_way, volunteers
from tests.support.processes import PATIENCE_S, SHOAL, Peer, until

pytestmark = pytest.mark.usefixtures("compiled")


def test_errors_name_the_users_own_files(origin: Peer, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1\n2\nthree\n4\n")
    job = tmp_path / "add up.py"
    job.write_text(
        "def number(text):\n    return int(text)\n\ndef job(inputs):\n    return inputs.lines().map(number).sum()\n"
    )
    folder = tmp_path / "folder"
    (folder / "parts").mkdir(parents=True)
    (folder / "job.py").write_text(
        "from parts.words import half\ndef job(inputs):\n    return inputs.range(4).map(half).sum()\n"
    )
    (folder / "parts" / "words.py").write_text("def half(n):\n    return n / (n - 2)\n")
    typo = tmp_path / "typo.py"
    typo.write_text("def job(inputs):\n    return inputs.lines(.sum()\n")
    with volunteers(tmp_path, 1) as nodes:
        far = (*PLAIN, *peers(nodes), *LONELY, "--wait", "30s")
        for where in (far, ("--local",)):
            told = origin.run("run", job, "--input", tmp_path / "numbers.txt", *where, code=1).err
            assert "ValueError: invalid literal for int() with base 10: 'three'\n" in told
            assert "  at partition 0 of stage 0, line 2 of add up.py, in map\n  record: 'three'\n" in told
            assert '  File "add up.py", line 2, in number\n    return int(text)\n' in told
            assert "job.py" not in told
            told = origin.run("run", folder, "--partitions", "4", *where, code=1).err
            assert "  at partition 2 of stage 0, line 2 of parts/words.py, in map\n  record: 2\n" in told
            assert '  File "parts/words.py", line 2, in half\n    return n / (n - 2)\n' in told
    told = origin.run("run", typo, "--local", code=1).err
    assert "SyntaxError: invalid syntax\n  at line 2 of typo.py\n" in told
    assert '  File "typo.py", line 2\n    return inputs.lines(.sum()\n' in told


def test_skipped_records_are_told_after_the_result(origin: Peer, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1\n2\nthree\n4\n\n")
    job = tmp_path / "add up.py"
    job.write_text("def job(inputs):\n    return inputs.lines().map(int, on_error='skip').sum()\n")
    given = (job, "--input", tmp_path / "numbers.txt", "--partitions", "1")
    error = "ValueError: invalid literal for int() with base 10: "
    first = [
        {"unit": "0.0.0", "operation": "map", "line": 2, "file": "add up.py", "error": error + text, "record": text}
        for text in ("'three'", "''")
    ]
    told = (
        "2 records skipped, for which the job's code raised an exception:\n"
        f"  unit 0.0.0, map, line 2: {error}'three'; record: 'three'\n"
        f"  unit 0.0.0, map, line 2: {error}''; record: ''\n"
    )
    with volunteers(tmp_path, 1) as nodes:
        far = (*PLAIN, *peers(nodes), *LONELY, "--wait", "30s")
        done = origin.run("run", *given, *far)
        assert (done.out, told in done.err) == ("7\n", True)
        answer = origin.run("result", origin.run("jobs", "--json").json()[0]["job"], "--json").json()
        assert (answer["skipped"], answer["first_skipped"]) == (2, first)
    assert told in origin.run("run", *given, "--local").err
    answer = origin.run("run", *given, "--local", "--json").json()
    assert (answer["skipped"], answer["first_skipped"]) == (2, first)
    too_many = origin.run("run", *given, "--local", "--max-skipped", "1", code=1).err
    assert "2 records were skipped because of errors, and --max-skipped allows 1." in too_many


def test_results_of_every_kind(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "kinds.py"
    job.write_text(
        "def job(inputs):\n"
        "    pairs = inputs.range(4).map(lambda n: ((n % 2, b'k'), {n})).reduce_by_key(lambda a, b: a | b)\n"
        "    return {'pairs': dict(sorted(pairs.collect())), 'odd': [float('nan'), b'\\xff', 2**70, None]}\n"
    )
    text = tmp_path / "text.py"
    text.write_text("def job(inputs):\n    return 'as it\\nis'\n")
    long = tmp_path / "long.py"
    long.write_text("def job(inputs):\n    return ['x' * 1000] * 1000\n")
    expected = {"pairs": [[[0, "k"], [0, 2]], [[1, "k"], [1, 3]]], "odd": ["NaN", {"base64": "/w=="}, 2**70, None]}
    with volunteers(tmp_path, 1) as nodes:
        far = (*PLAIN, *peers(nodes), *LONELY, "--wait", "30s")
        for where in (far, ("--local",)):
            answer = origin.run("run", job, *where, "--json").json()
            assert answer["result"] == expected
            assert json.loads(answer["text"]) == expected
        assert origin.run("run", long, *far).json() == ["x" * 1000] * 1000
    assert origin.run("run", text, "--local").out == "as it\nis\n"


def test_a_module_named_like_pythons_own(origin: Peer, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "job.py").write_text("import random\ndef job(inputs):\n    return random.random()\n")
    (tmp_path / "folder" / "random.py").write_text("def random():\n    return 4\n")
    for where in (LONELY, ("--local",)):
        told = origin.run("run", tmp_path / "folder", *where, code=2).err
        assert "random.py has the name of a module that comes with Python" in told
        assert "Rename it" in told


def test_who_works_is_listed_and_what_carries_a_job_is_not(origin: Peer, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("a line\n")
    job = tmp_path / "endless.py"
    job.write_text(
        "def spin(line):\n    while True:\n        pass\ndef job(inputs):\n    return inputs.lines().map(spin).sum()\n"
    )
    with volunteers(tmp_path, 1) as nodes, origin.node(*LONELY) as node:
        volunteer = Peer(tmp_path / "volunteer0")
        with origin.start("run", job, *PLAIN, "--input", tmp_path / "input.txt", *peers(nodes)) as running:
            until(lambda: any(stage.running for row in under_way(origin) for stage in row.stages), "a unit")
            row, *others = origin.run("peers", "--json").json()
            (shared,) = origin.run("shares", "--json").json()
            status = origin.run("status", "--json").json()
            owner, *_ = volunteer.run("peers", "--json").json()
            assert (row["peer"], row["address"]) == (nodes[0].peer, nodes[0].address)
            assert (row["role"], row["name"], row["cores"]) == ("volunteer", "endless.py", 1)
            assert (owner["peer"], owner["role"], owner["cores"]) == (node.peer, "owner", 1)
            assert row["job"] == owner["job"]
            assert {(one["role"], one["share"]) for one in others} <= {("share", "input.txt")}
            assert row["uploaded"] > 0
            assert row["downloaded"] > 0
            assert shared["name"] == "input.txt"
            assert (status["shares"], status["shared_bytes"]) == (1, 7)
            assert f"works for endless.py ({row['job'][:8]}), 1 core" in origin.run("peers").out
            assert f"uses 1 core here for its job {row['job'][:8]}" in volunteer.run("peers").out
            origin.run("cancel", row["job"])
            assert running.wait().code == 1
        assert origin.run("peers", "--json").json() == []
        assert origin.run("shares", "--json").json() == []


def test_a_result_does_not_steer_the_terminal(tmp_path: Path) -> None:
    job = tmp_path / "title.py"
    job.write_text(r"def job(inputs): return '\x1b]0;title\x07\x9b2J' + 'one\ttwo\r\nthree'")
    ours, theirs = pty.openpty()
    try:
        command = [*SHOAL, "--home", str(tmp_path / "home"), "run", str(job), "--local"]
        subprocess.run(command, stdout=theirs, stderr=subprocess.DEVNULL, timeout=PATIENCE_S, check=True)
        told = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert told.splitlines() == [r"\x1b]0;title\x07\x9b2Jone" + "\ttwo" + r"\r", "three"]
