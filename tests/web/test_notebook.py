"""What a notebook shows of answers, values that came back, and jobs: hostile names stay names, in Chromium too."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from p2p.client import display
from p2p.compute.answers import JobAnswer, JobRow, LogRow
from p2p.control.answers import GetAnswer, HitRow, PeerRow, ShareRow
from p2p.errors import JobError, ShoalError
from p2p.progress import JobView, Progress, StageView, VolunteerView
from p2p.site import notebook
from p2p.site.shown import Rows
from tests.support.pages.browser import complaints, executed, requested, strange
from tests.support.pages.hostile_names import HOSTILE

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"


class Job(msgspec.Struct):
    """A job as it is followed."""

    progress: Progress
    notes: list[str] = []
    is_done: bool = False
    failure: ShoalError | None = None
    outcome: Any = None

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_done


def job(name: str, **values: Any) -> str:
    view = JobView(
        job="a" * 52,
        name=name,
        state="running",
        stages=[StageView(name, 10, 4, 2)],
        volunteers=[VolunteerView("b" * 52, 1, 1, 1.0, 10, 10)],
        left_s=70.0,
        why=values.pop("why", ""),
    )
    return display.html(Job(Progress(name=name, view=view), **values))


def everything(name: str) -> list[str]:
    """HTML of all kinds in which the name is wherever somebody else has a say."""
    share = ShareRow(
        id="a" * 52, name=name, bytes=5, files=1, paths=(name,), unlisted=False, fetched=True, age_s=70, stale=name,
        peers=1, link=name, pointers=(name,),
    )  # fmt: skip
    hit = HitRow(
        id=name, name=name, bytes=5, files=None, peers=1, age_s=None, signer=name, matched=name, link=name
    )  # fmt: skip
    peer = PeerRow(
        peer=name, address=name, dialable=None, dialed=True, software=name, role="share", name=name, uploaded=1,
        downloaded=2,
    )  # fmt: skip
    answer = JobAnswer(job="a" * 52, state="done", result={name: [name, {name: name}]}, paths=(name,))
    return [
        Rows([share])._repr_html_(),
        Rows([hit, hit])._repr_html_(),
        Rows([peer])._repr_html_(),
        Rows([LogRow("0.0.0", name, name, f"{name}\n{name}")])._repr_html_(),
        Rows([name, [name], {name: name}, name.encode(), (name, None)])._repr_html_(),
        answer._repr_html_(),
        GetAnswer((name,), 1, 1, 1.0, {name: 5})._repr_html_(),
        job(name, notes=[name]),
        job(name, why=name),
        job(name, is_done=True, failure=JobError(f"{name}\n  {name}")),
        job(name, is_done=True, outcome=answer),
        job(name, is_done=True, outcome=Rows([name])),
    ]


def test_hostile_names_are_only_shown(chromium: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "notebook.html"
    parts = [part for name in HOSTILE for part in everything(name)]
    page.write_text("<!doctype html><meta charset=utf-8><main>" + "<hr>".join(parts) + "</main>", encoding="utf-8")
    chromium.get(page.as_uri())
    assert not executed(chromium)
    assert strange(chromium) == []
    assert requested(chromium) == {page.as_uri()}
    assert complaints(chromium) == []
    assert len(chromium.find_elements(By.CSS_SELECTOR, "main > hr")) == len(parts) - 1
    text = chromium.find_element(By.CSS_SELECTOR, "main").text
    assert "<img src=x onerror=window.hacked=1>.png" in text
    assert not set(text) & set("\u202e\u2066\u200b\x1b\x9b\u061c\u200f\x07")


def test_tables_have_what_people_read() -> None:
    share = ShareRow(
        id="a" * 52, name="sea", bytes=3 << 20, files=1200, paths=("/x", "/y"), unlisted=False, fetched=False, age_s=70,
        stale=None, peers=1, link="shoal:" + "b" * 90, pointers=(),
    )  # fmt: skip
    found = Rows([share] * 120)._repr_html_()
    for text in (f'title="{"a" * 52}">{"a" * 12}…', "3 MiB", "1,200", "1:10", "/x<br>/y", "and 20 more"):
        assert text in found
    assert "stale" not in found
    assert "unlisted" not in found
    assert "{&#39;a&#39;: 1}" in Rows([{"a": 1}])._repr_html_()
    assert len(Rows(["x" * 10_000_000, list(range(1_000_000))])._repr_html_()) < 3000
    rows = Rows([JobRow(job="a" * 52, name="sums", state="done", rate=1 / 3, created=1e9)])._repr_html_()
    for text in ("<bdi>sums</bdi>", "0.333", "9 Sep, 01:46"):
        assert text in rows
    assert "volunteers" not in rows
    assert "\N{OPEN BOX}" not in rows
    assert Rows([])._repr_html_() == "<p>no rows</p>"
    answer = GetAnswer(("x",), 1, 1, 0.4, {})._repr_html_()
    assert "0.4 s" in answer
    assert "512 B/s" in Rows([Progress(state="fetching", size=4096, rate=512.0)])._repr_html_()
    shown = job("squares.py")
    assert '<progress value="4" max="10">' in shown
    assert "1 volunteer, 0 B moved, 1:10 left" in shown


def test_pictures_of_guests_are_png_or_jpeg_and_come_from_nowhere_else(tmp_path: Path) -> None:
    for data, kind in ((PNG, "png"), (JPEG, "jpeg")):
        shown = Rows([data + b"\"'><script>"])._repr_html_()
        assert f'<img src="data:image/{kind};base64,' in shown
        assert "script" not in shown
    for data in (b"<svg onload=x>", b"GIF89a", PNG[:-1], b" " + PNG, PNG + bytes(notebook.PICTURE_BYTES)):
        assert "<img" not in Rows([data])._repr_html_()
    (tmp_path / "plot.svg").write_bytes(PNG)
    (tmp_path / "page.png").write_bytes(b"<svg>")
    paths = tuple(str(tmp_path / name) for name in ("plot.svg", "page.png", "missing", "."))
    assert JobAnswer(job="", state="done", result=None, paths=paths)._repr_html_().count("<img") == 1


def test_a_job_updates_its_table_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a notebook; IPython in a terminal says once what it is."""
    running, shown = Job(Progress(name="squares"), outcome=Rows([5])), []
    display.show(running)
    assert capsys.readouterr().out.startswith("Job(")

    class Handle:
        def update(self, bundle: dict[str, str], *, raw: bool) -> None:
            shown.append(bundle["text/html"])
            running.is_done = True

    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: Handle())
    monkeypatch.setattr(display, "_in_notebook", lambda: True)
    display.show(running)
    for thread in threading.enumerate():
        if thread.name == "shoal-display":
            thread.join(10)
    assert len(shown) == 2
    assert "done" in shown[-1]
