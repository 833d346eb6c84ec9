"""The first process of a native sandbox: starts programs and reaps whatever ends. Only the standard library of 3.9.

Its standard input is a socket that keeps messages apart, each a JSON object. In:
    {"start": N, "argv": [...], "variables": {...}} with a descriptor for output    {"signal": N, "number": S}
Out:
    {"ready": true}    {"started": N}    {"failed": N, "why": "..."}    {"ended": N, "code": C}, negative for a signal
When the socket closes this process ends, and everything in the sandbox with it. It is an aid, not a wall: the walls
are outside, and do not depend on what it does.
"""

from __future__ import annotations

import array
import json
import os
import select
import shutil
import signal
import socket
from typing import Any

_MESSAGE_BYTES = 1 << 17
_IGNORED = signal.SIGPIPE, signal.SIGXFSZ  # by Python


class Agent:
    """Starts and reaps. `running` has the number of each program, by its process."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._running: dict[int, int] = {}
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def say(self, **message: Any) -> None:
        self._peer.sendall(json.dumps(message).encode())

    def hear(self) -> None:
        """Does what the next message says; ends this process if there is none."""
        passed = array.array("i")
        data, ancillary, _, _ = self._peer.recvmsg(
            _MESSAGE_BYTES, socket.CMSG_SPACE(passed.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        for _, _, handles in ancillary:
            passed.frombytes(handles)
        if not data:
            os._exit(0)
        message = json.loads(data)
        try:
            if "start" in message:
                self._start(message, passed[0])
            else:
                self._signal(message)
        finally:
            for handle in passed:
                os.close(handle)

    def _start(self, message: dict[str, Any], output: int) -> None:
        argv, variables = message["argv"], {**os.environ, **message["variables"]}
        actions = [
            (os.POSIX_SPAWN_DUP2, source, target) for source, target in ((self._nothing, 0), (output, 1), (output, 2))
        ]
        try:
            program = shutil.which(argv[0], path=variables.get("PATH"))
            if program is None:
                raise FileNotFoundError(2, "there is no such program")
            process = os.posix_spawn(
                program, argv, variables, file_actions=actions, setsid=True, setsigmask=[], setsigdef=_IGNORED
            )
        except (OSError, ValueError) as error:
            self.say(failed=message["start"], why=f"{argv[0]}: {getattr(error, 'strerror', None) or error}")
            return
        self._running[process] = message["start"]
        self.say(started=message["start"])

    def _signal(self, message: dict[str, Any]) -> None:
        for process, number in self._running.items():
            if number == message["signal"]:
                os.killpg(process, message["number"])  # not reaped, so the group is still the program's

    def reap(self) -> None:
        """Takes leave of all processes that have ended, and tells which programs did."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            if process in self._running:
                self.say(ended=self._running.pop(process), code=os.waitstatus_to_exitcode(status))


def main() -> None:
    waking, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    peer = socket.socket(fileno=0)
    agent = Agent(peer)
    agent.say(ready=True)
    while True:
        readable = select.select([peer.fileno(), waking], [], [])[0]
        if waking in readable:
            os.read(waking, 4096)
            agent.reap()
        if peer.fileno() in readable:
            agent.hear()


if __name__ == "__main__":
    main()
