"""A real disk, in memory, that holds names as USB sticks do: served to the kernel over FUSE, and mounted by root.

It refuses the characters of Windows and long names, drops dots at the end, and does not tell `A` from `a`.
"""

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REFUSED = '?:*"<>|'
MAX_NAME_BYTES = 60
_MAX_WRITE = 128 * 1024
_SIZE, _MODE = 8, 1
_NO_REPLACE = 1


@dataclass
class _File:
    number: int
    mode: int
    content: bytearray = field(default_factory=bytearray)
    children: dict[str, tuple[str, "_File"]] = field(default_factory=dict)
    """By folded name: the name as it was made, and what it is."""
    time_ns: int = 1_700_000_000_000_000_000


class _Refused(Exception):
    """The error that a call gets."""


class RefusingDisk:
    """The file system: answers the kernel's requests, one after another."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._files = {1: _File(1, stat.S_IFDIR | 0o755)}

    def serve(self) -> None:
        """Runs until the disk is unmounted."""
        while True:
            try:
                request = os.read(self._descriptor, _MAX_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in {errno.EINTR, errno.ENOENT}:
                    continue
                raise
            _, code, unique, node = struct.unpack_from("<IIQQ", request)
            try:
                answer, failed = self._answer(code, self._files[node] if node else self._files[1], request[40:]), 0
            except _Refused as refused:
                answer, failed = b"", -refused.args[0]
            if answer is not None:
                os.write(self._descriptor, struct.pack("<IiQ", 16 + len(answer), failed, unique) + answer)

    def _answer(self, code: int, file: _File, body: bytes) -> bytes | None:
        match code:
            case 26:  # INIT
                major, minor, ahead, _ = struct.unpack_from("<IIII", body)
                return struct.pack("<IIIIHHIIHHI7I", major, min(minor, 31), ahead, 0, 16, 12, _MAX_WRITE, 1, *[0] * 10)
            case 1:  # LOOKUP
                return self._entry(self._child(file, _name(body))[1])
            case 2 | 36 | 42:  # FORGET, INTERRUPT, BATCH_FORGET
                return None
            case 3:  # GETATTR
                return self._attributes(file)
            case 4:  # SETATTR
                valid, _, _, size = struct.unpack_from("<IIQQ", body)
                if valid & _SIZE:
                    file.content[size:] = bytes(max(0, size - len(file.content)))
                if valid & _MODE:
                    file.mode = struct.unpack_from("<I", body, 68)[0]
                return self._attributes(file)
            case 8 | 9:  # MKNOD, MKDIR
                kind = stat.S_IFDIR if code == 9 else 0
                return self._entry(self._make(file, _name(body[16 if code == 8 else 8 :]), body, kind))
            case 35:  # CREATE
                made = self._make(file, _name(body[16:]), body[4:], 0)
                return self._entry(made) + struct.pack("<QII", 0, 0, 0)
            case 10 | 11:  # UNLINK, RMDIR
                key, gone = self._child(file, _name(body))
                if gone.children:
                    raise _Refused(errno.ENOTEMPTY)
                del file.children[key]
                return b""
            case 12 | 45:  # RENAME, RENAME2
                where, flags = struct.unpack_from("<QI", body) if code == 45 else (*struct.unpack_from("<Q", body), 0)
                old, new = body[16 if code == 45 else 8 :].split(b"\0")[:2]
                key, moved = self._child(file, old.decode())
                target, name = self._files[where], _held(new.decode())
                if flags & _NO_REPLACE and name.casefold() in target.children:
                    raise _Refused(errno.EEXIST)
                del file.children[key]
                target.children[name.casefold()] = name, moved
                return b""
            case 14 | 27:  # OPEN, OPENDIR
                return struct.pack("<QII", 0, 0, 0)
            case 15:  # READ
                _, offset, size = struct.unpack_from("<QQI", body)
                return bytes(file.content[offset : offset + size])
            case 16:  # WRITE
                _, offset, size = struct.unpack_from("<QQI", body)
                file.content.extend(bytes(max(0, offset - len(file.content))))
                file.content[offset : offset + size] = body[40 : 40 + size]
                file.time_ns += 1_000_000
                return struct.pack("<II", size, 0)
            case 17:  # STATFS
                room = 1 << 20
                return struct.pack("<5Q4I6I", room, room, room, room, room, 4096, MAX_NAME_BYTES, 4096, *[0] * 7)
            case 28:  # READDIR
                _, offset, size = struct.unpack_from("<QQI", body)
                return _listing(file, offset, size)
            case 18 | 20 | 25 | 29 | 30 | 34 | 38 | 50:  # RELEASE, FSYNC, FLUSH, ..., ACCESS, DESTROY, SYNCFS
                return b""
            case _:
                raise _Refused(errno.ENOSYS)

    def _child(self, folder: _File, name: str) -> tuple[str, _File]:
        key = _held(name).casefold()
        if key not in folder.children:
            raise _Refused(errno.ENOENT)
        return key, folder.children[key][1]

    def _make(self, folder: _File, name: str, body: bytes, kind: int) -> _File:
        held = _held(name)
        if held.casefold() in folder.children:
            raise _Refused(errno.EEXIST)
        (mode,) = struct.unpack_from("<I", body)
        made = _File(len(self._files) + 1, stat.S_IMODE(mode) | (kind or stat.S_IFREG))
        self._files[made.number] = made
        folder.children[held.casefold()] = held, made
        return made

    def _entry(self, file: _File) -> bytes:
        return struct.pack("<4Q2I", file.number, 0, 0, 0, 0, 0) + _attributes_of(file)

    def _attributes(self, file: _File) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + _attributes_of(file)


def _name(body: bytes) -> str:
    return body.split(b"\0")[0].decode()


def _held(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _Refused(errno.ENAMETOOLONG)
    if set(REFUSED) & set(name):
        raise _Refused(errno.EINVAL)
    return name.rstrip(".") or name


def _attributes_of(file: _File) -> bytes:
    seconds, nanoseconds = divmod(file.time_ns, 10**9)
    size = len(file.content)
    times = (seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds)
    return struct.pack("<6Q10I", file.number, size, -(-size // 512), *times, file.mode, 1, 0, 0, 0, 4096, 0)


def _listing(folder: _File, offset: int, size: int) -> bytes:
    result = b""
    for number, (name, file) in list(enumerate(folder.children.values(), 1))[offset:]:
        raw = name.encode()
        item = struct.pack("<QQII", file.number, number, len(raw), stat.S_IFMT(file.mode) >> 12) + raw
        item += bytes(-len(item) % 8)
        if len(result) + len(item) > size:
            break
        result += item
    return result


@contextmanager
def mounted(where: Path) -> Iterator[Path]:
    """Mounts such a disk while the body runs; skips the test where only others may."""
    if sys.platform != "linux" or os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root can mount a disk over FUSE")
    libc = ctypes.CDLL(None, use_errno=True)
    where.mkdir()
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"refusing", os.fsencode(where), b"fuse.refusing", 0, options):
            pytest.skip(f"this machine does not mount FUSE: {os.strerror(ctypes.get_errno())}")
        # In a process of its own: a call that holds Python's lock would wait for ever for a thread of this one.
        command = [sys.executable, "-m", __name__, str(descriptor)]
        server = subprocess.Popen(command, pass_fds=[descriptor])
        try:
            yield where
        finally:
            assert libc.umount2(os.fsencode(where), 2) == 0
            assert server.wait() == 0
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    RefusingDisk(int(sys.argv[1])).serve()
