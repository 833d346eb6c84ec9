"""What confines a worker in addition to WebAssembly: a guest that escapes from WebAssembly still has access to nothing.

Every worker has rlimits and a session of its own. If the system has Landlock, the worker cannot open files, bind or
connect to ports, or signal other processes; otherwise bubblewrap is put around the process, if installed. A worker
started by root switches to an unprivileged user. All of it is in place before a guest's code is loaded, and every guest
inherits it.
"""

import ctypes
import os
import resource
import shutil
import signal
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # Linux gives new system calls the same number on all architectures
_VERSION_FLAG = 1
_TRIES, _TRY_INTERVAL_S = 10, 0.1
_NOBODY = 65534
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many file rights each version of Landlock knows; all of them are taken away."""
_NET_SINCE, _NET_RIGHTS = 4, 0b11
_SCOPE_SINCE, _SCOPES = 6, 0b11
_DESCRIPTORS = 64
_SCHEDULED = 2
"""The clock of a process that measures its time on a processor (CPUCLOCK_SCHED)."""

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The version of Landlock in this kernel; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def describe() -> list[str]:
    """Describes the isolation of guests on this machine, for people to read."""
    found = ["WebAssembly without files, network, clock or randomness", "a process for each guest, with rlimits"]
    if version := landlock_version():
        found.append(f"Landlock {version}: no files" + ", no network" * (version >= _NET_SINCE))
    elif shutil.which("bwrap"):
        found.append("bubblewrap: read-only files, no network")
    else:
        found.append("no second barrier: this machine has neither Landlock nor bubblewrap")
    if os.geteuid() == 0:
        found.append("an unprivileged user")
    return found


def around(command: Sequence[str], readable: Sequence[Path]) -> list[str]:
    """The command, in bubblewrap if Landlock is missing: it then sees only the `readable` and the system's paths."""
    bubblewrap = shutil.which("bwrap")
    if landlock_version() or bubblewrap is None:
        return list(command)
    return bubblewrapped(bubblewrap, command, readable)


def bubblewrapped(bubblewrap: str, command: Sequence[str], readable: Sequence[Path]) -> list[str]:
    """The command in namespaces of its own: no network, no other process, files read-only.

    Root gets no user namespace: behind one it would still be root for /proc/sys, whatever it is called inside, and
    could not become anyone else. Without one the worker gives up root itself, as it does without bubblewrap.
    """
    system = [Path("/usr"), Path("/lib"), Path("/lib64"), Path("/bin"), Path("/etc/ld.so.cache")]
    # bubblewrap's death signal would follow the thread that started it, not this process; workers watch their socket.
    found = [bubblewrap, "--cap-drop", "ALL", "--dev", "/dev", "--proc", "/proc", "--new-session"]
    if os.geteuid() == 0:
        found += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        found += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        found += ["--unshare-all", "--uid", str(_NOBODY), "--gid", str(_NOBODY)]
    shoal = Path(__file__).resolve().parents[1]  # an editable install is in none of Python's folders
    python = [Path(entry) for entry in (*sys.path, sys.prefix, sys.base_prefix)]
    for path in dict.fromkeys([*system, *python, shoal, *readable]):
        if path.is_absolute():
            found += ["--ro-bind-try", str(path), str(path)]
    return [*found, "--", *command]


def raise_around_worker() -> None:
    """Takes from this worker process what it no longer needs: files, network, rights. Raises OSError if that fails."""
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    lock_down()


def raise_around_guest(parent: int) -> None:
    """Restricts a guest's process further, right after the fork: no siblings, no children, no outliving its worker."""
    if sys.platform == "linux":
        _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        if os.getppid() != parent:  # the worker died before the line above
            os._exit(1)
    os.dup2(1, 2)  # 1 is the null device: the peer's terminal is none of a guest's business
    lock_down()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def yield_to_others() -> None:
    """Lowers this process's priority for good: it runs, reads and writes only when no other process wants to."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        # By itself, the kernel gives a process of SCHED_IDLE the idle class for reads and writes.


class SessionPriority:
    """The priority of this process's session, the processes of which share processor time with those of others.

    Where the kernel groups processes by session (`sched_autogroup`, common on desktops), the priority of a process
    counts within its session only: without this, an idle guest gets as much time as all programs of a terminal. Does
    nothing unless this process has begun the session. The file is opened now, because a worker can open none later.
    """

    def __init__(self) -> None:
        self._file = -1
        if os.getsid(0) != os.getpid():
            return
        with suppress(OSError):  # this kernel does not group
            self._file = os.open("/proc/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)

    def lower(self) -> None:
        """Lowers it as far as it goes, if that has not been done."""
        if self._file < 0:
            return
        with suppress(OSError):
            for _ in range(_TRIES):
                try:
                    os.write(self._file, b"19")
                    break
                except BlockingIOError:  # all users together may do this ten times a second
                    time.sleep(_TRY_INTERVAL_S)
            os.close(self._file)
        self._file = -1


def lock_down() -> None:
    """Denies this process, for good, everything that Landlock controls. Does nothing if the kernel has no Landlock."""
    version = landlock_version()
    if not version:
        return
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    files = (1 << rights) - 1
    net = _NET_RIGHTS if version >= _NET_SINCE else 0
    scopes = _SCOPES if version >= _SCOPE_SINCE else 0
    size = 24 if scopes else 16 if net else 8
    attributes = struct.pack("=QQQ", files, net, scopes)[:size]
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    try:
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def cpu_s(process: int) -> float:
    """How many seconds a process has run so far. Raises OSError if that cannot be known."""
    if sys.platform != "linux":
        raise OSError("only Linux tells")
    return time.clock_gettime((~process << 3) | _SCHEDULED)  # see clock_getcpuclockid(3); it needs no file


def limit_data(count: int) -> None:
    """Limits this process's writable memory, including its guest's, to `count` bytes."""
    resource.setrlimit(resource.RLIMIT_DATA, (count, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
