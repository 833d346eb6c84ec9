"""The tables of commands on a terminal and in a pipe: hostile names are only shown."""

import re
import sys
import time
from io import StringIO

import msgspec
import pytest

from p2p.commandline import tables
from p2p.compute.answers import JobRow, LogRow
from p2p.control.answers import FetchRow, HitRow, ListedRow, PeerRow, ShareRow
from tests.support.pages.hostile_names import HOSTILE


def print_all(name: str) -> None:
    """Prints the tables in which others have a say, with this name in all places."""
    tables.hits([HitRow("a" * 52, name, 5, None, 1, 70, "b" * 52, name, name)])
    tables.listed([ListedRow("a" * 52, name, 5, 1, name)])
    tables.answered([name], [[name]], set())
    share = ShareRow(
        id="a" * 52, name=name, bytes=5, files=1, paths=(name,), unlisted=False, fetched=True, age_s=70, stale=name,
        peers=1, link=name, pointers=(name,),
    )  # fmt: skip
    tables.shares([share])
    peer = PeerRow(
        peer="a" * 52, address=name, dialable=None, dialed=True, software=name, role="share", share="b" * 52, name=name,
        uploaded=1, downloaded=2,
    )  # fmt: skip
    tables.peers([peer])
    tables.jobs([JobRow(job="a" * 52, name=name, state="failed", ending=name)])
    tables.logs([LogRow("0.0.0", "a" * 52, name, f"{name}\n{name}")])


@pytest.mark.parametrize("is_terminal", [True, False])
def test_hostile_names_do_nothing_to_what_shows_them(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    shown = StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("COLUMNS", "200")
    for name in HOSTILE:
        print_all(name)
    left = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue())
    assert {one for one in left if not one.isprintable()} == {"\n"}
    assert "<script>window.hacked=1</script>" in left


def test_on_a_terminal_sizes_stay_whole_and_empty_columns_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", "80")
    running = FetchRow(
        id="a" * 52, name="photos", link="", out="/home/someone/Downloads/holiday", state="running", doing="fetching",
        background=True, size=32842518, done=13421772, received=0, sources=1, rate=967680.0, trouble="", created=0.0,
        ending=None, paths=(),
    )  # fmt: skip
    tables.fetches([running])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [word in shown.getvalue() for word in ("fetching", "12.8 MiB", "31.3 MiB", "945 KiB/s")] == [True] * 4
    shown.seek(0)
    shown.truncate()
    tables.fetches([msgspec.structs.replace(running, state="paused", rate=0.0)])
    assert "rate" not in shown.getvalue()
    assert "sources" not in shown.getvalue()
    assert "photos" in shown.getvalue()
    shown.seek(0)
    shown.truncate()
    tables.jobs(
        [
            JobRow(job="a" * 52, name="squares.py", state="cancelled", created=1e9),
            JobRow(job="b" * 52, name="slow.py", state="running", created=1e9, runtime="python-wasm", rate=12.5),
        ]
    )
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(1e9))
    assert [word in shown.getvalue() for word in (begun, "cancelled", "12.5")] == [True] * 3
    assert "failed" not in shown.getvalue()
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.getvalue().splitlines()) <= 80
