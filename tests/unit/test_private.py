"""What only its user may read, whatever was there before."""

import os
import stat
from pathlib import Path

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
    for bits, is_open in ((0o700, False), (0o775, False), (0o777, True), (0o1777, True)):
        tmp_path.chmod(bits)
        assert private.is_open_to_all(tmp_path) is is_open


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
