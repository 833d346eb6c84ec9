"""Opens a native sandbox, starts programs in it, and says why it ended: the interface for the rest of the peer."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import sample

import msgspec
import trio

from p2p.errors import SandboxFailed
from p2p.sandbox.native import bubblewrap, readiness, seccomp, staging
from p2p.sandbox.native.bounds import Bound, bounds
from p2p.sandbox.native.keeper import remove
from p2p.sandbox.native.programs import Process, Programs
from p2p.sandbox.native.spec import HOME, Account, Spec, check

_START_S = 60.0
_END_S, _LOOK_S = 10.0, 0.02
_LINE_BYTES = 1 << 16
_WORDS_BYTES, _WORDS_S, _PAUSE_S = 2000, 1.0, 0.05
_PACKAGES = Path(__file__).resolve().parents[3]
_KEEPER = "import sys; sys.path.insert(0, sys.argv[1]); from p2p.sandbox.native.keeper import main; main()"


class _Told(msgspec.Struct, frozen=True):
    """What the keeper says: see `keeper`."""

    pid: int = 0
    sized: bool = False
    grouped: bool = False
    lowered: bool = False
    use: tuple[int, int, int] | None = None
    ended: str | None = None


class NativeSandbox:
    """A sandbox. Its programs may be started once it has begun."""

    def __init__(
        self, account: Account, home: Path, programs: Programs, keeper: trio.SocketStream, *, idle: bool
    ) -> None:
        self.account = account
        self.home = home
        """The home of the programs inside, as a path of this process, while the sandbox lives."""
        self.pid = 0
        """Its first process, seen from outside."""
        self.use = (0, 0, 0)
        """What it used a moment ago: bytes of memory, bytes of disk, processes."""
        self.bounds: tuple[Bound, ...] = ()
        """What enforces its limits, and how closely."""
        self.ended = trio.Event()
        self.reason = ""
        """Why it ended, as the end of a sentence; empty if this peer ended it."""
        self._programs = programs
        self._keeper = keeper
        self._idle = idle
        self._standing = trio.Event()
        self._lowered = trio.Event()
        self._is_over = False
        self._held: list[int] = []
        self._words = bytearray()
        self._all_said = trio.Event()

    async def begin(self) -> None:
        """Lets the first process begin. Raises SandboxFailed."""
        await self._tell(b"begin\n")
        with trio.move_on_after(_START_S):
            await self._programs.news.wait()
            if self._programs.is_ready:
                if self._idle:  # only now: a busy machine would keep it from loading
                    await self._tell(b"lower\n")
                    await self._lowered.wait()
                return
            await self.ended.wait()
        raise SandboxFailed(f"The sandbox does not start: {await self._why()}.")

    async def start(self, argv: Sequence[str], variables: Mapping[str, str], name: str) -> Process:
        """Starts a program in the home, without input; its variables are those of the sandbox and these.

        `name` is for people. Raises SandboxFailed.
        """
        return await self._programs.start(argv, variables, name)

    async def stand(self, settings: bytes) -> None:
        """Has the walls made, and waits until they stand. Raises SandboxFailed."""
        await self._tell(settings + b"\n")
        with trio.move_on_after(_START_S):
            await self._standing.wait()
        if not self.pid or self.ended.is_set():
            raise SandboxFailed(f"The sandbox cannot be made: {await self._why()}.")

    async def converse(self) -> None:
        """Hears from the agent until that is gone; ends the sandbox of one that breaks the rules."""
        await self._programs.run()
        if self._programs.failure:
            self.reason = self._programs.failure
            await self._tell(b"end\n")

    async def listen(self) -> None:
        """Hears from the keeper until that has ended, even if all else is cancelled: `close` waits for it."""
        heard = bytearray()
        with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for piece in self._keeper:
                heard += piece
                while (end := heard.find(b"\n")) >= 0:
                    self._hear(msgspec.json.decode(heard[:end], type=_Told))
                    del heard[: end + 1]
        if not self._is_over:
            self.reason = "its keeper was killed"
        self.ended.set()
        self._standing.set()
        self._lowered.set()

    async def read_words(self, pipe: int) -> None:
        """Keeps the end of what bubblewrap and the agent print."""
        async with trio.lowlevel.FdStream(pipe) as stream:
            async for piece in stream:
                self._words += piece
                del self._words[:-_WORDS_BYTES]
                await trio.sleep(_PAUSE_S)
        self._all_said.set()

    async def close(self) -> None:
        """Ends the sandbox, and returns once nothing is left of it."""
        await self._tell(b"end\n")
        await self.ended.wait()
        self._programs.close()
        while self._held:
            os.close(self._held.pop())

    async def _tell(self, line: bytes) -> None:
        try:
            await self._keeper.send_all(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()  # the sandbox has ended

    def _hear(self, told: _Told) -> None:
        if told.pid:
            self.pid = told.pid
            self.bounds = bounds(grouped=told.grouped, sized=told.sized)
            if told.sized:
                self._hold_home()
            self._standing.set()
        if told.lowered:
            self._lowered.set()
        if told.use is not None:
            self.use = told.use
        if told.ended is not None:
            self.reason, self._is_over = told.ended or self.reason, True
            self.ended.set()

    def _hold_home(self) -> None:
        """Holds on to a home that shows nowhere outside: a path by the process's number may lead elsewhere later."""
        with suppress(OSError), ExitStack() as stack:  # it has ended already
            process = os.pidfd_open(self.pid)
            stack.callback(os.close, process)
            home = os.open(f"/proc/{self.pid}/root{HOME}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, home)
            signal.pidfd_send_signal(process, 0)
            self._held.append(os.dup(home))
            self.home = Path(f"/proc/self/fd/{self._held[0]}")

    async def _why(self) -> str:
        with trio.move_on_after(_WORDS_S):
            await self._all_said.wait()
        words = bytes(self._words).decode("utf-8", "replace").strip().splitlines()
        reasons = [self.reason, *words[-1:]]
        return ": ".join(reason for reason in reasons if reason) or f"it was not ready after {_START_S:.0f} s"


@asynccontextmanager
async def open_native(spec: Spec, folder: Path, account: Account, *, idle: bool = True) -> AsyncIterator[NativeSandbox]:
    """Opens a sandbox whose programs have not begun yet. Raises SandboxFailed.

    `folder` is the sandbox's own on this machine, and empty; its home is made there. At the end nothing is left:
    processes, mounts, files. Only if this peer and the keeper are killed at the same instant, files are.
    `idle`: its programs get only processor time that nothing else wants.
    """
    check(spec)
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxFailed(readiness.NO_BUBBLEWRAP)
    root = os.geteuid() == 0
    if root and account.uid == 0:
        raise SandboxFailed("A native sandbox never runs as root.")
    home = folder / "home"
    binds = bubblewrap.binds(spec)
    sources = [str(bind.source) for bind in binds]
    with ExitStack() as failed, ExitStack() as stack:
        descriptors: list[int] = []

        def hand(data: bytes) -> int:
            descriptors.append(_file(data))
            stack.callback(os.close, descriptors[-1])
            return descriptors[-1]

        agent, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, theirs = socket.socketpair()
        for kept, handed in ((agent, inside), (ours, theirs)):
            failed.enter_context(kept)
            stack.enter_context(handed)
        files = {path: hand(text.encode()) for path, text in bubblewrap.small_files(spec).items()}
        places = [staging.staged(index) for index in range(len(sources))] if root else sources
        targets = [(place, bind.target) for place, bind in zip(places, binds, strict=True)]
        arguments = bubblewrap.arguments(
            spec, targets, files, staging.HOME if root else str(home), hand(seccomp.program())
        )
        settings = {
            "root": root,
            "uid": account.uid,
            "gid": account.gid,
            "idle": idle,
            "folder": str(folder),
            "home": str(home),
            "sources": sources,
            "in_memory": list(bubblewrap.memory_sizes(spec.limits)),
            "limits": msgspec.to_builtins(spec.limits),
            "file_bytes": max(spec.limits.disk, spec.limits.memory),
            "processors": sorted(_processors(spec.limits.cores)),
            "bubblewrap": program,
            "arguments": hand(b"".join(argument.encode() + b"\0" for argument in arguments)),
            "command": bubblewrap.command(spec),
            "agent": inside.fileno(),
            "descriptors": [*descriptors, inside.fileno()],
        }
        process, words = await _start_keeper(theirs, [*descriptors, inside.fileno()])
        failed.pop_all()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    failure: SandboxFailed | None = None
    async with trio.open_nursery() as nursery:
        programs = Programs(agent, account, nursery)
        sandbox = NativeSandbox(account, home, programs, stream, idle=idle)
        nursery.start_soon(sandbox.listen)
        nursery.start_soon(sandbox.read_words, words)
        nursery.start_soon(sandbox.converse)
        try:
            try:
                await sandbox.stand(msgspec.json.encode(settings))
            except SandboxFailed as error:
                failure = error  # raised below: here it would become a group
            else:
                yield sandbox
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.close()
                await process.wait()
                await stream.aclose()
                if sandbox.pid:
                    await trio.to_thread.run_sync(_remove, home, sandbox.pid)
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _remove(home: Path, first: int) -> None:
    """Removes the home if the keeper could not, once the processes that died with it are gone."""
    if not home.exists():
        return
    end = time.monotonic() + _END_S
    while Path(f"/proc/{first}").exists() and time.monotonic() < end:
        time.sleep(_LOOK_S)
    remove(str(home))


def _file(data: bytes) -> int:
    """A file in memory, to be read from its beginning."""
    file = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    os.write(file, data)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _processors(cores: int) -> list[int]:
    there = sorted(os.sched_getaffinity(0))
    return sample(there, min(cores, len(there)))


async def _start_keeper(control: socket.socket, descriptors: list[int]) -> tuple[trio.Process, int]:
    """The keeper's process, and the read end of the pipe that it and the sandbox complain to."""
    words, complaints = os.pipe2(os.O_CLOEXEC)
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(_PACKAGES)],
            stdin=control.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=descriptors,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    except BaseException:
        os.close(words)
        raise
    finally:
        os.close(complaints)
    return process, words
