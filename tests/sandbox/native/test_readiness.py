"""What is missing on a machine is said in words that tell what to do."""

import os
from pathlib import Path

import pytest

from p2p.errors import ConfigError, SandboxFailed
from p2p.sandbox.native import accounts, readiness, seccomp
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import UIDS, needs_bubblewrap


@needs_bubblewrap
def test_a_machine_that_has_all_lacks_nothing(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.access(readiness.TUN, os.R_OK | os.W_OK):
        monkeypatch.setattr(readiness, "TUN", Path(os.devnull))
    assert readiness.missing(account) == []


def script(folder: Path, text: str, mode: int = 0o755) -> None:
    """A bubblewrap of this machine."""
    (folder / "bwrap").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "bwrap").chmod(mode)


REFUSES = '[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit; echo "bwrap: No permissions" >&2; exit 1'


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (None, 0, "sudo apt install bubblewrap"),
        ("echo bubblewrap 0.6.1", 0o755, "bubblewrap 0.6.1 is too old: it must be 0.8 or newer"),
        ("", 0o4755, "chmod u-s"),
        (REFUSES, 0o755, "bwrap: No permissions"),
    ],
)
def test_a_bubblewrap_that_will_not_do_is_told(
    text: str | None, mode: int, words: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("bin")
    if text is not None:
        script(folder, text, mode)
    monkeypatch.setenv("PATH", f"{folder}")
    monkeypatch.setattr(readiness, "TUN", Path(os.devnull))
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", os.getuid)
        (sentence,) = readiness.missing(Account(os.getuid(), os.getgid()))
    assert words in sentence


def test_who_keeps_namespaces_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "switch"
    monkeypatch.setattr(readiness, "_APPARMOR", switch)
    monkeypatch.setattr(readiness, "_SWITCHES", {switch: "user.max_user_namespaces=10000"})
    assert "A container must" in readiness.refused("loopback: Failed RTM_NEWADDR")
    switch.write_text("0\n")
    assert "`sudo sysctl -w user.max_user_namespaces=10000`" in readiness.refused("No permissions")
    switch.write_text("1\n")
    assert "apparmor-profiles" in readiness.refused("loopback: Failed RTM_NEWADDR")


def test_a_device_that_is_missing_or_no_device_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_bubblewrap_lacks", lambda _: [])
    for device, words in ((tmp_path / "tun", "is missing: `sudo modprobe tun`"), (tmp_path, "does not work")):
        monkeypatch.setattr(readiness, "TUN", device)
        (sentence,) = readiness.missing(Account(1, 1))
        assert words in sentence


def test_a_missing_libseccomp_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "LIBRARY", "libnowhere.so.2")
    with pytest.raises(SandboxFailed, match="sudo apt install libseccomp2"):
        seccomp.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root")
def test_root_needs_a_range_of_users_and_gives_each_to_one() -> None:
    for wrong in ((), (10, 5), (760_000, 0)):
        with pytest.raises(ConfigError, match=r"cluster\.uids|\[cluster\]"), accounts.account(wrong):
            pass
    with accounts.account(UIDS) as one, accounts.account(UIDS) as other:
        assert one.uid != other.uid
    with (
        accounts.account((760_050, 1)),
        pytest.raises(SandboxFailed, match="All 1 user ids"),
        accounts.account((760_050, 1)),
    ):
        pass
