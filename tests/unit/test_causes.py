"""Advice about errors of the system: about the cause wherever it came up, and no text without it."""

import errno
import os
import re
import resource
import sqlite3
from pathlib import Path

import pytest

import p2p
import tracker
from p2p import causes, sqlite
from p2p.store.explaining import explanation

GENERAL = {
    errno.ENOSPC: "Make room on that disk",
    errno.EDQUOT: "Make room on that disk",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "ulimit -n",
    errno.ENOMEM: "when this machine does less",
    errno.EROFS: "for writing",
    errno.EIO: "about to fail",
}
OTHERWISE = "Move it away"


def failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(("number", "said"), GENERAL.items())
def test_what_has_nothing_to_do_with_the_place_is_told_wherever_it_came_up(number: int, said: str) -> None:
    told = causes.explained(failure(number), OTHERWISE)
    assert told.startswith(f"{os.strerror(number)}. ")
    assert said in told
    assert OTHERWISE not in told
    database = str(sqlite.explained(failure(number), "The database", Path("/home/x"), "all is lost"))
    assert said in database
    assert "move it away" not in database
    if number not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        assert said in str(explanation(failure(number), Path("/out")))


def test_missing_rights_and_other_causes() -> None:
    for number in (errno.EACCES, errno.EPERM):
        assert causes.MAY_USE in causes.explained(failure(number), OTHERWISE)
        assert causes.explained(failure(number), OTHERWISE, forbidden="Ask.").endswith(". Ask.")
    assert causes.explained(failure(errno.ENOENT), OTHERWISE).endswith(f". {OTHERWISE}")
    assert causes.explained(failure(errno.ENOENT)).endswith("directory.")
    assert causes.explained(OSError("odd")) == "odd."
    assert causes.what(OSError()) == "OSError"


@pytest.mark.parametrize(
    ("code", "said"), [(sqlite3.SQLITE_FULL, "Make room"), (sqlite3.SQLITE_CORRUPT, "move it away")]
)
def test_a_database_is_moved_away_only_if_it_is_damaged(code: int, said: str) -> None:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    told = str(sqlite.explained(error, "The database", Path("/home/x"), "all is lost"))
    assert said in told
    assert ("move it away" in told) is (code == sqlite3.SQLITE_CORRUPT)


def test_a_database_that_cannot_be_opened_says_whether_too_many_files_are_open() -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    assert "must be able to write" in str(sqlite.explained(error, "The database", Path("x"), "all is lost"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
        assert "ulimit -n" in str(sqlite.explained(error, "The database", Path("x"), "all is lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_a_wall_stops_is_explained_if_it_is_the_machines() -> None:
    assert causes.of_the_machine(failure(errno.EMFILE)).endswith("does less.")
    assert causes.of_the_machine(failure(errno.ENOENT)) == causes.of_the_machine(ValueError("x")) == ""


def test_all_texts_about_errors_of_the_system_are_made_here() -> None:
    """Whoever writes `error.strerror` into a text of their own forgets the full disk."""
    allowed = {"p2p/causes.py", "p2p/net/http.py"}  # that is an error of name resolution
    for package in (p2p, tracker):
        top = Path(package.__path__[0])
        for path in top.rglob("*.py"):
            name = path.relative_to(top.parent).as_posix()
            if name not in allowed and not name.startswith("p2p/jobs/"):
                assert not re.search(r"\.strerror\b(?!\()", path.read_text()), name
