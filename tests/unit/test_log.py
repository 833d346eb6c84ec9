"""Log lines: on one line, with who they speak of, and nothing that drives a terminal."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import log


@given(st.text(st.characters(), max_size=40))
def test_printable_is_one_harmless_line(text: str) -> None:
    shown = log.printable(text)
    assert shown.isprintable()
    assert text.isprintable() == (shown == text)
    shown.encode()


def test_control_and_direction_are_escaped() -> None:
    assert log.printable("a\nb\x1b[2J\u202ec\ud800") == "a\\nb\\x1b[2J\\u202ec\\ud800"


@pytest.fixture(autouse=True)
def logging_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # set_up closes those it finds
    yield
    root.handlers = handlers
    root.setLevel(level)


def test_a_line_names_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(verbose=True)
    token = log.context.set("peer=abcd2345")
    logging.getLogger("p2p.test").info("said %s", "hello\nWARNING forged")
    log.context.reset(token)
    (line,) = capsys.readouterr().err.splitlines()
    assert "INFO p2p.test peer=abcd2345 said hello\\nWARNING forged" in line


def test_only_warnings_unless_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(verbose=False)
    logging.getLogger("p2p.test").info("quiet")
    logging.getLogger("p2p.test").warning("loud")
    said = capsys.readouterr().err
    assert "quiet" not in said
    assert "loud" in said
