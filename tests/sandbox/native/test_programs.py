"""Programs in a native sandbox: started, signalled, read, and all gone at the end."""

import os
import signal
from pathlib import Path

import pytest
import trio

from p2p.errors import SandboxFailed
from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import needs_bubblewrap, printed, spec

pytestmark = needs_bubblewrap


async def test_a_program_runs_with_its_variables_and_tells_its_code(native: NativeSandbox) -> None:
    program = await native.start(["sh", "-c", "echo $FROM_SPEC $OWN; pwd; exit 3"], {"OWN": "own"}, "shell")
    assert await printed(program) == "spec own\n/home/me\n"
    assert await program.wait() == 3


async def test_a_program_has_no_descriptor_but_its_output(native: NativeSandbox) -> None:
    program = await native.start(["sh", "-c", "ls /proc/$$/fd; echo seen > /dev/stderr"], {}, "shell")
    assert await printed(program) == "0\n1\n2\nseen\n"


async def test_a_signal_reaches_all_that_a_program_has_started(native: NativeSandbox) -> None:
    program = await native.start(["sh", "-c", "sleep 1000 & echo up; wait"], {}, "shell")
    assert await program.output.receive_some() == b"up\n"
    await program.signal(signal.SIGTERM)
    assert await printed(program) == ""  # the sleep held the output too
    assert await program.wait() == -signal.SIGTERM
    await program.signal(signal.SIGTERM)


async def test_what_is_not_there_is_told(native: NativeSandbox) -> None:
    with pytest.raises(SandboxFailed, match="the engine cannot be started: nix: there is no such program"):
        await native.start(["nix"], {}, "the engine")
    with pytest.raises(SandboxFailed, match="too long"):
        await native.start(["echo", "x" * 200_000], {}, "the engine")


async def test_a_reader_that_does_not_come_never_stops_a_program(native: NativeSandbox) -> None:
    program = await native.start(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; printf end"], {}, "shell")
    assert await program.wait() == 0
    told = await printed(program)
    assert "bytes were dropped here" in told
    assert told.endswith("xend")
    assert len(told) < 2_000_000


async def test_files_of_the_home_are_the_accounts_and_are_gone_at_the_end(tmp_path: Path, account: Account) -> None:
    async with open_native(spec(), tmp_path, account, idle=False) as native:
        await native.begin()
        program = await native.start(["sh", "-c", "echo result > out; mkdir closed; chmod 0 closed"], {}, "shell")
        assert await program.wait() == 0
        assert (native.home / "out").read_text() == "result\n"
        assert (native.home / "out").stat().st_uid == account.uid
        process = native.pid
        running = await native.start(["sleep", "1000"], {}, "sleep")
    assert not os.listdir(tmp_path)
    assert str(process) not in os.listdir("/proc")
    assert await running.wait() == -signal.SIGKILL
    assert native.reason == ""


async def test_a_sandbox_whose_python_is_missing_says_so(tmp_path: Path, account: Account) -> None:
    async with open_native(spec(python="/usr/bin/nix"), tmp_path, account, idle=False) as native:
        with pytest.raises(SandboxFailed, match=r"does not start: its first process ended: .*nix"):
            await native.begin()


async def test_a_sandbox_that_cannot_be_made_says_so_and_leaves_nothing(tmp_path: Path, account: Account) -> None:
    wrong = spec(binds=[(Path("/nowhere"), "/opt/nowhere")])
    with pytest.raises(SandboxFailed, match=r"cannot be made: .*nowhere"):
        async with open_native(wrong, tmp_path, account):
            pass
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root")
async def test_no_sandbox_runs_as_root(tmp_path: Path) -> None:
    with pytest.raises(SandboxFailed, match="never runs as root"):
        async with open_native(spec(), tmp_path, Account(0, 0)):
            pass


def is_gone(process: int, folder: Path) -> bool:
    return not Path(f"/proc/{process}").exists() and not list(folder.iterdir())


async def test_a_sandbox_whose_holder_is_cancelled_ends_with_it(tmp_path: Path, account: Account) -> None:
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with open_native(spec(), tmp_path, account, idle=False) as native:
            await native.begin()
            process = native.pid
            scope.cancel()
            await trio.sleep_forever()
    assert is_gone(process, tmp_path)


async def test_an_idle_sandbox_has_the_lowest_priority_for_good(tmp_path: Path, account: Account) -> None:
    async with open_native(spec(), tmp_path, account, idle=True) as native:
        await native.begin()
        assert os.sched_getscheduler(native.pid) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, native.pid) == 19
        assert session_priority(native.pid) in ("nice 19", "not shared out by session")
        if native.bounds[2].by == "the processors that it may run on":
            assert len(os.sched_getaffinity(native.pid)) == 1


async def test_what_bounds_it_is_told(native: NativeSandbox) -> None:
    assert [bound.what for bound in native.bounds] == ["memory", "files in memory", "cores", "processes", "disk"]


def session_priority(process: int) -> str:
    """The priority of a process's session, where the kernel shares out processors by session."""
    try:
        return Path(f"/proc/{process}/autogroup").read_text().split(" ", 1)[1].strip()
    except OSError:
        return "not shared out by session"
