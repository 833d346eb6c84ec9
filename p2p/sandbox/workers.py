"""The worker processes of a sandbox: one per runtime, which forks the guests.

A worker is started once and parked (see `worker`). Every guest of its runtime is forked from it, so a guest's process
has never run another job's code, and starts within milliseconds. If a worker dies, its guests die too; the worker is
started again for the next guest that needs it.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path

import trio

from p2p.errors import SandboxFailed
from p2p.sandbox import compiled, isolation, messages
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import SEED_BYTES, GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime

_START_S = 60.0
_ORDER_S = 60.0
"""How long an order may take: on a busy machine, an idle worker gets little processor time."""
_END_S = 10.0
_MAX_IDLE_WORKERS = 3


class Worker:
    """The peer's side of one worker process: orders it to start and end guests."""

    def __init__(self, process: trio.Process, control: trio.socket.SocketType) -> None:
        self.process = process
        self._control = control
        self._turn = trio.Lock()
        self._numbers = 0
        self.guests = 0

    async def start_guest(self) -> tuple[int, socket.socket]:
        """Forks a guest. Returns its number and the socket to it. Raises SandboxFailed."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                number = self._numbers = self._numbers + 1  # others may be starting at the same time
                await self._order(messages.START, number, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        return number, ours

    async def cpu_s(self, number: int) -> float:
        """How many seconds the guest's process has run so far. Raises SandboxFailed if that cannot be known."""
        words = await self._order(messages.CPU, number)
        try:
            return float(words)
        except ValueError:
            raise SandboxFailed("A sandbox worker does not answer.") from None

    async def end_guest(self, number: int) -> None:
        """Kills the guest, and returns once it is gone."""
        await self._order(messages.END, number)

    async def _order(self, order: int, number: int, passed: int | None = None) -> str:
        head = messages.ORDER.pack(order, number)
        rights = [] if passed is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed.to_bytes(4, sys.byteorder))]
        async with self._turn:
            try:
                # Not cancellable: an answer left unread would be taken for the next order's.
                with trio.fail_after(_ORDER_S, shield=True):
                    await self._control.sendmsg([head], rights)
                    return await self.answer()
            except (OSError, trio.TooSlowError) as error:
                self.kill()
                raise SandboxFailed("A sandbox worker does not answer.") from error

    async def give(self, data: bytes) -> None:
        """Sends what the worker reads before it is ready. Raises OSError."""
        sent = 0
        while sent < len(data):
            sent += await self._control.send(data[sent:])

    async def answer(self) -> str:
        """Waits for the answer to an order, or for the worker's first message. Returns its text.

        Raises SandboxFailed, OSError.
        """
        kind, size = messages.ANSWER.unpack(await self._exactly(messages.ANSWER.size))
        if size > messages.MAX_TEXT_BYTES:
            raise OSError("a worker's answer is too long")
        words = (await self._exactly(size)).decode("utf-8", "replace")
        if kind != messages.OK:
            raise SandboxFailed(f"The sandbox cannot start a guest: {words}")
        return words

    async def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            piece = await self._control.recv(count - len(got))
            if not piece:
                raise BrokenPipeError("a worker has ended")
            got += piece
        return got

    def kill(self) -> None:
        """Ends the worker at once, and its guests with it."""
        self.process.kill()

    def is_dead(self) -> bool:
        return self.process.poll() is not None

    async def close(self) -> None:
        """Ends the worker, and returns once it is gone."""
        self._control.close()
        with trio.move_on_after(_END_S, shield=True):
            await self.process.wait()
            return
        self.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()


class Workers:
    """The workers of one peer. `cache` has the compiled modules."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._workers: dict[tuple[bytes, bool], Worker] = {}
        """By the runtime's digest, and whether they are idle."""
        self._starting = trio.Lock()

    def process_ids(self) -> list[int]:
        """The process ids of the present workers; guests are their children."""
        return [worker.process.pid for worker in self._workers.values()]

    async def close(self) -> None:
        """Ends all workers, and returns once they are gone."""
        for worker in self._workers.values():
            await worker.close()

    async def worker(self, runtime: Runtime, *, idle: bool) -> Worker:
        """Returns a worker of the runtime, started if necessary. Raises SandboxFailed; the module must be compiled.

        If the worker is `idle`, its guests run only when no other process wants to.
        """
        key = runtime.digest, idle
        async with self._starting:
            worker = self._workers.pop(key, None)
            if worker is not None and worker.is_dead():
                await worker.close()
                worker = None
            if worker is None:
                await self._make_room()
                worker = await self._start(runtime, await self._frame_ahead(runtime), idle)
            self._workers[key] = worker  # last: used most recently
            return worker

    async def _make_room(self) -> None:
        idle = [key for key, worker in self._workers.items() if not worker.guests]
        for key in idle[: max(0, len(idle) - _MAX_IDLE_WORKERS + 1)]:
            await self._workers.pop(key).close()

    async def _frame_ahead(self, runtime: Runtime) -> bytes:
        """What the runtime is given before it is parked. It is kept, or else made by a guest, which has no other task.

        Raises SandboxFailed.
        """
        if not runtime.ahead:
            return b""
        kept = await trio.to_thread.run_sync(compiled.frame_ahead, self._cache, runtime)
        if kept is not None:
            return kept
        worker = await self._start(runtime, b"", idle=False)
        try:
            _, connection = await worker.start_guest()
            guest = Guest(connection, worker.kill)
            try:
                frame, _ = await guest.call(runtime.ahead, seed=bytes(SEED_BYTES), limits=GuestLimits())
            finally:
                guest.discard()
        except GuestEnded as error:
            raise SandboxFailed(f"A sandbox worker for {runtime.name} does not start: {error.text}") from error
        finally:
            await worker.close()
        await trio.to_thread.run_sync(compiled.keep_frame_ahead, self._cache, runtime, frame)
        return frame

    async def _start(self, runtime: Runtime, ahead: bytes, idle: bool) -> Worker:
        if not compiled.is_compiled(self._cache, runtime):
            raise SandboxFailed(f"{runtime.name} is not compiled on this machine yet.")
        path = compiled.place(self._cache, runtime)
        ours, theirs = socket.socketpair()
        settings = {
            "compiled": str(path),
            "library": str(runtime.library) if runtime.library else None,
            "library_at": runtime.library_at,
            "resident": runtime.resident,
            "arguments": runtime.arguments,
            "environment": runtime.environment,
            "exports": runtime.exports,
            "idle": idle,
            "ahead_bytes": len(ahead),
        }
        command = [sys.executable, "-P", "-m", "p2p.sandbox.worker", str(theirs.fileno()), json.dumps(settings)]
        readable = [path, *([runtime.library] if runtime.library else [])]
        try:
            with theirs:
                process = await trio.lowlevel.open_process(
                    isolation.around(command, readable),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={},
                )
        except BaseException:
            ours.close()
            raise
        worker = Worker(process, trio.socket.from_stdlib_socket(ours))
        try:
            with trio.fail_after(_START_S):
                await worker.give(ahead)
                await worker.answer()
        except BaseException as error:
            worker.kill()
            await worker.close()
            if isinstance(error, (OSError, trio.TooSlowError)):
                raise SandboxFailed(f"A sandbox worker for {runtime.name} does not start.") from error
            raise
        return worker
