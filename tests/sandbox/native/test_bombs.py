"""Programs that take all they can: each ends its own sandbox, or fails within it, and no other."""

import pytest
import trio

from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import LIMITS, needs_bubblewrap, printed, spec
from tests.support.world import until

pytestmark = needs_bubblewrap
MEMORY = "import time; kept = bytearray(400 << 20); time.sleep(1000)"
SHARED = """
import mmap, os, time
for _ in range(4):
    if not os.fork():
        kept = mmap.mmap(-1, 100 << 20)
        kept.write(b"x" * (100 << 20))
        time.sleep(1000)
time.sleep(1000)
"""
FILES_IN_MEMORY = """
import os, time
for folder in ("/dev/shm", "/tmp"):
    try:
        with open(folder + "/bomb", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        print(folder, os.stat(folder + "/bomb").st_size >> 20, error.strerror, flush=True)
print("still here", flush=True)
kept = bytearray(100 << 20)
time.sleep(1000)
"""
FORKS = """
import os, time
made = 0
try:
    while os.fork():
        made += 1
except OSError as error:
    print(made, error.strerror, flush=True)
time.sleep(1000)
"""
DISK = """
import os, time
file = open("bomb", "wb", buffering=0)
if {nameless}:
    os.unlink("bomb")
try:
    while True:
        file.write(os.urandom(1 << 20))
except OSError as error:
    print(os.fstat(file.fileno()).st_size >> 20, error.strerror, flush=True)
time.sleep(1000)
"""


async def explode(native: NativeSandbox, program: str) -> str:
    """Runs a bomb, and waits until its sandbox has ended. Returns why."""
    await native.start(["python3", "-c", program], {}, "bomb")
    with trio.fail_after(30):
        await native.ended.wait()
    return native.reason


@pytest.mark.parametrize("program", [MEMORY, SHARED])
async def test_too_much_memory_ends_a_sandbox_and_no_other(
    native: NativeSandbox, tmp_path_factory: pytest.TempPathFactory, account: Account, program: str
) -> None:
    async with open_native(spec(), tmp_path_factory.mktemp("bomb"), account, idle=False) as other:
        await other.begin()
        reason = await explode(other, program)
        assert reason.endswith("MiB of memory, and may use 256")
    assert await printed(await native.start(["echo", "well"], {}, "echo")) == "well\n"


async def test_files_in_memory_end_at_their_size_and_count_as_memory(native: NativeSandbox) -> None:
    program = await native.start(["python3", "-c", FILES_IN_MEMORY], {}, "bomb")
    said = await printed(program)
    assert said.splitlines() == [
        "/dev/shm 128 No space left on device",
        "/tmp 64 No space left on device",
        "still here",
    ]
    with trio.fail_after(30):
        await native.ended.wait()
    assert native.reason.endswith("MiB of memory, and may use 256")


async def test_processes_end_at_their_number(native: NativeSandbox) -> None:
    program = await native.start(["python3", "-c", FORKS], {}, "bomb")
    made, why = (await program.output.receive_some()).decode().split(" ", 1)
    assert why == "Resource temporarily unavailable\n"
    assert int(made) <= LIMITS.processes
    await until(lambda: native.use[2] >= int(made))


@pytest.mark.parametrize("nameless", [False, True])
async def test_a_full_disk_is_its_own(native: NativeSandbox, nameless: bool) -> None:
    program = await native.start(["python3", "-c", DISK.format(nameless=nameless)], {}, "bomb")
    if native.bounds[-1].beyond_bytes == 0:  # a file system of its own
        written, why = (await program.output.receive_some()).decode().split(" ", 1)
        assert int(written) <= LIMITS.disk >> 20
        assert why == "No space left on device\n"
        return
    with trio.fail_after(30):
        await native.ended.wait()
    assert "MiB of disk" in native.reason
    assert native.reason.endswith("may use 64")
