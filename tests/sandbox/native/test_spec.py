"""What a sandbox may be made of: targets, nested folders, files, variables."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from p2p.errors import SandboxFailed
from p2p.sandbox.native import bubblewrap
from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.sandbox.native.spec import Account, Limits, check
from tests.support.clusters.native import needs_bubblewrap, printed, spec


@pytest.mark.parametrize(
    "target",
    [
        *("relative", "", "/", "//usr/x", "/a/../b", "/a/./b", "/a/", "/a\0b"),
        *("/proc", "/proc/sys", "/sys/class", "/dev", "/dev/shm", "/run/x", "/tmp", "/tmp/x", "/bin", "/lib64/x"),
        *("/home", "/home/me", "/home/me/x"),
    ],
)
def test_what_the_sandbox_makes_itself_is_no_target(target: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxFailed, match=r"cannot be a path|Nothing can be bound"):
        check(spec(binds=[(tmp_path, target)]))


def test_other_targets_are_taken(tmp_path: Path) -> None:
    check(spec(binds=[(tmp_path, "/home/anna/venv"), (tmp_path, "/usr/local/lib/python3.11"), (tmp_path, "/etc/java")]))


def test_a_target_within_another_is_a_real_folder_there(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    (outer / "real/place").mkdir(parents=True)
    (outer / "link").symlink_to("/etc")
    (outer / "real/link").symlink_to("place")
    inner.mkdir()
    check(spec(binds=[(outer, "/opt/outer"), (inner, "/opt/outer/real/place")]))
    for wrong in ("link", "link/ssl", "real/link", "missing"):
        with pytest.raises(SandboxFailed, match="has no such place"):
            check(spec(binds=[(inner, f"/opt/outer/{wrong}"), (outer, "/opt/outer")]))


def test_one_target_is_taken_once(tmp_path: Path) -> None:
    with pytest.raises(SandboxFailed, match="one path"):
        check(spec(binds=[(tmp_path, "/opt/x"), (tmp_path, "/opt/x")]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": {"../x": ""}},
        {"files": {"/etc/hosts": ""}},
        {"variables": {"A=B": ""}},
        {"variables": {"A": "\0"}},
        {"hostname": "a\0--bind"},
        {"python": "/usr/bin/\0"},
    ],
)
def test_files_and_variables_are_what_they_seem(wrong: dict[str, object]) -> None:
    with pytest.raises(SandboxFailed):
        check(msgspec.structs.replace(spec(), **wrong))


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limits(cores=1, memory=0, disk=1, processes=1)


def test_files_in_memory_have_sizes_within_the_memory() -> None:
    limits = Limits(cores=1, memory=1 << 30, disk=1, processes=1)
    assert sum(bubblewrap.memory_sizes(limits).values()) < limits.memory


@needs_bubblewrap
async def test_folders_are_bound_read_only_wherever_their_owner_keeps_them(tmp_path: Path, account: Account) -> None:
    """Also where the sandbox's user cannot go: in folders of root alone."""
    environment, folder = tmp_path / "closed/environment", tmp_path / "sandbox"
    environment.mkdir(parents=True)
    folder.mkdir()
    (environment / "words").write_text("bound\n")
    (tmp_path / "closed").chmod(0o700)
    binds = [(environment, "/opt/environment"), (environment / "words", "/opt/words")]
    async with open_native(spec(binds=binds, variables={"A": "b"}), folder, account, idle=False) as native:
        await native.begin()
        program = await native.start(["sh", "-c", "cat /opt/environment/words /opt/words; > /opt/words"], {}, "shell")
        said = await printed(program)
    assert said.startswith("bound\nbound\n")
    assert "Read-only file system" in said
    assert (environment / "words").read_text() == "bound\n"


@needs_bubblewrap
async def test_a_root_of_its_own_takes_the_place_of_this_machines(tmp_path: Path, account: Account) -> None:
    own = msgspec.structs.replace(spec(), root=Path("/"), files={"hosts": "10.77.0.1 m0\n"})
    async with open_native(own, tmp_path, account, idle=False) as native:
        await native.begin()
        program = await native.start(["sh", "-c", "ls /etc; cat /etc/hosts"], {}, "shell")
        said = (await printed(program)).split("\n")
    cache = ["ld.so.cache"] if "ld.so.cache" in os.listdir("/etc") else []
    assert said == ["group", "hostname", "hosts", *cache, "nsswitch.conf", "passwd", "resolv.conf", "10.77.0.1 m0", ""]


@needs_bubblewrap
async def test_no_variable_is_on_a_command_line(native: NativeSandbox) -> None:
    lines = [Path(f"/proc/{name}/cmdline") for name in os.listdir("/proc") if name.isdecimal()]
    assert not [line for line in lines if line.exists() and b"FROM_SPEC" in line.read_bytes()]


@needs_bubblewrap
async def test_what_cannot_be_begun_leaves_nothing(
    tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/nix")
    with pytest.raises(OSError, match="nix"):
        async with open_native(spec(), tmp_path, account):
            pass
    assert not os.listdir(tmp_path)
