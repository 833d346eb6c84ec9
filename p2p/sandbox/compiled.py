"""The cache of compiled modules: a private folder for each user, since the files in it are executed without checks.

A file's name is a digest of all that the file depends on: module, engine, settings, the processor's features. Each
module is compiled once, in a child process (`compiling`), by one of the user's processes at a time. A file that another
user could have written is never loaded.

Beside the modules are frames that guests made, once, of the `ahead` of their runtimes: their names are digests too.
"""

import contextlib
import fcntl
import functools
import os
import platform
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO

import platformdirs
import trio
from blake3 import blake3

from p2p import causes
from p2p.errors import SandboxFailed
from p2p.formats import format_size
from p2p.sandbox.runtimes import MODULE, PYTHON, SCIENCE, Runtime

MAX_MODULE_BYTES = 64 * 1024 * 1024
"""The largest module that a job may bring; the modules of our own runtimes may be larger."""
MAX_COMPILE_S = 1_800.0
MAX_MODULE_COMPILE_S = 600.0
"""More than the processor time that the compiler of a job's module may use: it may have to wait for other processes."""
_KEY_LETTERS = 32
_MODULES_KEPT = 64
_VERSIONS_KEPT = 3
"""How many compiled versions of each runtime are kept: the user's other installations may have other engine versions.
"""
_AHEAD = "ahead"
_FRAMES_KEPT = 8
_DIGEST_BYTES = 32
_LOCK_INTERVAL_S = 0.2
_WORDS_BYTES = 4_096
_SETTINGS = 1
"""The version of `engine.engine`: change it whenever that function changes."""


def default_folder() -> Path:
    """The user's own cache folder, shared by all homes; for a user who has none, a folder for temporary files."""
    try:
        return Path(platformdirs.user_cache_dir("shoal", appauthor=False)) / "compiled"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"shoal-compiled-{os.getuid()}"


@functools.cache
def _machine() -> str:
    """Everything that compiled code depends on except the module."""
    from importlib import metadata  # late: most peers run no guests

    try:
        processor = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        features = [line for line in processor.splitlines() if line.startswith(("flags", "Features"))]
    except OSError:
        features = [platform.processor()]
    try:
        version = metadata.version("wasmtime")
    except metadata.PackageNotFoundError as error:
        raise SandboxFailed("The package wasmtime is missing. Install Shoal again.") from error
    return repr((_SETTINGS, version, platform.machine(), sys.platform, features))


def place(cache: Path, runtime: Runtime) -> Path:
    """The path of the compiled module, whether or not it exists."""
    key = blake3(_machine().encode() + runtime.module_digest).hexdigest()
    return cache / f"{runtime.name}-{key[:_KEY_LETTERS]}"


def is_compiled(cache: Path, runtime: Runtime) -> bool:
    """Whether the compiled module exists, and only this user could have written it."""
    return _is_private(place(cache, runtime))


def _is_private(path: Path) -> bool:
    """Whether the file exists, and only this user could have written it."""
    try:
        found, folder = path.lstat(), path.parent.lstat()
    except OSError:
        return False
    return all(
        entry.st_uid == os.geteuid() and not entry.st_mode & 0o022 and kind(entry.st_mode)
        for entry, kind in ((found, stat.S_ISREG), (folder, stat.S_ISDIR))
    )


def frame_ahead(cache: Path, runtime: Runtime) -> bytes | None:
    """The frame that a guest made of the runtime's `ahead`, if it was kept whole, and only this user could do so."""
    path = _place_ahead(cache, runtime)
    try:
        kept = path.read_bytes() if _is_private(path) else b""
    except OSError:
        return None
    digest, frame = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
    return frame if frame and digest == blake3(frame).digest() else None


def keep_frame_ahead(cache: Path, runtime: Runtime, frame: bytes) -> None:
    """Keeps the frame if the disk can hold it; otherwise it is made again."""
    with contextlib.suppress(OSError):
        with tempfile.NamedTemporaryFile(dir=cache, prefix=".new-", delete=False) as made:
            made.write(blake3(frame).digest() + frame)
        os.replace(made.name, _place_ahead(cache, runtime))
        for path in _oldest(cache, _AHEAD, _FRAMES_KEPT):
            path.unlink(missing_ok=True)


def _place_ahead(cache: Path, runtime: Runtime) -> Path:
    key = blake3(runtime.digest + runtime.ahead).hexdigest()
    return cache / f"{_AHEAD}-{key[:_KEY_LETTERS]}"


def notice(names: Sequence[str]) -> str:
    """Text for the user while the runtimes of these names are compiled."""
    took = "a few minutes and 1.5 GB of memory" if SCIENCE in names else "up to a minute"
    return f"Compiling {' and '.join(names)} for this machine, once; it takes {took}"


async def ensure_compiled(cache: Path, runtime: Runtime, tell: Callable[[str], None], *, idle: bool = False) -> None:
    """Compiles the module unless it is compiled; `tell` gets lines to show in the meantime.

    If it is `idle`, the compiler only gets processor time that nothing else on the machine wants.

    Raises SandboxFailed if the file is no valid module, is too large or takes too long, or the cache cannot be used.
    """
    await trio.to_thread.run_sync(getattr, runtime, "digest")  # reads the files, once
    if is_compiled(cache, runtime):
        return
    _make(cache)
    async with _alone(cache, tell):
        if is_compiled(cache, runtime):
            return
        try:
            await _compile(cache, runtime, tell, idle)
            _prune(cache)
        except OSError as error:
            raise SandboxFailed(
                f"{runtime.module.name} cannot be compiled in {cache}: {causes.explained(error)}"
            ) from error


def _make(cache: Path) -> None:
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = cache.lstat()
    except OSError as error:
        raise SandboxFailed(f"Cannot use {cache}: {causes.explained(error)}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SandboxFailed(f"{cache} is not a folder that only you can write to. Remove it, or run chmod 700 on it.")


@contextlib.asynccontextmanager
async def _alone(cache: Path, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Holds the cache's lock, which the kernel frees even if the process is killed."""
    try:
        descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SandboxFailed(f"Cannot use {cache}: {causes.explained(error)}") from error
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    tell("Waiting for another of your processes to finish compiling")
                told = True
                await trio.sleep(_LOCK_INTERVAL_S)  # a lock on a file has no event to wait for
        yield
    finally:
        os.close(descriptor)


async def _compile(cache: Path, runtime: Runtime, tell: Callable[[str], None], idle: bool) -> None:
    own = runtime.name != MODULE
    size = runtime.module.stat().st_size
    if not own and size > MAX_MODULE_BYTES:
        raise SandboxFailed(
            f"The module has {format_size(size)}; at most {format_size(MAX_MODULE_BYTES)} can be compiled."
        )
    made = cache / f".new-{os.getpid()}"  # one at a time: we hold the lock
    try:
        out = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(out, "wb"), tempfile.TemporaryFile() as words:
            tell(notice([runtime.name]))
            failure = await _in_child(runtime, own, out, words, idle)
        if failure is not None:
            raise SandboxFailed(f"{runtime.module.name} cannot be compiled: {failure}.")
        made.rename(place(cache, runtime))
    finally:
        made.unlink(missing_ok=True)


async def _in_child(runtime: Runtime, own: bool, out: int, words: IO[bytes], idle: bool) -> str | None:
    """Compiles into the descriptor `out`. Returns the error, if there was one."""
    command = [sys.executable, "-P", "-m", "p2p.sandbox.compiling"]
    command += [str(runtime.module), runtime.module_digest.hex(), str(out), "own" if own else "foreign"]
    command += ["idle"] if idle else []
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words, pass_fds=(out,), start_new_session=True
    )
    assert process.stdin is not None
    try:
        with trio.move_on_after(MAX_COMPILE_S if own else MAX_MODULE_COMPILE_S):
            await process.wait()
    finally:
        ended = process.poll() is not None
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()  # tells the child to stop, even if this process cannot kill it
            if not ended:
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    if not ended:
        return "it took too long"
    words.seek(0)
    said = words.read(_WORDS_BYTES).decode("utf-8", "replace").strip().partition("\n")[0]  # a crash prints many lines
    return said.rstrip(".") or f"the compiler ended with code {process.returncode}"


def _prune(cache: Path) -> None:
    """Deletes the oldest files, and those that a killed process left behind."""
    forgotten = list(cache.glob(".new-*"))
    for name, kept in ((MODULE, _MODULES_KEPT), (PYTHON, _VERSIONS_KEPT), (SCIENCE, _VERSIONS_KEPT)):
        forgotten += _oldest(cache, name, kept)
    for path in forgotten:
        path.unlink(missing_ok=True)


def _oldest(cache: Path, name: str, kept: int) -> list[Path]:
    """The files of this name that are to go, since `kept` others are newer."""
    made = sorted(cache.glob(f"{name}-{'[0-9a-f]' * _KEY_LETTERS}"), key=lambda path: path.lstat().st_mtime)
    return made[:-kept]
