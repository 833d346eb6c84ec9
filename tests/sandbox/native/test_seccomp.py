"""The system calls that programs inside can make, tried one by one."""

import ctypes
import errno
import os
import signal

import pytest

from p2p.sandbox.native import seccomp
from p2p.sandbox.native.sandbox import NativeSandbox
from tests.support.clusters.native import needs_bubblewrap, printed

pytestmark = needs_bubblewrap
LAST = 1023
TRAPS = {335, 336} if os.uname().machine == "x86_64" else set()
"""What the kernel shows to no filter: uretprobe and uprobe, by which its tracing returns."""
CONDITIONAL = {"clone", "personality", "socket", "socketpair"}
CALLS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for word in sys.argv[1:]:
    arguments = [ctypes.c_ulong(int(part)) for part in word.split(",")]
    ctypes.set_errno(0)
    result = libc.syscall(*arguments)
    print(word, ctypes.get_errno() if result < 0 else 0, flush=True)
"""
OLD_ABI = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # getpid, as programs of 32 bits call it
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


def table() -> dict[int, str]:
    """The system calls of this architecture that libseccomp knows, by number."""
    library = seccomp.load()
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    library.seccomp_arch_native.restype = ctypes.c_uint32
    found = {}
    for number in range(LAST + 1):
        if name := library.seccomp_syscall_resolve_num_arch(library.seccomp_arch_native(), number):
            found[number] = (ctypes.string_at(name) or b"").decode()
    return found


async def called(native: NativeSandbox, *calls: tuple[int, ...]) -> list[int]:
    """What each system call, with its arguments, gives inside: an error's number, or 0."""
    words = [",".join(map(str, call)) for call in calls]
    program = await native.start(["python3", "-c", CALLS, *words], {}, "probe")
    said = (await printed(program)).splitlines()
    assert [line.split()[0] for line in said] == words
    return [int(line.split()[1]) for line in said]


async def test_every_call_that_is_not_listed_is_refused(native: NativeSandbox) -> None:
    names = table()
    assert {"read", "mount", "ptrace"} <= set(names.values())
    refused = [
        call
        for call in range(LAST + 1)
        if call not in TRAPS and names.get(call) not in {*seccomp.ALLOWED, *CONDITIONAL}
    ]
    answers = await called(native, *[(call, 0, 0, 0, 0, 0, 0) for call in refused])
    wrong = {
        names.get(call, str(call)): os.strerror(answer)
        for call, answer in zip(refused, answers, strict=True)
        if answer != (errno.EPERM if names.get(call) in seccomp.REFUSED else errno.ENOSYS)
    }
    assert not wrong


def test_what_reaches_beyond_a_sandbox_is_not_listed() -> None:
    beyond = "bpf io_uring_setup keyctl mount perf_event_open setns unshare userfaultfd memfd_create sched_setaffinity"
    assert not set(beyond.split()) & set(seccomp.ALLOWED)
    assert not set(seccomp.ALLOWED) & {*seccomp.REFUSED, *seccomp.MISSING}


async def test_sockets_are_of_four_families(native: NativeSandbox) -> None:
    call, stream, raw = seccomp.number("socket"), 1, 3
    families = [family for family in range(64) if family not in (1, 2, 10, 16)]
    answers = await called(native, *[(call, family, stream, 0) for family in families])
    assert set(answers) == {errno.ENOSYS}
    allowed = [(call, 1, stream, 0), (call, 2, stream, 0), (call, 10, stream, 0), (call, 16, raw, 0)]
    assert await called(native, *allowed) == [0, 0, 0, 0]
    others = [(call, 16, raw, protocol) for protocol in range(1, 23)] + [(call, (1 << 32) + 40, stream, 0)]
    assert set(await called(native, *others)) == {errno.ENOSYS}
    pair = seccomp.number("socketpair")
    assert set(await called(native, *[(pair, family, stream, 0, 0) for family in (2, 16, 30)])) == {errno.ENOSYS}


async def test_no_namespace_can_be_begun(native: NativeSandbox) -> None:
    call = seccomp.number("clone")
    flags = [1 << bit for bit in range(32) if seccomp.NAMESPACES & 1 << bit]
    assert len(flags) == 7
    answers = await called(native, *[(call, flag | signal.SIGCHLD, 0, 0, 0, 0) for flag in flags])
    assert set(answers) == {errno.ENOSYS}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about this architecture's older ABIs")
async def test_other_abis_kill(native: NativeSandbox) -> None:
    program = await native.start(["python3", "-c", OLD_ABI], {}, "probe")
    assert await program.wait() == -signal.SIGSYS
    x32 = await native.start(["python3", "-c", CALLS, str(0x40000000 + seccomp.number("getpid"))], {}, "probe")
    assert await x32.wait() == -signal.SIGSYS
