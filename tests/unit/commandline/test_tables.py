"""The tables of commands on a terminal and in a pipe: hostile names are only shown."""

import re
import sys
from io import StringIO

import pytest

from p2p.commandline import tables
from p2p.compute.answers import JobRow, LogRow
from p2p.control.answers import HitRow, ListedRow, PeerRow, ShareRow
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
