"""The sandbox, as the rest of the peer uses it: one guest at a time per offered core, and one worker per runtime.

A worker is started once and parked (see `worker`). Every guest of its runtime is forked from it, so a guest's process
has never run another job's code, and starts within milliseconds. A guest keeps its slot until its process is gone. If a
worker dies, its guests die too; the worker is started again for the next guest that needs it.
"""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2p.errors import SandboxFailed
from p2p.sandbox import compiled, isolation, messages
from p2p.sandbox.guest import Guest
from p2p.sandbox.runtimes import Runtime

_START_S = 60.0
_ORDER_S = 10.0
_MAX_IDLE_WORKERS = 3


def _socket_pair() -> tuple[trio.socket.SocketType, socket.socket]:
    """Makes two connected sockets: one for trio, and a blocking one for a child process."""
    ours, theirs = socket.socketpair()
    return trio.socket.from_stdlib_socket(ours), theirs


class Worker:
    """The peer's side of one worker process: orders it to start and end guests."""

    def __init__(self, process: trio.Process, control: trio.socket.SocketType) -> None:
        self.process = process
        self._control = control
        self._turn = trio.Lock()
        self._numbers = 0
        self.guests = 0

    async def start_guest(self) -> tuple[int, trio.socket.SocketType]:
        """Forks a guest. Returns its number and the socket to it. Raises SandboxFailed."""
        ours, theirs = _socket_pair()
        try:
            with theirs:
                number = self._numbers = self._numbers + 1  # others may be starting at the same time
                await self._order(messages.START, number, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        return number, ours

    async def end_guest(self, number: int) -> None:
        """Kills the guest, and returns once it is gone."""
        await self._order(messages.END, number)

    async def _order(self, order: int, number: int, passed: int | None = None) -> None:
        head = messages.ORDER.pack(order, number)
        rights = [] if passed is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed.to_bytes(4, sys.byteorder))]
        async with self._turn:
            try:
                # Not cancellable: an answer left unread would be taken for the next order's.
                with trio.fail_after(_ORDER_S, shield=True):
                    await self._control.sendmsg([head], rights)
                    await self.answer()
            except (OSError, trio.TooSlowError) as error:
                self.kill()
                raise SandboxFailed("A sandbox worker does not answer.") from error

    async def answer(self) -> None:
        """Waits for the answer to an order, or for the worker's first message. Raises SandboxFailed, OSError."""
        kind, size = messages.ANSWER.unpack(await self._exactly(messages.ANSWER.size))
        if size > messages.MAX_TEXT_BYTES:
            raise OSError("a worker's answer is too long")
        words = (await self._exactly(size)).decode("utf-8", "replace")
        if kind != messages.OK:
            raise SandboxFailed(f"The sandbox cannot start a guest: {words}")

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
        with trio.move_on_after(_ORDER_S, shield=True):
            await self.process.wait()
            return
        self.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()


class Sandbox:
    """Starts guests, at most `cores` at a time, and the workers they need. Made by `open_sandbox`."""

    def __init__(self, cores: int, cache: Path, nursery: trio.Nursery, workers: dict[bytes, Worker]) -> None:
        self._slots = trio.Semaphore(cores, max_value=cores)
        self._cache = cache
        self._nursery = nursery
        self._workers = workers
        self._starting = trio.Lock()
        self._guests: set[Guest] = set()

    async def prepare(self, runtime: Runtime) -> None:
        """Starts and parks a worker of the runtime, so that its guests start at once. Raises SandboxFailed."""
        await self._worker(runtime)

    async def guest(self, runtime: Runtime) -> Guest:
        """Waits for a free slot, and starts a guest in it. Raises SandboxFailed; the module must be compiled."""
        await self._slots.acquire()
        try:
            worker = await self._worker(runtime)
            worker.guests += 1
            try:
                number, connection = await worker.start_guest()
            except BaseException:
                worker.guests -= 1
                raise
        except BaseException:
            self._slots.release()
            raise
        guest = Guest(connection, lambda: self._nursery.start_soon(self._end, guest, worker, number))
        self._guests.add(guest)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            guest.discard()  # nobody is left to use it
            raise
        return guest

    def process_ids(self) -> list[int]:
        """The process ids of the present workers; guests are their children."""
        return [worker.process.pid for worker in self._workers.values()]

    async def _end(self, guest: Guest, worker: Worker, number: int) -> None:
        self._guests.discard(guest)
        try:
            with trio.CancelScope(shield=True):
                await worker.end_guest(number)
        except SandboxFailed:
            pass  # the worker is dead or dying, and the guest with it
        finally:
            worker.guests -= 1
            self._slots.release()

    async def _worker(self, runtime: Runtime) -> Worker:
        key = runtime.digest
        async with self._starting:
            worker = self._workers.pop(key, None)
            if worker is not None and worker.is_dead():
                await worker.close()
                worker = None
            if worker is None:
                await self._make_room()
                worker = await self._start(runtime)
            self._workers[key] = worker  # last: used most recently
            return worker

    async def _make_room(self) -> None:
        idle = [key for key, worker in self._workers.items() if not worker.guests]
        for key in idle[: max(0, len(idle) - _MAX_IDLE_WORKERS + 1)]:
            await self._workers.pop(key).close()

    async def _start(self, runtime: Runtime) -> Worker:
        if not compiled.is_compiled(self._cache, runtime):
            raise SandboxFailed(f"{runtime.name} is not compiled on this machine yet.")
        path = compiled.place(self._cache, runtime)
        ours, theirs = _socket_pair()
        settings = {
            "compiled": str(path),
            "library": str(runtime.library) if runtime.library else None,
            "library_at": runtime.library_at,
            "resident": runtime.resident,
            "arguments": runtime.arguments,
            "environment": runtime.environment,
            "exports": runtime.exports,
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
        worker = Worker(process, ours)
        try:
            with trio.fail_after(_START_S):
                await worker.answer()
        except BaseException as error:
            worker.kill()
            await worker.close()
            if isinstance(error, (OSError, trio.TooSlowError)):
                raise SandboxFailed(f"A sandbox worker for {runtime.name} does not start.") from error
            raise
        return worker

    def _discard_all(self) -> None:
        for guest in list(self._guests):
            guest.discard()


@asynccontextmanager
async def open_sandbox(cores: int, cache: Path) -> AsyncIterator[Sandbox]:
    """Opens a sandbox for `cores` guests at once, with compiled modules from `cache`. All its processes end with it."""
    workers: dict[bytes, Worker] = {}
    try:
        async with trio.open_nursery() as nursery:
            sandbox = Sandbox(cores, cache, nursery, workers)
            try:
                yield sandbox
            finally:
                sandbox._discard_all()  # the nursery then waits until they are gone
    finally:
        with trio.CancelScope(shield=True):
            for worker in workers.values():
                await worker.close()


def describe() -> str:
    """Describes the isolation of guests on this machine, in one line."""
    return "; ".join(isolation.describe())
