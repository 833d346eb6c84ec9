"""What only its user may read, whatever was there before."""

import grp
import os
import pwd
import shlex
import stat
import tempfile
from pathlib import Path

import pytest

from p2p import private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folders_are_closed_and_those_above_them_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private.make_folder(tmp_path / "a" / "b" / "c")
    private.make_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in (".", "a", "a/b", "a/b/c")] == [0o755, 0o700, 0o700, 0o700]
    (tmp_path / "a").chmod(0o755)
    private.make_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o755
    private.close_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700


def test_files_are_closed_and_keep_what_is_in_them(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"kept")
    old.chmod(0o664)
    before = os.umask(0)
    try:
        for name in ("old", "new"):
            private.touch(tmp_path / name)
    finally:
        os.umask(before)
    assert (mode(old), old.read_bytes()) == (0o600, b"kept")
    assert mode(tmp_path / "new") == 0o600


def test_files_below_a_folder_are_closed_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "home/deep").mkdir(parents=True)
    outside = tmp_path / "outside"
    for path in (outside, tmp_path / "home/one", tmp_path / "home/deep/two"):
        path.touch()
        path.chmod(0o755)
    (tmp_path / "home/link").symlink_to(outside)
    private.close_files(tmp_path / "home")
    assert [mode(tmp_path / "home" / path) for path in ("one", "deep/two")] == [0o700, 0o700]
    assert mode(outside) == 0o755


def test_folders_that_all_may_write_to(tmp_path: Path) -> None:
    folder = tmp_path / "a home"
    folder.mkdir()
    for bits, is_open in ((0o700, False), (0o755, False), (0o777, True), (0o1777, True)):
        folder.chmod(bits)
        exposed = private.exposure(folder)
        assert (exposed is not None) is is_open
        if exposed is not None:
            assert exposed.who == f"Every user of this machine can write to {folder}"
            assert shlex.split(exposed.advice) == ["chmod", "o-w", str(folder)]


def user(name: str, uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))


USERS = [user("root", 0, 0), user("ann", 1000, 1000), user("bob", 1001, 1001), user("cat", 1002, 3000)]
GROUPS = {
    0: [],  # root alone
    1000: [],  # ann's own
    1001: ["ann"],  # bob's, and ann is in it
    2000: ["ann"],
    2001: ["ann", "root"],
    2002: ["ann", "bob"],
    2003: [],  # nobody knows who
    2004: ["ann", "gone"],
    3000: ["ann"],  # cat's own by her entry alone
}


@pytest.mark.parametrize("group", [*GROUPS, 9999])
def test_a_group_is_private_if_nobody_else_is_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: int
) -> None:
    """As on systems that give each user a group, and all its files to that group. The databases are stand-ins."""

    def found(gid: int) -> grp.struct_group:
        return grp.struct_group((f"group {gid}", "x", gid, GROUPS[gid]))

    def named(name: str) -> pwd.struct_passwd:
        return {one.pw_name: one for one in USERS}[name]

    monkeypatch.setattr(pwd, "getpwall", lambda: USERS)
    monkeypatch.setattr(pwd, "getpwnam", named)
    monkeypatch.setattr(grp, "getgrgid", found)
    is_private = private._members(group) <= {1000, 0}
    assert is_private == (group in {0, 1000, 2000, 2001})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_somebody_else_or_for_a_group_is_exposed() -> None:
    """As root, and as another user: folders of the usual owners, groups and modes, on a real disk."""
    other = next(one for one in pwd.getpwall() if one.pw_uid and private._members(one.pw_gid) == {one.pw_uid})
    third = next(one for one in pwd.getpwall() if one.pw_uid not in {0, other.pw_uid})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)

        def exposed(owner: int, group: int, mode: int, euid: int) -> str:
            os.chown(folder, owner, group)
            folder.chmod(mode)
            os.seteuid(euid)
            try:
                found = private.exposure(folder)
            finally:
                os.seteuid(0)
            return "" if found is None else found.advice

        assert exposed(0, 0, 0o770, 0) == ""
        assert exposed(0, other.pw_gid, 0o750, 0) == ""
        assert exposed(0, other.pw_gid, 0o770, 0) == f"chmod g-w {folder}"
        assert exposed(0, 54321, 0o770, 0) == f"chmod g-w {folder}"
        assert exposed(other.pw_uid, 0, 0o700, 0) == f"run this as {other.pw_name}"
        assert exposed(54321, 0, 0o700, 0) == "run this as 54321"
        for owner in (other.pw_uid, 0):
            assert exposed(owner, other.pw_gid, 0o775, other.pw_uid) == ""
            assert exposed(owner, 0, 0o775, other.pw_uid) == "", "root may write everywhere"
            assert exposed(owner, third.pw_gid, 0o775, other.pw_uid) == f"chmod g-w {folder}"
            assert exposed(owner, other.pw_gid, 0o777, other.pw_uid) == f"chmod o-w {folder}"
        assert exposed(third.pw_uid, other.pw_gid, 0o755, other.pw_uid) == f"run this as {third.pw_name}"


def test_files_are_made_for_this_user_alone_and_handed_out_as_any_other(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    out.mkdir()
    for umask, expected in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        before = os.umask(umask)
        try:
            private.write(home / "one", b"1")
            with open(home / "two", "ab", opener=private.opener) as file:
                file.write(b"2")
            assert [mode(home / name) for name in ("one", "two")] == [0o600, 0o600]
            private.hand_out(home / "one", out / f"one {umask}")
        finally:
            os.umask(before)
        assert (mode(out / f"one {umask}"), (out / f"one {umask}").read_bytes()) == (expected, b"1")
        assert not (home / "one").exists()
