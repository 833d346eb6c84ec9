"""What a program inside can reach of the machine: nothing."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import trio

from p2p.sandbox.native.sandbox import NativeSandbox
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import needs_bubblewrap, printed
from tests.support.clusters.probes import WRITABLE
from tests.support.world import until

pytestmark = needs_bubblewrap
REACH = """
import os, socket, sys
port, abstract, outside, secret = sys.argv[1:]

def tried(name, action):
    try:
        action()
        print(name, "WORKED")
    except OSError as error:
        pass

tried("the host's loopback", lambda: socket.create_connection(("127.0.0.1", int(port)), 2))
tried("an abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + abstract))
tried("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried("another address", lambda: socket.create_connection(("10.99.0.1", 80), 2))
tried("a name", lambda: socket.gethostbyname("example.org"))
tried("a process outside", lambda: os.kill(int(outside), 0))
tried("a file outside", lambda: os.stat(secret))
for path in ("/usr/x", "/etc/x", "/run/x", "/dev/x", "/x", "/home/x", "/sys/x"):
    tried("writing " + path, lambda: open(path, "w"))
for name in ("keys", "interrupts", "kcore", "timer_list"):
    tried("reading " + name, lambda: open("/proc/" + name).read(1))
tried("changing the user", lambda: os.setuid(0))
tried("more processors", lambda: os.sched_setaffinity(0, range(os.cpu_count())))
tried("better priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
print(sorted(os.listdir("/")), os.listdir("/home"), os.listdir("/dev/shm"), sorted(os.listdir("/sys/class/net")))
processes = [name for name in os.listdir("/proc") if name.isdecimal()]
print(len(processes), socket.gethostname(), os.getuid(), os.getgroups())
print([line for line in open("/proc/self/status") if line.startswith(("Cap", "NoNewPrivs"))])
"""


async def test_no_file_of_proc_or_sys_opens_for_writing(native: NativeSandbox) -> None:
    program = await native.start(["python3", "-c", f"OWN_TOO = True\n{WRITABLE}"], {}, "probe")
    assert await printed(program) == "tried\n"


async def test_nothing_outside_can_be_reached(native: NativeSandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    name = f"shoal-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        arguments = [str(listener.getsockname()[1]), name, str(os.getpid()), str(secret)]
        program = await native.start(["python3", "-c", REACH, *arguments], {}, "probe")
        said = (await printed(program)).splitlines()
    top = ["bin", "dev", "etc", "home", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"]
    none = "0" * 16
    status = [f"{name}:\t{none}\n" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    assert said == [
        f"{top} ['me'] [] ['lo', 'shoal0']",
        "2 m0 1000 []",
        f"{[*status, f'NoNewPrivs:{chr(9)}1{chr(10)}']}",
    ]


HOLDER = """
import sys, trio
from pathlib import Path
from p2p.sandbox.native.sandbox import open_native
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import spec

async def main():
    async with open_native(spec(), Path(sys.argv[1]), Account(*map(int, sys.argv[2:])), idle=False) as native:
        await native.begin()
        await native.start(["sh", "-c", "mkdir -p a/b; chmod 0 a; sleep 1000"], {}, "shell")
        print(native.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_nothing_is_left_when_the_peer_is_killed(account: Account, tmp_path: Path) -> None:
    mounts = _mounts()
    command = [sys.executable, "-c", HOLDER, str(tmp_path), *map(str, account)]
    holder = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    async with holder.stdout:
        first = int(await holder.stdout.receive_some())
        holder.kill()
        await holder.wait()
    await until(lambda: not os.listdir(tmp_path) and str(first) not in os.listdir("/proc"))
    await until(lambda: _mounts() == mounts and not _disks(tmp_path))


async def test_a_sandbox_ends_with_its_keeper(native: NativeSandbox) -> None:
    program = await native.start(["sleep", "1000"], {}, "sleep")
    os.kill(_parent(_parent(native.pid)), signal.SIGKILL)
    assert await program.wait() == -signal.SIGKILL
    await native.ended.wait()
    assert native.reason == "its keeper was killed"


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def _disks(folder: Path) -> list[str]:
    """The files of a folder that loop devices show as disks, also those without a name."""
    found = []
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            found.append(device.read_text())
    return [file for file in found if file.startswith(str(folder))]
