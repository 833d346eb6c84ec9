"""What a peer that runs as root does before it gives up its rights for a sandbox: makes its files reachable.

The user that the sandbox runs as may not enter this peer's folders. So they are mounted where it may, in a mount
namespace of the sandbox alone: no mount shows anywhere else, and all are gone with the last process of the sandbox,
however that ended. A file system of a fixed size for the home lies in a file that has no name any more.

Only the standard library: see `keeper`. All this runs in a process of its own, which then becomes the sandbox.
"""

import ctypes
import os
import shutil
from collections.abc import Sequence

STAGE = "/tmp"
"""Covered by a small file system in the sandbox's own mount namespace."""
HOME = f"{STAGE}/home"
MAKE_FILES = "mkfs.ext4"
IMAGE = "disk"
_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_BIND, _MS_SLAVE = 0x2, 0x4, 0x4000, 0x1000, 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def staged(index: int) -> str:
    """Where the source of this index is found once it has been staged."""
    return f"{STAGE}/{index}"


def make_disk(folder: str, size: int, uid: int, gid: int) -> bool:
    """Makes a file system of this size in a file of the folder. False if this machine cannot."""
    program = shutil.which(MAKE_FILES, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None or not os.path.exists("/dev/loop-control"):
        return False
    image = os.path.join(folder, IMAGE)
    with open(image, "xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(size)
    # It lives no longer than the sandbox, so it needs no journal.
    options = f"root_owner={uid}:{gid},lazy_itable_init=1,nodiscard"
    made = run(program, "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", options, image) == 0
    if not made:
        os.unlink(image)
    return made


def stage(folder: str, sources: Sequence[str], home: str) -> None:
    """Mounts sources and home at their places below STAGE, for this process and its children. Raises OSError."""
    separate_mounts()
    handles = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (*sources, home)]
    image = os.path.join(folder, IMAGE)
    disk = os.open(image, os.O_RDWR | os.O_CLOEXEC) if os.path.exists(image) else None
    if disk is not None:
        os.unlink(image)
    cover(STAGE)
    for handle, place in zip(handles, [*map(staged, range(len(sources))), HOME], strict=True):
        source = f"/proc/self/fd/{handle}"
        if os.path.isdir(source):
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_CLOEXEC, 0o600))
        if place != HOME or disk is None or not _mount_disk(disk):
            bind(source, place)


def separate_mounts() -> None:
    """Gives this process mounts of its own. Raises OSError."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", "", _MS_REC | _MS_SLAVE)  # what this machine unmounts is unmounted here too


def cover(folder: str) -> None:
    """Mounts a small empty file system that everybody may read. Raises OSError."""
    _mount("none", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")


def bind(source: str, target: str) -> None:
    """Makes a file or folder available at another path, and all that is mounted below it. Raises OSError."""
    _mount(source, target, "", _MS_BIND | _MS_REC)


def _mount_disk(disk: int) -> bool:
    os.set_inheritable(disk, True)
    if run("mount", "-n", "-t", "ext4", "-o", "loop,nosuid,nodev", f"/proc/self/fd/{disk}", HOME):
        return False
    os.rmdir(f"{HOME}/lost+found")
    return True


def run(*command: str) -> int:
    """Runs a program, without input or output. Returns its exit code. Raises OSError."""
    nothing = [(os.POSIX_SPAWN_OPEN, handle, os.devnull, os.O_RDWR, 0) for handle in (0, 1, 2)]
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=nothing)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode() for word in (source, target, kind, data)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
