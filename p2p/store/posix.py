"""All platform-dependent system calls of this package: what POSIX offers beyond Python's portable functions.

Paths are opened folder by folder without following symbolic links, so that neither a manifest nor another program can
make a fetch write outside its output folder.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from p2p import causes, private
from p2p.errors import HomeInUse, StorageError
from p2p.homes import LOCK_FILE

SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags for opening a user's file: follow no link, and do not wait for a writer if there is a pipe in its place."""
ANYBODYS = 0o666
"""The mode of a new file that is a user's, apart from what the user's umask takes away."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ELSEWHERE = "Choose another --home."
_SUPPORTS_NOWAIT = hasattr(os, "RWF_NOWAIT")
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def opened(path: Path | str, flags: int, folder: int | None = None, mode: int = ANYBODYS) -> Iterator[int]:
    """Opens a user's file `SAFELY` for the body; the path is relative to `folder`, if given. Raises OSError."""
    descriptor = os.open(path, flags | SAFELY, mode, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def set_modified(descriptor: int, modified_ns: int) -> None:
    """Sets the modification time of an open file or folder, or the nearest that the disk can hold; may do nothing."""
    # Some disks hold no such time, and only the owner of a file may set it.
    with contextlib.suppress(OSError, OverflowError):
        os.utime(descriptor, ns=(modified_ns, modified_ns))


def open_folder(path: Path) -> int:
    """Opens a folder that the user named, following links in its path. Returns a descriptor."""
    return os.open(path, _FOLDER)


def open_beneath(root: int, parts: tuple[str, ...]) -> int:
    """Opens the folder at `parts` below the folder `root`, made if needed. No link is followed. Returns a descriptor.

    Raises OSError, and StorageError if a link or a file is in the way.
    """
    try:
        return _descend(root, parts, _open_or_make)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise StorageError(
                f"{'/'.join(parts)!r} leads through a link or a file. Move it away or choose another --out."
            ) from error
        raise


@contextlib.contextmanager
def existing(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Opens the folder at `parts` below the folder `root` for the body. No link is followed. Raises OSError."""
    folder = _descend(root, parts, _open)
    try:
        yield folder
    finally:
        os.close(folder)


def may_make(root: int, parts: tuple[str, ...]) -> bool | None:
    """Whether this user may make files in the folder at `parts` below the folder `root`; None if it is not there.

    True also for a link or a file in its place, whose own error says more.
    """
    try:
        with existing(root, parts) as folder:
            effective = os.access in os.supports_effective_ids
            return os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=effective)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.errno not in {errno.EACCES, errno.EPERM}


def _descend(root: int, parts: tuple[str, ...], enter: Callable[[str, int], int]) -> int:
    """Enters one folder after the other, each in the one before. Returns a descriptor of the last. Raises OSError."""
    current = os.dup(root)
    try:
        for part in parts:
            following = enter(part, current)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def _open(name: str, parent: int) -> int:
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)


def _open_or_make(name: str, parent: int) -> int:
    try:
        return _open(name, parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        return _open(name, parent)


def read_without_waiting(descriptor: int, view: memoryview, offset: int) -> int | None:
    """Reads only what is already in memory. Returns None if the disk would have to be read, or if that is unknown."""
    if not _SUPPORTS_NOWAIT:
        return None
    try:
        return os.preadv(descriptor, [view], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        # A file system without this feature is one in memory (tmpfs).
        return os.preadv(descriptor, [view], offset)


def sync_file_system(descriptor: int) -> None:
    """Syncs everything written to the descriptor's file system to the disk."""
    if hasattr(_libc, "syncfs"):
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    else:
        os.sync()


def rename_new(name: str, new: str, folder: int) -> None:
    """Renames a file within a folder. Never replaces a file, but raises FileExistsError. Raises other OSErrors too."""
    if hasattr(_libc, "renameat2"):
        if not _libc.renameat2(folder, os.fsencode(name), folder, os.fsencode(new), _RENAME_NOREPLACE):
            return
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOSYS}:
            raise OSError(code, os.strerror(code), new)
    # Some file systems in user space cannot do this in one step: two steps are the best possible.
    try:
        os.stat(new, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)


def boot_id() -> str:
    """An id that changes with every boot. Data that may have been in memory only is not believed after a reboot.

    If the system does not say, as in some containers, every call has an id of its own.
    """
    try:
        if sys.platform == "linux":
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.boottime"], check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.urandom(16).hex()


def resident_bytes() -> int | None:
    """How many bytes of RAM this process uses; None if the system does not say, as when no descriptor is left."""
    try:
        import psutil  # late: not needed by short commands
    except OSError:
        return None
    try:
        return psutil.Process().memory_info().rss
    except (OSError, psutil.Error):
        return None


def machine_memory_bytes() -> int:
    """How many bytes of RAM this machine has."""
    with contextlib.suppress(OSError):  # no /proc, or no descriptor left to read it with
        import psutil  # late, as above

        with contextlib.suppress(psutil.Error):
            return psutil.virtual_memory().total
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextlib.contextmanager
def lock_home(home: Path, folders: Sequence[str] = ()) -> Iterator[None]:
    """Locks the home for one peer. The kernel frees it if a peer dies. The named folders in it are only this user's.

    Raises HomeInUse if another peer has the lock; StorageError.
    """
    path = home / LOCK_FILE
    try:
        private.make_folder(home)
        if (exposed := private.exposure(home)) is not None:
            must_be = "a peer's home must be its user's alone"
            raise StorageError(f"{exposed.who}, and {must_be}: {exposed.advice}, or choose another --home.")
        for name in folders:
            private.close_folder(home / name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"Cannot use {home} as this peer's home: {causes.explained(error, _ELSEWHERE, forbidden=_ELSEWHERE)}"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                f"Another peer is running in {home}. Stop it, or give this one a home of its own with --home."
            ) from None
        except OSError as error:
            raise StorageError(f"Cannot lock {path}: {causes.explained(error, _ELSEWHERE)}") from error
        yield
    finally:
        os.close(descriptor)
