"""The folder that a fetch makes: it is new, or was made for the same share, whatever the names and whenever killed."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from p2p import sqlite
from p2p.core.shares.local_names import Told
from p2p.errors import StorageError, TargetExists
from p2p.store.database import MIGRATIONS, Database
from p2p.store.fetches import Fetches
from p2p.store.target import Target
from tests.support.small_shares import Share, contents, noise, settle, uncheck

SHARE = Share({"authorized_keys": b"theirs", "deep/.git/config": b"run", "empty": b""}, name=".ssh")
OTHER = Share({"a": b"a"}, name="holiday")
LARGE = Share({"a": noise(1, 400_000), ".envrc": noise(2, 400_000)}, name="data")


@contextmanager
def opened(records: Fetches, out: Path, told: Told, share: Share = SHARE) -> Iterator[Target]:
    everything = range(len(share.manifest.entries))
    record = share.record(records, out)
    with closing(Target(share.layout, out, everything, record, overwrite=False, told=told)) as target:
        target.survey(uncheck)
        target.make_empty()
        yield target


def fetch(records: Fetches, out: Path, told: Told, share: Share = SHARE) -> None:
    with opened(records, out, told, share) as target:
        share.finish(target)
        target.record.forget()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The home folder of somebody who has keys."""
    (tmp_path / "out/.ssh").mkdir(parents=True, mode=0o700)
    (tmp_path / "out/.ssh/authorized_keys").write_bytes(b"mine")
    return tmp_path / "out"


MINE = {".ssh/authorized_keys": b"mine"}
FETCHED = {"authorized_keys": b"theirs", "deep/_git/config": b"run", "empty": b""}


def below(name: str) -> dict[str, bytes | None]:
    return {f"{name}/{path}": data for path, data in FETCHED.items()}


def test_the_folder_has_the_name_that_was_told(records: Fetches, out: Path) -> None:
    fetch(records, out, Told("holiday"))
    assert contents(out) == MINE | below("holiday")
    fetch(records, out, Told("_ssh"))
    assert contents(out) == MINE | below("holiday") | below("_ssh")


def test_a_folder_that_was_there_is_gone_into_only_if_the_user_says_so(records: Fetches, out: Path) -> None:
    (out / "holiday").mkdir()
    with pytest.raises(TargetExists, match="--into-existing"):
        fetch(records, out, Told("holiday"))
    with pytest.raises(TargetExists, match="--into-existing"):  # what the first try has recorded changes nothing
        fetch(records, out, Told("holiday"))
    assert contents(out) == MINE | {"holiday": None}
    fetch(records, out, Told("holiday", into_existing=True))
    assert contents(out) == MINE | below("holiday")
    with pytest.raises(TargetExists, match="--into-existing"):  # it was not made by the fetch, today as before
        fetch(records, out, Told("holiday"))


def test_another_share_does_not_go_into_the_same_folder(records: Fetches, out: Path) -> None:
    fetch(records, out, Told("holiday"))
    fetch(records, out, Told("holiday"))
    with pytest.raises(TargetExists, match="--into-existing"):
        fetch(records, out, Told("holiday"), OTHER)
    assert contents(out) == MINE | below("holiday")


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_folder_is_never_gone_into(records: Fetches, out: Path, link: bool) -> None:
    if link:
        (out / "holiday").symlink_to(".ssh")
    else:
        (out / "holiday").write_bytes(b"mine too")
    for told in (Told("holiday"), Told("holiday", into_existing=True)):
        with pytest.raises(TargetExists, match="leads through a link"):
            fetch(records, out, told)
    assert (out / ".ssh/authorized_keys").read_bytes() == b"mine"


def test_a_share_without_files_makes_no_folder_with_a_dot_either(records: Fetches, out: Path) -> None:
    fetch(records, out, Told("_config"), Share({}, name=".config"))
    assert contents(out) == MINE | {"_config": None}


@pytest.mark.parametrize("dies_in", ["mkdir", "keep_top"])
def test_a_fetch_that_is_killed_between_record_and_folder_goes_on(
    records: Fetches, out: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    class Killed(Exception):
        """The process ends here."""

    def die(*arguments: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr("os.mkdir" if dies_in == "mkdir" else "p2p.store.fetches.FetchRecord.keep_top", die)
        fetch(records, out, Told("holiday"), OTHER)
    fetch(records, out, Told("holiday"), OTHER)
    assert contents(out) == MINE | {"holiday/a": b"a"}


def test_of_two_fetches_to_one_name_the_first_keeps_its_folder(
    records: Fetches, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, ahead = os.mkdir, [OTHER]

    def late(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if name == "holiday" and ahead:
            fetch(records, out, Told("holiday"), ahead.pop())
        make(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", late)
    with pytest.raises(TargetExists, match="--into-existing"):
        fetch(records, out, Told("holiday"))
    fetch(records, out, Told("holiday"), OTHER)
    with pytest.raises(TargetExists, match="--into-existing"):
        fetch(records, out, Told("holiday"))
    assert contents(out) == MINE | {"holiday/a": b"a"}


def test_a_folder_that_its_user_made_after_a_kill_is_not_gone_into(
    records: Fetches, out: Path, database: Database
) -> None:
    fetch(records, out, Told("holiday"), OTHER)
    with database.transaction() as connection:
        connection.execute("UPDATE made SET done = 0")
    with pytest.raises(TargetExists, match="--into-existing"):
        fetch(records, out, Told("holiday"), OTHER)


def test_a_fetch_goes_on_under_the_names_with_which_it_began(records: Fetches, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(records, out, Told("photos"), LARGE) as target:
        LARGE.write(target, 0)
        LARGE.write(target, 2)
        settle(target)
    with opened(records, out, Told("pictures"), LARGE) as target:
        assert (target.record.has(0), target.record.has(2)) == (True, True)
        LARGE.finish(target)
    assert contents(out) == {"photos/a": noise(1, 400_000), "photos/_envrc": noise(2, 400_000)}


def test_names_that_are_trusted_now_are_those_of_the_share(records: Fetches, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(records, out, Told("data"), LARGE) as target:
        LARGE.write(target, 2)
        settle(target)
    with opened(records, out, Told("data", trusted=True), LARGE) as target:
        LARGE.finish(target)
    assert (out / "data/.envrc").read_bytes() == noise(2, 400_000)


def test_names_that_an_earlier_version_began_with_are_harmless_now(records: Fetches, tmp_path: Path) -> None:
    out = tmp_path / "out"
    share = Share(LARGE.files, name=".data")
    with closing(share.record(records, out)) as record:
        record.keep_names({})
        record.correct(there=1)
    fetch(records, out, Told("_data"), share)
    assert contents(out) == {"_data/a": noise(1, 400_000), "_data/_envrc": noise(2, 400_000)}


def test_a_file_by_itself_has_the_name_that_was_told(records: Fetches, out: Path) -> None:
    file = Share({".bashrc": b"run"}, name="readme.txt", single=True)
    fetch(records, out, Told("notes.txt"), file)
    assert contents(out) == MINE | {"notes.txt": b"run"}
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(StorageError, match="different file"):
        fetch(records, out, Told("mine"), file)
    (out / "empty").touch(mode=0o600)
    tool = Share({"tool": b""}, executable=frozenset({"tool"}), name="tool", single=True)
    fetch(records, out, Told("empty"), tool)
    assert not (out / "empty").stat().st_mode & 0o111


def test_the_folders_of_an_earlier_schema_are_known(home: Path) -> None:
    with closing(sqlite3.connect(home / "old.db", isolation_level=None)) as connection:
        steps = sqlite.pending(connection, home / "old.db", MIGRATIONS, "--home")
        sqlite.apply(connection, [step for step in steps if step[0] < 10])
        row = "INSERT INTO share VALUES (?, 'x', 1, 1, ?, x'', 1, ?, 0, NULL, '[]', x'', x'', 1)"
        for share, path, fetched in ((b"a", "/out/deep/été", 1), (b"b", "/top", 1), (b"c", "/home/own", 0)):
            connection.execute(row, [share, json.dumps([path]), fetched])
        connection.execute("INSERT INTO version VALUES (x'ff0064', 'näws', '/out', x'', x'', x'', x'')")
        fetch = "INSERT INTO fetch VALUES (NULL, ?, '/out', '', ?, '[]', x'')"
        connection.executemany(fetch, [(b"e", b"\1"), (b"f", b"")])
        sqlite.apply(connection, [step for step in steps if step[0] >= 10])
        assert set(connection.execute("SELECT folder, name, maker, done FROM made")) == {
            ("/out/deep", "été", b"a", 1),
            ("/", "top", b"b", 1),
            ("/out", "", b"\xff\0d" + "näws".encode(), 1),
            ("/out", "", b"e", 1),
        }


def test_folders_that_earlier_versions_recorded_are_known(records: Fetches, database: Database, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "holiday").mkdir(parents=True)
    with database.transaction() as connection:
        for maker in (OTHER.manifest.share_id, b"link"):
            connection.execute("INSERT INTO made VALUES (?, '', ?, 1)", [str(out), maker])
    (out / "photos").mkdir()
    with pytest.raises(TargetExists, match="--into-existing"):  # it was the name in the share
        fetch(records, out, Told("photos"), OTHER)
    with pytest.raises(TargetExists, match="--into-existing"):  # a new version has a name that is taken
        fetch(records, out, Told("photos", follows=b"link"), Share({"a": b"b"}, name="photos"))
    fetch(records, out, Told("holiday"), OTHER)
    assert (out / "holiday/a").read_bytes() == b"a"
