"""What a terminal shows of a job, at the widths that terminals have; hostile names do nothing to it."""

import re
import sys
from io import StringIO

import pytest
from msgspec.structs import replace

from p2p.bars import LiveView
from p2p.client import display
from p2p.progress import JobView, Progress, QueuedAt, StageView, VolunteerView
from tests.support.pages.hostile_names import HOSTILE

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
    return screen(*(Progress(view=view) for view in views))


def screen(*told: Progress) -> list[str]:
    live = LiveView()
    for progress in told:
        live.update(progress)
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


def test_hostile_names_do_nothing_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is written are colours, movements of the cursor, and what can be seen."""
    monkeypatch.setenv("COLUMNS", "200")
    terminal = StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in HOSTILE:
        live = LiveView()
        live.update(Progress(name=name, state="fetching", size=10, done=5, sources=1))
        live.update(Progress(name=name, state=name, trouble=name))
        live.note(name)
        live.update(Progress(view=replace(VIEW, name=name, stages=[StageView(name, 3, 1, 1)])))
        live.update(Progress(view=replace(VIEW, name=name, why=name)))
        live.close()
    left = re.sub(r"\x1b\[[0-9;?]*[ABCDGHJKhlmu]", "", terminal.getvalue())
    odd = {one for one in left if not one.isprintable()}
    assert odd <= {"\n", "\r"}, odd
    assert "\x1b]" not in terminal.getvalue()
    assert "<script>window.hacked=1</script>" in left


class Job:
    """A job that ends when it has been waited for twice."""

    progress, notes = Progress(view=VIEW), ["a note\x1b[2J"]
    outcome = failure = None
    waits = 0

    @property
    def is_done(self) -> bool:
        return self.waits > 1

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return self.is_done


def test_a_program_shows_a_job_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        terminal = StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda is_terminal=is_terminal: is_terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        display.watch(Job())
        assert ("a note\\x1b[2J" in terminal.getvalue()) == is_terminal
        assert ("2 volunteers" in terminal.getvalue()) == is_terminal


def test_what_has_no_size_after_something_that_had_one_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr", StringIO())
    done, begun = Progress(state="fetching", size=10, done=10), Progress(state="preparing")
    spinner = "⠋"
    assert "100%" in screen(done)[0]
    assert not screen(done)[0].startswith(spinner)
    assert "%" not in screen(done, begun)[0]
    assert screen(done, begun)[0].startswith(spinner)
