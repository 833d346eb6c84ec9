"""Jobs from the command line: real peers that volunteer, and a job's owner among them."""

import resource
import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.support.fleet import LONELY, PLAIN, peers, under_way, volunteers
from tests.support.processes import PATIENCE_S, SHOAL, Peer, until

pytestmark = pytest.mark.usefixtures("compiled")

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW_POINTS = ("--arg", "points=1000000")
FOLDERS = ("action-001", "action-002")
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "the", "sea", "is", "deep"]


def text_file(path: Path, lines: int) -> Counter[str]:
    words = [[WORDS[(line * 7 + n * 3) % len(WORDS)] for n in range(6)] for line in range(lines)]
    path.write_text("".join(" ".join(line) + "\n" for line in words))
    return Counter(word for line in words for word in line)


def test_words_are_counted_as_a_plain_count_has_them(origin: Peer, tmp_path: Path) -> None:
    counts = text_file(tmp_path / "text.txt", 20_000)
    with volunteers(tmp_path, 2) as nodes:
        outcome = origin.run(
            *("run", EXAMPLES / "wordcount.py", "--input", tmp_path / "text.txt", "--arg", "top=5", "--json"),
            *(*peers(nodes), *LONELY, "--wait", "30s"),
        )
        answer = outcome.json()
        assert answer["state"] == "done"
        assert sorted(count for _, count in answer["result"]) == sorted((count for _, count in counts.most_common(5)))
        assert all(counts[word] == count for word, count in answer["result"])
        assert "every volunteer that takes the job is believed" in outcome.err
    # Nothing of the job is left at its owner, and no bundle at a volunteer.
    assert list((origin.home / "jobs").iterdir()) == []
    assert not list((tmp_path / "volunteer0" / "volunteer" / "jobs").glob("*"))


def test_a_job_without_input(origin: Peer, tmp_path: Path) -> None:
    with volunteers(tmp_path, 1) as nodes:
        out = origin.run("run", EXAMPLES / "pi.py", *peers(nodes), *LONELY, "--wait", "30s", *FEW_POINTS).out
        assert abs(float(out.strip()) - 3.14159) < 0.05


def test_a_volunteer_killed_in_the_middle_costs_only_its_units(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "slow.py"
    job.write_text(
        "def work(n):\n"
        "    return sum(i * i % 7 for i in range(60_000)) * 0 + n\n"
        "def job(inputs):\n"
        "    return inputs.range(120).map(work).sum()\n"
    )
    with volunteers(tmp_path, 2) as nodes, origin.node(*LONELY):
        with origin.start(
            "run", job, *PLAIN, "--partitions", "60", "--json", *peers(nodes), "--wait", "60s"
        ) as running:
            until(lambda: bool(under_way(origin)) and under_way(origin)[0].units_done > 3, "some units done")
            nodes[0].send(signal.SIGKILL)
            outcome = running.wait()
        assert outcome.code == 0, outcome.err
        assert '"result": 7140' in outcome.out


def test_what_the_job_does_wrong_is_told_with_record_and_line(origin: Peer, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1\n2\nthree\n4\n")
    job = tmp_path / "broken.py"
    job.write_text("def job(inputs):\n    return inputs.lines().map(int).sum()\n")
    with volunteers(tmp_path, 2) as nodes:
        outcome = origin.run(
            "run", job, "--input", tmp_path / "numbers.txt", *peers(nodes), *LONELY, "--wait", "30s", code=1
        )
    assert "ValueError" in outcome.err
    assert "three" in outcome.err
    assert "line 2" in outcome.err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def job(inputs:\n", "SyntaxError"),
        ("x = 1\n", "no function job"),
        ("import nothing_like_it\n", "nothing_like_it"),
    ],
)
def test_a_job_that_cannot_be_planned(origin: Peer, tmp_path: Path, source: str, says: str) -> None:
    job = tmp_path / "bad.py"
    job.write_text(source)
    assert says in origin.run("run", job, *LONELY, code=1).err


@pytest.mark.parametrize(
    "option", [("--unit-time", "0s"), ("--unit-memory", "5GiB"), ("--partitions", "100001"), ("--partitions", "-1")]
)
def test_bounds_that_nobody_grants_are_errors_of_usage(origin: Peer, option: tuple[str, str]) -> None:
    assert option[0] in origin.run("run", EXAMPLES / "pi.py", *LONELY, *option, code=2).err


def test_nobody_to_work(origin: Peer, other: Peer, tmp_path: Path) -> None:
    job = EXAMPLES / "pi.py"
    outcome = origin.run("run", job, *LONELY, "--wait", "1s", code=3)
    assert "no volunteers found yet" in outcome.err
    named = origin.run("run", job, *LONELY, "--peer", "127.0.0.1:1", "--wait", "1s", code=3)
    assert "127.0.0.1:1 cannot be reached" in named.err
    with other.node(*LONELY) as node:
        refused = origin.run("run", job, *LONELY, "--peer", node.address, "--wait", "3s", code=3)
        assert "not a volunteer" in refused.err
        assert "--volunteer" in other.run("volunteer", "status", code=2).err


def test_pause_and_resume(origin: Peer, other: Peer) -> None:
    with other.node("--volunteer", "--cores", "1", *LONELY) as node:
        said = other.run("volunteer", "status").out
        assert "1 core" in said
        assert "inputs kept 0 B of at most 10 GiB" in " ".join(said.split())
        assert other.run("volunteer", "pause", "--json").json()["paused"]
        run = ("run", EXAMPLES / "pi.py", *LONELY, "--peer", node.address)
        assert "paused by its user" in origin.run(*run, "--wait", "3s", code=3).err
        assert not other.run("volunteer", "resume", "--json").json()["paused"]
        assert origin.run(*run, "--wait", "30s", *FEW_POINTS).out.startswith("3.1")


def test_while_a_job_is_planned_nobody_is_missed(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "thinks.py"
    job.write_text("def job(inputs):\n    while True:\n        pass\n")
    with origin.start("run", job, *PLAIN, *LONELY) as running:
        running.says("the job is being planned")
        assert "nothing is running" not in running.end().err


def test_interrupted_and_cancelled(origin: Peer) -> None:
    with origin.start("run", EXAMPLES / "pi.py", *LONELY) as running:
        running.says("nothing is running")
        outcome = running.end()
        assert outcome.code == 130
        assert "shoal resume" in outcome.err
    listed = origin.run("jobs").out
    assert "stopped" in listed
    with origin.node(*LONELY), origin.start("run", EXAMPLES / "pi.py") as running:
        until(lambda: bool(under_way(origin)), "the job under way")
        job = under_way(origin)[0].job
        origin.run("cancel", job[:8])
        outcome = running.wait()
        assert outcome.code == 1
        assert "cancelled" in outcome.err
        assert under_way(origin) == []
        states = {row["job"]: row["state"] for row in origin.run("jobs", "--json").json()}
        assert states.pop(job) == "cancelled"
        (stopped,) = states
        assert states == {stopped: "stopped"}
        assert [path.name for path in (origin.home / "jobs").iterdir()] == [stopped]
        origin.run("cancel", stopped)
        assert "cancelled already" in origin.run("cancel", stopped, code=2).err
    assert list((origin.home / "jobs").iterdir()) == []
    assert origin.run("shares", "--json").json() == []
    assert "No jobs have an id" in origin.run("run", "--resume", "zzz", code=2).err


COUNTED = """\
def work(n):
    print("unit", n)
    return sum(i * i % 7 for i in range(60_000)) * 0 + n


def job(inputs, rounds: int = 2):
    total = 0
    for _ in range(rounds):
        total += inputs.range(60).map(work).sum()
    return total
"""


def test_a_killed_owner_goes_on_and_repeats_nothing_it_had(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "counted.py"
    job.write_text(COUNTED)
    with volunteers(tmp_path, 2) as nodes:
        with (
            origin.node(*LONELY) as node,
            origin.start("run", job, *PLAIN, "--partitions", "60", *peers(nodes)) as running,
        ):
            # In the second action: so that a result, and units, are there to go on with.
            until(lambda: any(row.units_done > 80 for row in under_way(origin)), "more than an action done")
            node.send(signal.SIGKILL)
            assert running.wait().code == 1
            node.wait()
        (row,) = origin.run("jobs", "--json").json()
        assert row["state"] == "stopped"
        before = printed(origin, row["job"])
        with origin.node(*LONELY):
            outcome = origin.run("run", "--resume", row["job"][:8], "--json")
        answer = outcome.json()
        assert answer["result"] == 2 * sum(range(60))
        known = 120 - answer["units"]
        assert known > 60
        after = printed(origin, row["job"])
        # Logs are written a little later than results: what was printed twice was not in the journal.
        again = sum((after - before).values())
        assert again <= answer["units"] + 2
        assert [row["state"] for row in origin.run("jobs", "--json").json()] == ["done"]
        assert "there is nothing left to do" in origin.run("run", "--resume", row["job"], code=2).err
    assert list((origin.home / "jobs").iterdir()) == []


def printed(peer: Peer, job: str) -> Counter[str]:
    return Counter(row["unit"] for row in peer.run("logs", job, "--json").json())


def test_what_units_print(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "prints.py"
    job.write_text(
        "print('loaded')\n"
        "def work(n):\n"
        "    print('number', n)\n"
        "    return n\n"
        "def job(inputs):\n"
        "    print('planned')\n"
        "    return inputs.range(4).map(work).sum()\n"
    )
    with volunteers(tmp_path, 1) as nodes:
        answer = origin.run("run", job, "--partitions", "4", "--json", *peers(nodes), *LONELY, "--wait", "30s").json()
    assert answer["result"] == 6
    out = origin.run("logs", answer["job"][:8]).out
    assert "plan, peer" in out
    assert "planned" in out
    assert "0.0.3, peer" in out
    assert "number 3" in out
    one = origin.run("logs", answer["job"][:8], "0.0.2").out
    assert "number 2" in one
    assert "number 3" not in one
    assert "ACTION.STAGE.PARTITION" in origin.run("logs", answer["job"], "first", code=2).err


def test_saved_files_become_a_share_or_go_where_they_are_wanted(origin: Peer, other: Peer, tmp_path: Path) -> None:
    text_file(tmp_path / "text.txt", 500)
    job = tmp_path / "upper.py"
    job.write_text('def job(inputs):\n    return inputs.lines().map(str.upper).save("text")\n')
    expected = (tmp_path / "text.txt").read_text().upper()
    with volunteers(tmp_path, 1) as nodes, origin.node(*LONELY) as node:
        run: list[str | Path] = ["run", job, "--input", tmp_path / "text.txt", *peers(nodes), "--wait", "30s"]
        link = origin.run(*run).out.strip()
        assert link.startswith("shoal:s/")
        fetched = other.run("get", link, "--out", tmp_path / "got", "--peer", node.address, *LONELY).out.strip()
        assert (Path(fetched) / "part-00000").read_text() == expected
        paths = origin.run(*run, "--out", tmp_path / "out").out.split()
        assert paths == [str(tmp_path / "out" / "part-00000")]
        assert Path(paths[0]).read_text() == expected
        (tmp_path / "mine").touch()
        assert Path(paths[0]).stat().st_mode == (tmp_path / "mine").stat().st_mode, "it is a file as any other"


def test_a_stopped_job_is_given_a_volunteer(origin: Peer, tmp_path: Path) -> None:
    assert origin.run("run", EXAMPLES / "pi.py", *PLAIN, *LONELY, "--arg", "points=1000", "--wait", "100ms", code=3)
    (row,) = origin.run("jobs", "--json").json()
    with volunteers(tmp_path, 1) as nodes:
        assert float(origin.run("run", "--resume", row["job"], *peers(nodes), *LONELY).out) > 2


def test_a_job_that_saves_twice_and_returns_something(origin: Peer, tmp_path: Path) -> None:
    text_file(tmp_path / "text.txt", 500)
    lines = (tmp_path / "text.txt").read_text()
    job = tmp_path / "cases.py"
    job.write_text(
        "def job(inputs, twice: bool = True, fail=0):\n"
        "    lines = inputs.lines()\n"
        "    count = lines.count()\n"
        "    lines.map(str.upper).save('text')\n"
        "    if twice:\n"
        "        lines.map(str.lower).save('text')\n"
        "    return count + fail\n"
    )
    run = ("run", job, "--input", tmp_path / "text.txt")
    with volunteers(tmp_path, 1) as nodes:
        for name, where in {"far": (*peers(nodes), *LONELY, "--wait", "30s"), "here": ("--local",)}.items():
            out = tmp_path / name
            count, *paths = origin.run(*run, *where, "--out", out).out.split()
            assert count == "500"
            upper, lower = ("".join(map(Path.read_text, sorted((out / part).iterdir()))) for part in FOLDERS)
            assert (upper, lower) == (lines.upper(), lines.lower())
            assert paths == [str(path) for part in FOLDERS for path in sorted((out / part).iterdir())]
            # What is there is not mixed with another result, and is no reason to begin a job.
            refused = origin.run(*run, *where, "--out", out, code=2).err
            assert f"{out} has an earlier result (action-001): name another folder" in refused
            assert "job " not in refused
            once = tmp_path / f"{name} once"
            origin.run(*run, *where, "--arg", "fail=no", "--out", once, code=1)  # leaves nothing in the way
            answer = origin.run(*run, *where, "--arg", "twice=false", "--out", once, "--json").json()
            assert answer["paths"] == list(map(str, sorted(once.iterdir())))
            assert "".join(path.read_text() for path in map(Path, answer["paths"])) == lines.upper()
            assert answer["text"] == "\n".join(["500", *answer["paths"]])
            assert "has an earlier result (part-00000)" in origin.run(*run, *where, "--out", once, code=2).err


def test_an_input_that_its_user_shares_stays_as_it_is(origin: Peer, tmp_path: Path) -> None:
    text_file(tmp_path / "text.txt", 50)
    with volunteers(tmp_path, 1) as nodes, origin.node(*LONELY):
        origin.run("share", tmp_path / "text.txt")
        before = origin.run("shares", "--json").json()
        origin.run("run", EXAMPLES / "wordcount.py", "--input", tmp_path / "text.txt", *peers(nodes), "--wait", "30s")
        after = origin.run("shares", "--json").json()
    assert [(row["id"], row["unlisted"]) for row in after] == [(row["id"], row["unlisted"]) for row in before]


def test_a_module_as_a_job(origin: Peer, tmp_path: Path) -> None:
    lines = [f"{n} {word}" for n in range(3_000) for word in ("shoal", "shole", "fish")]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    module = EXAMPLES / "wasm" / "agrep.wasm"
    with volunteers(tmp_path, 2) as nodes:
        run: list[str | Path] = [
            "run",
            module,
            "--input",
            tmp_path / "text.txt",
            *peers(nodes),
            *LONELY,
            "--wait",
            "60s",
        ]
        outcome = origin.run(*run, "--arg", "word=shoal", "--arg", "errors=2", "--out", tmp_path / "out", "--json")
        answer = outcome.json()
        found = "".join(Path(path).read_text() for path in answer["paths"]).splitlines()
        assert found == [line for line in lines if "fish" not in line]
        refused = origin.run(*run, "--arg", "errors=2", code=1).err
        assert "--word" in refused
        printed = origin.run("logs", answer["job"][:8]).out
        assert "part 0 of 2" in printed
        assert "part 1 of 2" in printed
        again = origin.run(
            *run, "--arg", "word=shoal", "--partitions", "5", "--out", tmp_path / "five", "--json"
        ).json()
        assert len(again["paths"]) == 5
        assert "of 5" in origin.run("logs", again["job"][:8]).out
    (tmp_path / "no.wasm").write_bytes(b"not a module")
    assert "cannot be compiled" in origin.run("run", tmp_path / "no.wasm", *LONELY, code=1).err


def test_runtimes_and_trust(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("RUNTIME = 'ruby-wasm'\ndef job(inputs):\n    return 1\n")
    assert "no runtime 'ruby-wasm'" in origin.run("run", job, *LONELY, code=2).err
    job.write_text("def job(inputs):\n    return 1\n")
    outcome = origin.run("run", job, *LONELY, "--runtime", "python-wasm", "--trust", "own")
    assert outcome.out.strip() == "1"
    assert "runtime python-wasm" in outcome.err
    for trust in ("audit", "quorum=3"):
        assert "not in this version" in origin.run("run", job, "--trust", trust, code=2).err
    assert "the only choice is own" in origin.run("run", job, "--trust", "everybody", code=2).err
    assert "Give a job to run" in origin.run("run", code=2).err


def test_here_and_without_a_peer(origin: Peer, tmp_path: Path) -> None:
    counts = text_file(tmp_path / "text.txt", 2_000)
    run = ("run", "--local")
    outcome = origin.run(*run, EXAMPLES / "wordcount.py", "--input", tmp_path / "text.txt", "--arg", "top=3", "--json")
    assert [count for _, count in outcome.json()["result"]] == [count for _, count in counts.most_common(3)]
    assert "in this process" in outcome.err
    assert not origin.home.exists()
    job = tmp_path / "broken.py"
    job.write_text("def job(inputs):\n    return inputs.lines().map(int).sum()\n")
    outcome = origin.run(*run, job, "--input", tmp_path / "text.txt", code=1)
    assert "ValueError" in outcome.err
    assert "record: " in outcome.err
    assert "does not exist" in origin.run(*run, job, "--input", tmp_path / "nowhere", code=2).err


def test_a_result_that_finds_no_room_here_leaves_nothing(origin: Peer, tmp_path: Path) -> None:
    job = tmp_path / "large.py"
    job.write_text("def job(inputs, size=1): inputs.range(1).map(lambda n: 'x' * size).save('text')\n")
    run, out = ("run", job, "--local", "--out", tmp_path / "out"), tmp_path / "out" / "part-00000"
    # What a process may write of a file stands for the room on the disk.
    command = [*SHOAL, "--home", str(origin.home), *map(str, run), "--arg", f"size={1 << 20}"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    full = subprocess.run(command, preexec_fn=limit, capture_output=True, timeout=PATIENCE_S, check=False)
    assert full.returncode == 1
    assert b"File too large" in full.stderr
    assert origin.run(*run).out.strip() == str(out)
    assert out.read_text() == "x\n"


def test_volunteers_are_found_over_the_dht(origin: Peer, other: Peer, tmp_path: Path) -> None:
    with other.node("--no-lan") as first:
        join = ("--join", first.address, "--no-lan")
        with Peer(tmp_path / "volunteer").node("--volunteer", "--cores", "1", *join), origin.node(*join):
            out = origin.run("run", EXAMPLES / "pi.py", "--wait", "30s", *FEW_POINTS).out
            assert abs(float(out.strip()) - 3.14159) < 0.05
