"""The programs of a sandbox, and the conversation with the agent that starts them.

What the agent says is a stranger's word: it is checked, and believed only about its own programs.
"""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import trio

from p2p.errors import SandboxFailed
from p2p.sandbox.native.output import Output, pipe_for
from p2p.sandbox.native.spec import Account

_ORDER_BYTES = 1 << 17
_ANSWER_BYTES = 1 << 14
_START_S = 60.0
_TEXT = 500
_PAUSE_S = 0.001
"""Between messages: an agent that says more than a thousand a second waits."""


class _Said(msgspec.Struct, frozen=True):
    """What the agent says: see `agent`."""

    ready: bool = False
    started: int | None = None
    failed: int | None = None
    why: str = ""
    ended: int | None = None
    code: int = 0


class Process:
    """A program in a sandbox."""

    def __init__(self, programs: "Programs", number: int, output: Output) -> None:
        self._programs = programs
        self.number = number
        self.output = output
        """What it prints, to stdout and stderr: the last MiB of what nobody has received yet."""
        self.begun = trio.Event()
        self.failure = ""
        """Why it could not be started."""
        self._over = trio.Event()
        self._code = -signal.SIGKILL

    async def wait(self) -> int:
        """Waits until it has ended. Returns its exit code, negative for a signal; -9 if the sandbox ended."""
        await self._over.wait()
        return self._code

    async def signal(self, number: int) -> None:
        """Signals the program and what it has started, unless that left its process group. Does nothing at the end."""
        if not self._over.is_set():
            with suppress(SandboxFailed), trio.move_on_after(_START_S):  # the sandbox is ending, and this with it
                await self._programs.order({"signal": self.number, "number": int(number)})

    def end(self, code: int | None = None) -> None:
        """It has ended, with this code, or with the sandbox."""
        self._code = self._code if code is None else code
        self.begun.set()
        self._over.set()


class Programs:
    """The programs of one sandbox, over a socket to its agent."""

    def __init__(self, agent: socket.socket, account: Account, nursery: trio.Nursery) -> None:
        agent.setblocking(False)
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _ORDER_BYTES)
        self._agent = agent
        self._account = account
        self._nursery = nursery
        self._turn = trio.Lock()
        self._numbers = 0
        self._processes: dict[int, Process] = {}
        self.is_ready = False
        """Whether the agent runs, or ran."""
        self.news = trio.Event()
        """Set once the agent runs, or has ended before."""
        self.failure = ""
        """What the agent did wrong."""

    async def run(self) -> None:
        """Listens to the agent until it is gone. Then all programs have ended."""
        try:
            while data := await self._receive():
                self._hear(msgspec.json.decode(data, type=_Said))
                await trio.sleep(_PAUSE_S)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            self.failure = "its agent said something that no agent says"
        finally:
            self.news.set()
            for process in self._processes.values():
                process.end()
            self._processes.clear()

    async def start(self, argv: Sequence[str], variables: Mapping[str, str], name: str) -> Process:
        """See `NativeSandbox.start`."""
        self._numbers += 1
        read, write = pipe_for(*self._account)
        process = Process(self, self._numbers, Output(read))
        self._nursery.start_soon(process.output.run)
        self._processes[process.number] = process
        try:
            await self.order({"start": process.number, "argv": list(argv), "variables": dict(variables)}, write)
            os.close(write)
            write = -1
            with trio.move_on_after(_START_S):
                await process.begun.wait()
            if not process.begun.is_set():
                process.failure = "the agent does not answer"
        except BaseException:
            self._drop(process)
            raise
        finally:
            if write >= 0:
                os.close(write)
        if process.failure:
            self._drop(process)
            raise SandboxFailed(f"{name} cannot be started: {process.failure}")
        return process

    def _drop(self, process: Process) -> None:
        """Forgets a program that was not started: the agent may keep the other end of its output open for ever."""
        self._processes.pop(process.number, None)
        process.output.drop()

    async def order(self, message: Mapping[str, Any], descriptor: int | None = None) -> None:
        """Tells the agent something. Raises SandboxFailed."""
        data = msgspec.json.encode(message)
        if len(data) > _ORDER_BYTES:
            raise SandboxFailed("The command and its variables are too long.")
        async with self._turn:
            while True:
                try:
                    socket.send_fds(self._agent, [data], [] if descriptor is None else [descriptor])
                    return
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._agent)
                except OSError as error:
                    raise SandboxFailed("The sandbox has ended.") from error

    def close(self) -> None:
        """Ends the conversation, upon which the agent ends."""
        trio.lowlevel.notify_closing(self._agent)
        self._agent.close()

    async def _receive(self) -> bytes:
        while True:
            try:
                return self._agent.recv(_ANSWER_BYTES)
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self._agent)
                except trio.ClosedResourceError:
                    return b""
            except OSError:
                return b""

    def _hear(self, said: _Said) -> None:
        if said.ready:
            self.is_ready = True
            self.news.set()
        if (process := self._processes.get(said.started or 0)) is not None:
            process.begun.set()
        if (process := self._processes.pop(said.failed or 0, None)) is not None:
            process.failure = said.why[:_TEXT] or "no reason was given"
            process.end()
        if (process := self._processes.pop(said.ended or 0, None)) is not None:
            process.end(said.code)
