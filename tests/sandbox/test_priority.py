"""Guests that work for other owners run only when nothing else wants to; those of this peer's own jobs run as usual."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from p2p.sandbox import compiled, isolation
from p2p.sandbox.limits import GuestEnded, GuestLimits
from p2p.sandbox.room import Room
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox, open_sandbox
from tests.support.guest_programs import children, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def priorities(sandbox: Sandbox) -> dict[int, tuple[int, int]]:
    """The policy and niceness of each guest's process."""
    guests = [guest for worker in sandbox.process_ids() for guest in children(worker)]
    return {guest: (os.sched_getscheduler(guest), os.getpriority(os.PRIO_PROCESS, guest)) for guest in guests}


async def test_only_guests_of_others_give_way(python: Runtime) -> None:
    async with open_sandbox(1, compiled.default_folder(), idle=True) as sandbox:
        assert await run(await sandbox.guest(python), "result = 1 + 1") == b"2"
        (of_others,) = priorities(sandbox).items()
        assert await run(await sandbox.beside(Room(1)).guest(python), "result = 2 + 2") == b"4"
        both = priorities(sandbox)
        assert both.pop(of_others[0]) == of_others[1] == (os.SCHED_IDLE, 19)
        assert list(both.values()) == [(os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))]


def group(process: int | str) -> str:
    """The niceness of the group in which the kernel has a process; always 19 if it has no groups."""
    try:
        # The first group of a machine, whose niceness nobody can change, is shown as an empty file.
        return Path(f"/proc/{process}/autogroup").read_text().rpartition(" nice ")[2].strip() or "0"
    except OSError:
        return "19"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel does not group by session")
async def test_guests_of_others_give_way_to_other_sessions_too(python: Runtime) -> None:
    """Beside a program of a terminal, they got half of a core: their priority counted among themselves alone."""
    async with open_sandbox(1, compiled.default_folder(), idle=True) as sandbox:
        await sandbox.guest(python)
        (of_others,) = priorities(sandbox)
        assert group(of_others) == "19"
        await sandbox.beside(Room(1)).guest(python)
        (own,) = priorities(sandbox).keys() - {of_others}
        assert group(own) == group("self")


async def test_the_time_of_a_guest_that_gives_way_is_limited_too(python: Runtime) -> None:
    async with open_sandbox(1, compiled.default_folder(), idle=True) as sandbox:
        guest = await sandbox.guest(python)
        limits = GuestLimits(wall_s=0.05)
        with trio.fail_after(60), pytest.raises(GuestEnded) as ended:
            await guest.call(b"while True: pass", seed=bytes(32), limits=limits)
        assert ended.value.kind == "time"


async def test_a_guest_ends_at_the_most_that_the_machine_gives(python: Runtime) -> None:
    async with open_sandbox(1, compiled.default_folder(), idle=True) as sandbox:
        guest = await sandbox.guest(python)
        with trio.fail_after(60), pytest.raises(GuestEnded) as ended:
            await guest.call(b"while True: pass", seed=bytes(32), limits=GuestLimits(wall_s=1000.0, cap_s=0.5))
        assert ended.value.kind == "cap"


def test_the_time_of_a_process_is_what_it_ran() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            while isolation.cpu_s(process.pid) < 0.05:
                pass
        finally:
            process.kill()
    assert isolation.cpu_s(os.getpid()) > 0


def test_a_compiler_for_others_gives_way(tmp_path: Path) -> None:
    told = (
        "import os, sys; from p2p.sandbox import compiling, isolation; isolation.lock_down = lambda: None\n"
        "compiling._end_with_parent = lambda: None\n"
        "sys.argv = ['compiling', '/dev/null', 'another digest', '1', 'foreign', *sys.argv[1:]]; compiling.main()\n"
        "print(os.sched_getscheduler(0), os.getpid())\ninput()"
    )
    for given, policy, nice in (([], os.SCHED_OTHER, group("self")), (["idle"], os.SCHED_IDLE, "19")):
        command = [sys.executable, "-c", told, *given]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, start_new_session=True) as compiler:
            assert compiler.stdout is not None
            assert compiler.stdout.readline().split() == [str(policy), str(compiler.pid)]
            assert group(compiler.pid) == nice
            compiler.communicate("\n")
