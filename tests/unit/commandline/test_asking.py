"""How a link is printed."""

from io import StringIO

import pytest

from p2p.commandline.asking import for_people
from p2p.ids import ShareId
from p2p.wire.link import Link

LINK = str(Link(ShareId(bytes(32)), "a name", trackers=("http://tracker.example:8750",)))


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_shown_the_command_that_fetches_and_a_program_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", StringIO())
    assert for_people(LINK) == LINK
    monkeypatch.setattr("sys.stdout", Terminal())
    assert for_people(LINK) == f"shoal get {LINK}"
    assert for_people("shoal:PEER/it's") == """shoal get 'shoal:PEER/it'"'"'s'"""
