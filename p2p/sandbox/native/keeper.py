"""The process beside each sandbox: makes it, watches what it uses, ends it, and removes what it leaves.

It outlives the peer for a moment: when its standard input closes, however the peer ended, it ends the sandbox and
cleans up. When it is killed itself, the sandbox's processes die with it, since bubblewrap is its child. It uses only
the standard library, so that it stays small: `python -I -S`, with the path of p2p alone.

On its standard input, a socket, it reads lines: the settings as JSON, "begin", "lower" if the sandbox is to get only
processor time that nothing else wants, and "end" or nothing. It writes lines of JSON there: {"pid": N, "sized": bool,
"grouped": bool} once the walls stand, {"lowered": true}, {"use": [memory, disk, processes]} now and then, and at last
{"ended": reason}.
"""

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from p2p.sandbox.native import groups, staging
from p2p.sandbox.native.groups import Group
from p2p.sandbox.native.processes import lower_session
from p2p.sandbox.native.watching import Watch

TICK_S = 0.2
_TELL_TICKS = 10
_SETUP_S = 30.0
_PR_SET_PDEATHSIG = 1
_WORST = 1000
"""The value of oom_score_adj with which a process is the first to be killed when memory runs out."""
_DESCRIPTORS = 1 << 16
_LINE_BYTES = 1 << 20
_IGNORED = signal.SIGINT, signal.SIGHUP, signal.SIGTERM

_libc = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """One sandbox, from its making to the removal of its files."""

    def __init__(self, peer: socket.socket, settings: dict[str, Any]) -> None:
        self._peer = peer
        self._settings = settings
        self._limits: dict[str, int] = settings["limits"]
        self._wrapper = 0
        """bubblewrap's own process, outside the sandbox."""
        self._first = 0
        """The first process inside."""
        self._first_process = 0
        """A descriptor of it, which never means a later process of that number."""
        self._group: Group | None = None
        self._heard = bytearray()
        self._made = False

    def run(self) -> str:
        """Makes the sandbox and keeps it until it ends. Returns why it ended; nothing if the peer ended it."""
        os.mkdir(self._settings["home"], 0o700)
        self._made = True
        if self._settings["root"]:
            os.chown(self._settings["home"], self._settings["uid"], self._settings["gid"])
        info, info_end = os.pipe2(os.O_CLOEXEC)
        block_end, block = os.pipe2(os.O_CLOEXEC)
        if self._settings["root"]:
            staging.make_disk(
                self._settings["folder"], self._limits["disk"], self._settings["uid"], self._settings["gid"]
            )
        if base := groups.delegated(groups.own() or "", os.getppid()):
            self._group = groups.make(base, str(os.getpid()), self._limits, idle=self._settings["idle"])
        self._wrapper = os.fork()
        if not self._wrapper:
            self._become_sandbox(info_end, block_end)
        for handle in (info_end, block_end, *self._settings["descriptors"]):
            os.close(handle)
        with open(info) as file:
            words = file.read()
        if not words:
            return "bubblewrap gave up"
        self._first = json.loads(words)["child-pid"]
        self._first_process = os.pidfd_open(self._first)
        wrapper = os.pidfd_open(self._wrapper)
        if not self._await_walls(wrapper):
            return "bubblewrap gave up"
        home = f"/proc/{self._first}/root/home/me"
        sized = os.stat(home).st_dev != os.stat(self._settings["folder"]).st_dev
        watch = Watch(self._first, self._settings, self._settings["in_memory"], self._group, sized=sized)
        self._as_user(self._limit_processes)
        self.say(pid=self._first, sized=sized, grouped=self._group is not None)
        return self._keep(watch, wrapper, block)

    def _become_sandbox(self, info: int, block: int) -> NoReturn:
        """In the child: gives up rights and comfort, and becomes bubblewrap."""
        try:
            settings = self._settings
            for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, settings["file_bytes"])):
                resource.setrlimit(kind, (most, most))
            descriptors = min(_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
            if self._group:
                self._group.enter()
            else:
                os.sched_setaffinity(0, settings["processors"])
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(_WORST))
            if settings["root"]:
                staging.stage(settings["folder"], settings["sources"], settings["home"])
            self._become_user()
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != settings["keeper"]:
                os._exit(1)
            for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(settings["agent"], 0)
            os.dup2(2, 1)
            passed = {info, block, *settings["descriptors"]} - {settings["agent"]}
            for handle in map(int, os.listdir("/proc/self/fd")):
                if handle in passed:
                    os.set_inheritable(handle, True)
                elif handle > 2:  # what is left open here would be open inside
                    with suppress(OSError):
                        os.close(handle)
            channels = ["--info-fd", str(info), "--block-fd", str(block)]
            os.execv(
                settings["bubblewrap"],
                ["bwrap", "--args", str(settings["arguments"]), *channels, "--", *settings["command"]],
            )
        except OSError as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(1)

    def _await_walls(self, wrapper: int) -> bool:
        """Waits until bubblewrap has made the walls, and waits for `begin`."""
        waiting = select.poll()
        waiting.register(wrapper, select.POLLIN)
        for _ in range(int(_SETUP_S / 0.005)):
            with suppress(OSError), open(f"/proc/{self._first}/mountinfo") as file:
                mounts = {line.split()[4]: line.split()[5] for line in file}
                if mounts.get("/", "").startswith("ro") and "/home/me" in mounts:
                    return True
            if waiting.poll(5):
                return False
        return False

    def _as_user(self, change: Callable[[], None]) -> None:
        """Changes something about the first process, once there is a user namespace.

        Done as the sandbox's own user: root has the right to it only with capabilities that containers lack.
        """
        child = os.fork()
        if not child:
            try:
                self._become_user()
                change()
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitpid(child, 0)[1]:
            raise OSError("the limits of the sandbox cannot be set")

    def _limit_processes(self) -> None:
        processes = self._limits["processes"]
        resource.prlimit(self._first, resource.RLIMIT_NPROC, (processes, processes))

    def _lower(self) -> None:
        folder = os.open(f"/proc/{self._first}", os.O_RDONLY)
        lower_session(folder)
        os.setpriority(os.PRIO_PROCESS, self._first, 19)
        os.sched_setscheduler(self._first, os.SCHED_IDLE, os.sched_param(0))

    def _become_user(self) -> None:
        if self._settings["root"]:
            os.setgroups([])
            os.setresgid(*[self._settings["gid"]] * 3)
            os.setresuid(*[self._settings["uid"]] * 3)

    def _keep(self, watch: Watch, wrapper: int, block: int) -> str:
        waiting = select.poll()
        waiting.register(wrapper, select.POLLIN)
        waiting.register(self._peer, select.POLLIN)
        ticks = 0
        while True:
            ready = {handle for handle, _ in waiting.poll(TICK_S * 1000)}
            if self._peer.fileno() in ready:
                match self._line():
                    case "begin":
                        os.write(block, b"\0")
                    case "lower":
                        self._as_user(self._lower)
                        self.say(lowered=True)
                    case _:
                        return ""
            if wrapper in ready:
                if self._group and self._group.ran_out():
                    return f"it used all {self._limits['memory'] >> 20} MiB of memory that it may use"
                return "its first process ended"
            ticks += 1
            if reason := watch.look():
                return reason
            if ticks % _TELL_TICKS == 1:
                self.say(use=watch.use)

    def end(self) -> None:
        """Ends all processes of the sandbox, and waits for them."""
        with suppress(ProcessLookupError):
            if self._first_process:
                signal.pidfd_send_signal(self._first_process, signal.SIGKILL)
        if self._wrapper:
            self._reap()
        if self._group:
            self._group.close()

    def clean(self) -> None:
        """Removes the files of the sandbox."""
        if self._made:
            remove(self._settings["home"], os.path.join(self._settings["folder"], staging.IMAGE))

    def _reap(self) -> None:
        """bubblewrap ends once the first process is gone, which the kernel lets end after all others inside."""
        wrapper = os.pidfd_open(self._wrapper)
        waiting = select.poll()
        waiting.register(wrapper, select.POLLIN)
        if not waiting.poll(_SETUP_S * 1000):
            os.kill(self._wrapper, signal.SIGKILL)
        os.waitpid(self._wrapper, 0)

    def _line(self) -> str:
        """The next line that the peer says; empty if it is gone."""
        return read_line(self._peer, self._heard)

    def say(self, **message: Any) -> None:
        with suppress(OSError):
            self._peer.sendall(json.dumps(message).encode() + b"\n")


def remove(home: str, *files: str) -> None:
    """Removes the home of a sandbox, whatever its programs left in it, and other files."""
    opened = [["chmod", "-R", "u+rwx", home]] if os.geteuid() else []
    for command in (*opened, ["rm", "-rf", home, *files]):
        with suppress(OSError):
            staging.run(*command)


def read_line(peer: socket.socket, heard: bytearray) -> str:
    while b"\n" not in heard and len(heard) < _LINE_BYTES:
        try:
            piece = peer.recv(4096)
        except OSError:
            return ""
        if not piece:
            return ""
        heard += piece
    line, _, rest = heard.partition(b"\n")
    heard[:] = rest
    return line.decode()


def main() -> None:
    """`keeper` with a socket to the peer as standard input."""
    peer = socket.socket(fileno=os.dup(0))
    if not (line := read_line(peer, bytearray())):
        return  # the peer is gone already
    settings = json.loads(line)
    settings["keeper"] = os.getpid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    keeper = Keeper(peer, settings)
    try:
        reason = keeper.run()
    except (OSError, ValueError) as error:
        reason = f"its keeper failed: {error}"
    finally:
        keeper.end()
    keeper.say(ended=reason)
    keeper.clean()
    sys.exit(0)
