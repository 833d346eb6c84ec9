"""What a terminal shows of a job, at the widths that terminals have."""

from io import StringIO

import pytest
from msgspec.structs import replace

from p2p.commandline.terminal import LiveView
from p2p.progress import JobView, Progress, QueuedAt, StageView, VolunteerView

STAGES = [StageView("lines > flat_map > map > reduce_by_key", 300, 141, 12), StageView("reduce_by_key > save", 8, 0, 0)]
VIEW = JobView(
    name="words.py",
    state="running",
    stages=STAGES,
    volunteers=[VolunteerView("a", 4, 1, 0.0, 0, 0), VolunteerView("b", 8, 1, 0.0, 0, 0)],
    rate=66.0,
    bytes_moved=6_364_856,
    left_s=88.0,
    failures=1,
    losses=2,
)


def shown(monkeypatch: pytest.MonkeyPatch, width: int, *views: JobView) -> list[str]:
    """The lines on the screen after these."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stderr", StringIO())
    live = LiveView()
    for view in views:
        live.update(Progress(view=view))
    live.close()
    with live.console.capture() as captured:
        live.console.print(live.picture())
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_job_is_shown_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = shown(monkeypatch, width, VIEW)
    assert all(len(line) <= width - 2 for line in lines), "there is room for the ^C that the terminal echoes"
    words = " ".join(" ".join(lines[: -len(STAGES)]).split())
    assert words.endswith(
        "words.py, action 0: 2 volunteers · 12 units out · 66 units/s · 6.07 MiB moved · 1:28 left · 1 failed · 2 lost"
    )
    for line, stage in zip(lines[-len(STAGES) :], STAGES, strict=True):
        assert f"{stage.done} of {stage.units}, {stage.running} out" in line
        assert ("━" in line) == (stage.done > 0)
        assert f"{100 * stage.done // stage.units}%" in line


def test_the_stages_of_each_action_turn_while_they_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    over = replace(VIEW, stages=[replace(stage, done=stage.units, running=0) for stage in STAGES])
    _, *lines = shown(monkeypatch, 120, VIEW, over)
    assert all(line.startswith("  ") for line in lines)
    said, *lines = shown(monkeypatch, 120, VIEW, over, replace(VIEW, action=1))
    assert "words.py, action 1: " in said
    assert not any(line.startswith(" ") for line in lines)


def test_it_waits_at_more_volunteers_than_work(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, 120, replace(VIEW, queued=[QueuedAt("a", 2), QueuedAt("b", 1)]))
    assert "2 volunteers · 12 units out · queued at 2 more" in " ".join(lines)


def test_a_job_that_is_being_planned_is_not_one_that_nobody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = replace(VIEW, state="planning", stages=[], volunteers=[])
    assert "words.py, action 0: being planned · 0 volunteers" in " ".join(shown(monkeypatch, 120, planned))


def test_why_nothing_runs_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "3 peers found, none takes the job: 1 said: not a volunteer, 2 said: its core is busy [sic]"
    lines = shown(monkeypatch, 50, replace(VIEW, stages=[], why=why))
    assert why in " ".join(" ".join(lines).split())
