"""A peer that is set not to be dialled says so, and what can be done about it; it works, and has others work, all the
same."""

from pathlib import Path

import pytest

from tests.support.processes import Peer, make_file, running_tracker, until

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = ("--no-lan", "--no-dht")
PYTHON = ("--runtime", "python-wasm")


def test_it_tells_nobody_where_it_listens(origin: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node(SHOAL_NETWORK_DIALABLE="no"):
        link = origin.run("share", file).out.strip()
        assert link.startswith("shoal:s/")
        assert "/p." not in link
        status = origin.run("status", "--json").json()
        assert (status["reachability"], status["reachable_from"]) == ("not dialable", "everywhere")
        assert "no, by its settings" in origin.run("status").out
    with origin.node():
        (row,) = origin.run("shares", "--json").json()
        assert "/p." in row["link"]
        assert origin.run("status", "--json").json()["reachability"] == "unknown"


def test_whoever_was_dialled_knows_it(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node():
        link = origin.run("share", file).out.strip()
        other.run("get", link, "--out", "got")
        status = origin.run("status", "--json").json()
        assert (status["reachability"], status["reachable_from"]) == ("dialable", "this machine")
        assert "yes, from this machine" in origin.run("status").out


def test_the_setting_is_checked(origin: Peer) -> None:
    assert 'dialable = "no"  # environment' in origin.run("config", SHOAL_NETWORK_DIALABLE="no").out
    refused = origin.run("config", SHOAL_NETWORK_DIALABLE="perhaps", code=2)
    assert "SHOAL_NETWORK_DIALABLE" in refused.err


def squares(folder: Path) -> Path:
    """A job that is quick."""
    path = folder / "squares.py"
    path.write_text("def job(inputs):\n    return inputs.range(1000).map(lambda n: n * n).sum()\n")
    return path


@pytest.mark.usefixtures("compiled")
def test_it_volunteers_for_an_owner_of_whom_a_tracker_tells(origin: Peer, other: Peer, tmp_path: Path) -> None:
    with (
        running_tracker(tmp_path / "tracker") as (url, _),
        origin.node(*ALONE, "--tracker", url),
        origin.start("run", squares(tmp_path), *PYTHON, "--wait", "30s") as running,
    ):
        until(lambda: [row["state"] for row in origin.run("jobs", "--json").json()] == ["running"], "the job")
        with other.node(*ALONE, "--tracker", url, "--volunteer", "--cores", "1", SHOAL_NETWORK_DIALABLE="no"):
            outcome = running.wait()
    assert outcome.code == 0, outcome.err
    assert int(outcome.out) == sum(number * number for number in range(1000))


@pytest.mark.usefixtures("compiled")
def test_it_has_a_volunteer_work_on_an_input(origin: Peer, other: Peer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox\n" * 50_000)
    with other.node(*ALONE, "--volunteer", "--cores", "1") as volunteer:
        answer = origin.run(
            *("run", EXAMPLES / "wordcount.py", "--input", tmp_path / "text.txt", "--arg", "top=1", "--json"),
            *(*PYTHON, *ALONE, "--peer", volunteer.address, "--wait", "30s"),
            SHOAL_NETWORK_DIALABLE="no",
        ).json()
    assert answer["result"][0][1] == 50_000


@pytest.mark.usefixtures("compiled")
def test_two_of_them_are_told_that_they_cannot_meet(origin: Peer, other: Peer, tmp_path: Path) -> None:
    with running_tracker(tmp_path / "tracker") as (url, _):
        alone = (*ALONE, "--tracker", url)
        with other.node(*alone, "--volunteer", "--cores", "1", SHOAL_NETWORK_DIALABLE="no"):
            until(lambda: other.run("status", "--json").json()["trackers"][0]["announced_s"] is not None, "it")
            refused = origin.run(
                "run", squares(tmp_path), *PYTHON, "--wait", "4s", *alone, code=3, SHOAL_NETWORK_DIALABLE="no"
            )
    assert "1 cannot be dialled, and neither can this peer" in refused.err
