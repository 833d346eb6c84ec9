"""WASI preview 1: functions for a guest's streams, arguments, clock and one read-only library. All others are refused.

Clock and randomness depend only on the seed and on how often they were read, so that a unit gives the same bytes on
every machine. Sleeping only advances this clock. Results are WASI's error numbers; 32-bit arguments arrive unsigned.
"""

import mmap
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, Protocol

from blake3 import blake3

from p2p.sandbox.hostcalls import HostCalls
from p2p.sandbox.memory import GuestMemory, OutOfBounds

MODULE = "wasi_snapshot_preview1"

_OK, _BADF, _FAULT, _INVAL, _MFILE, _NOENT, _NOTSUP, _PERM, _SPIPE = 0, 8, 21, 28, 33, 44, 58, 63, 70
_CHARACTER_DEVICE, _DIRECTORY, _REGULAR_FILE = 2, 3, 4
_EPOCH_NS = 1_700_000_000 * 10**9
_TICK_NS = 1_000
_MAX_PIECES = 1_024
_PIECE, _COUNT = struct.Struct("<II"), struct.Struct("<I")
_MAX_OPEN = 64
_MAX_PATH_BYTES = 4_096
_FOLDER = 3
"""The descriptor of the library's folder: the only one that a guest starts with besides its streams."""
_WRITE_RIGHT = 1 << 6
_READ_RIGHTS = (1 << 1) | (1 << 2) | (1 << 5) | (1 << 13) | (1 << 14) | (1 << 18) | (1 << 21)

_TYPES = {
    "args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii",
    "clock_res_get": "ii", "clock_time_get": "iIi", "random_get": "ii", "poll_oneoff": "iiii", "sched_yield": "",
    "fd_close": "i", "fd_fdstat_get": "ii", "fd_filestat_get": "ii", "fd_prestat_get": "ii",
    "fd_prestat_dir_name": "iii", "fd_read": "iiii", "fd_pread": "iiiIi", "fd_seek": "iIii", "fd_tell": "ii",
    "fd_write": "iiii", "fd_readdir": "iiiIi", "path_open": "iiiiiIIii", "path_filestat_get": "iiiii",
}  # fmt: skip
_REFUSED = {
    "fd_advise": "iIIi", "fd_allocate": "iII", "fd_datasync": "i", "fd_sync": "i", "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII", "fd_filestat_set_size": "iI", "fd_filestat_set_times": "iIIi", "fd_pwrite": "iiiIi",
    "fd_renumber": "ii", "path_create_directory": "iii", "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii", "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii",
    "path_symlink": "iiiii", "path_unlink_file": "iii", "proc_raise": "i", "sock_accept": "iii",
    "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}  # fmt: skip


class Streams(Protocol):
    """A guest's standard streams, descriptors 0, 1 and 2. Each method may raise, which ends the guest."""

    def read(self, into: memoryview) -> int: ...
    def write(self, piece: memoryview) -> None: ...
    def log(self, piece: memoryview) -> None: ...
    def exit(self, code: int) -> NoReturn: ...


class Wasi:
    """The WASI functions for one guest, or for several in turn. `memory` is set once the guest has a memory."""

    def __init__(
        self,
        arguments: Sequence[bytes],
        environment: Mapping[str, str],
        streams: Streams,
        library: "WasiLibrary | None",
    ) -> None:
        self.arguments = list(arguments)
        self.memory: GuestMemory | None = None
        self._environment = [f"{name}={value}".encode() for name, value in sorted(environment.items())]
        self._streams = streams
        self._library = library
        self._opened: dict[int, int] = {}
        """For each open descriptor of the library's file, the position of the next read."""
        self.reset(b"")

    def reset(self, seed: bytes) -> None:
        """Sets clock and randomness to the start of a unit with this seed."""
        self._now = _EPOCH_NS
        self._seed = seed
        self._drawn = 0

    def start_over(self, arguments: Sequence[bytes], seed: bytes) -> None:
        """Prepares for the next guest as if it were the first: the guest before it is gone, and so is its memory."""
        assert self.memory is None
        self.arguments = list(arguments)
        self._opened.clear()
        self.reset(seed)

    def offer(self, calls: HostCalls) -> None:
        """Offers all the calls to a module."""
        for name, shape in _TYPES.items():
            calls.offer(MODULE, name, shape, self._checked(getattr(self, name)))
        for name, shape in _REFUSED.items():
            calls.offer(MODULE, name, shape, _refuse)
        calls.offer(MODULE, "proc_exit", "i", self._streams.exit)

    @staticmethod
    def _checked(call: Callable[..., int]) -> Callable[..., int]:
        def checked(*given: int) -> int:
            try:
                return call(*given)
            except OutOfBounds:
                return _FAULT

        return checked

    def _at(self, address: int, count: int) -> memoryview:
        if self.memory is None:
            raise OutOfBounds("no memory yet")
        return self.memory.at(address, count)

    def _put_count(self, address: int, value: int) -> int:
        """Writes a 32-bit number, which is what nearly all results are."""
        _COUNT.pack_into(self._at(address, 4), 0, value)
        return _OK

    def _put(self, address: int, format: str, *values: int) -> int:
        struct.pack_into(format, self._at(address, struct.calcsize(format)), 0, *values)
        return _OK

    # -- arguments and environment

    def args_get(self, pointers: int, texts: int) -> int:
        return self._put_texts(self.arguments, pointers, texts)

    def args_sizes_get(self, count: int, size: int) -> int:
        return self._put_sizes(self.arguments, count, size)

    def environ_get(self, pointers: int, texts: int) -> int:
        return self._put_texts(self._environment, pointers, texts)

    def environ_sizes_get(self, count: int, size: int) -> int:
        return self._put_sizes(self._environment, count, size)

    def _put_texts(self, items: list[bytes], pointers: int, texts: int) -> int:
        for item in items:
            self._put_count(pointers, texts)
            self._at(texts, len(item) + 1)[:] = item + b"\0"
            pointers += 4
            texts += len(item) + 1
        return _OK

    def _put_sizes(self, items: list[bytes], count: int, size: int) -> int:
        self._put_count(count, len(items))
        return self._put_count(size, sum(len(item) + 1 for item in items))

    # -- clock and randomness

    def clock_res_get(self, _clock: int, result: int) -> int:
        return self._put(result, "<Q", _TICK_NS)

    def clock_time_get(self, _clock: int, _precision: int, result: int) -> int:
        self._now += _TICK_NS
        return self._put(result, "<Q", self._now)

    def random_get(self, address: int, count: int) -> int:
        piece = self._at(address, count)
        chance = blake3(self._seed)
        for start in range(0, len(piece), 1 << 20):  # bounds the memory it takes
            part = piece[start : start + (1 << 20)]
            part[:] = chance.digest(length=len(part), seek=self._drawn)
            self._drawn += len(part)
        return _OK

    def poll_oneoff(self, asked: int, told: int, count: int, result: int) -> int:
        """Ends a wait for a clock at once, and sets the clock as if that time had passed."""
        if count != 1:
            return _NOTSUP
        user, tag, _clock, timeout, _precision, flags = struct.unpack("<QB7xI4xQQH6x", self._at(asked, 48))
        if tag != 0:
            return _NOTSUP
        self._now = max(self._now, timeout) if flags & 1 else self._now + timeout
        self._now = min(self._now, 2**63 - 1)
        self._put(told, "<QHB21x", user, _OK, tag)
        return self._put_count(result, 1)

    def sched_yield(self) -> int:
        return _OK

    # -- streams and the library

    def fd_read(self, descriptor: int, pieces: int, count: int, result: int) -> int:
        if descriptor == 0:
            for piece in self._pieces(pieces, count):
                if len(piece):
                    return self._put_count(result, self._streams.read(piece))
            return self._put_count(result, 0)
        at = self._opened.get(descriptor)
        if at is None:
            return _BADF
        read = self._read_file(at, pieces, count)
        self._opened[descriptor] = at + read
        return self._put_count(result, read)

    def fd_pread(self, descriptor: int, pieces: int, count: int, at: int, result: int) -> int:
        if descriptor not in self._opened:
            return _BADF
        return _INVAL if at < 0 else self._put_count(result, self._read_file(at, pieces, count))

    def _read_file(self, at: int, pieces: int, count: int) -> int:
        assert self._library is not None
        total = 0
        for piece in self._pieces(pieces, count):
            part = self._library.data[at + total : at + total + len(piece)]
            piece[: len(part)] = part
            total += len(part)
        return total

    def fd_write(self, descriptor: int, pieces: int, count: int, result: int) -> int:
        if descriptor not in {1, 2}:
            return _PERM if descriptor in self._opened else _BADF
        write = self._streams.write if descriptor == 1 else self._streams.log
        total = 0
        for piece in self._pieces(pieces, count):
            write(piece)
            total += len(piece)
        return self._put_count(result, total)

    def _pieces(self, address: int, count: int) -> Sequence[memoryview]:
        if count > _MAX_PIECES:
            raise OutOfBounds(f"{count} pieces")
        if count == 1:
            return (self._at(*_PIECE.unpack(self._at(address, 8))),)
        return [self._at(start, size) for start, size in _PIECE.iter_unpack(self._at(address, 8 * count))]

    def fd_seek(self, descriptor: int, offset: int, whence: int, result: int) -> int:
        at = self._opened.get(descriptor)
        if at is None:
            return _SPIPE if descriptor <= 2 else _BADF
        assert self._library is not None
        start = {0: 0, 1: at, 2: len(self._library.data)}.get(whence)
        if start is None or start + offset < 0:
            return _INVAL
        self._opened[descriptor] = start + offset
        return self._put(result, "<Q", start + offset)

    def fd_tell(self, descriptor: int, result: int) -> int:
        return self.fd_seek(descriptor, 0, 1, result)

    def fd_close(self, descriptor: int) -> int:
        # The streams stay open: a guest that closes them has nothing more to say, as the end of the call will show.
        return _OK if self._opened.pop(descriptor, None) is not None or descriptor <= 2 else _BADF

    def fd_fdstat_get(self, descriptor: int, result: int) -> int:
        kind = self._kind(descriptor)
        rights = (1 << 30) - 1 if kind == _CHARACTER_DEVICE else _READ_RIGHTS
        return _BADF if kind is None else self._put(result, "<BxH4xQQ", kind, 0, rights, rights)

    def fd_filestat_get(self, descriptor: int, result: int) -> int:
        kind = self._kind(descriptor)
        return _BADF if kind is None else self._put_file(result, kind)

    def _kind(self, descriptor: int) -> int | None:
        if descriptor <= 2:
            return _CHARACTER_DEVICE
        if descriptor == _FOLDER and self._library is not None:
            return _DIRECTORY
        return _REGULAR_FILE if descriptor in self._opened else None

    def _put_file(self, result: int, kind: int) -> int:
        size = len(self._library.data) if self._library is not None and kind == _REGULAR_FILE else 0
        moment = _EPOCH_NS
        return self._put(result, "<QQB7xQQQQQ", 1, kind, kind, 1, size, moment, moment, moment)

    def fd_prestat_get(self, descriptor: int, result: int) -> int:
        if descriptor != _FOLDER or self._library is None:
            return _BADF
        return self._put(result, "<B3xI", 0, len(self._library.folder))

    def fd_prestat_dir_name(self, descriptor: int, address: int, size: int) -> int:
        if descriptor != _FOLDER or self._library is None:
            return _BADF
        name = self._library.folder[:size]
        self._at(address, len(name))[:] = name
        return _OK

    def fd_readdir(self, _descriptor: int, _address: int, _size: int, _cookie: int, _result: int) -> int:
        return _NOTSUP

    def path_filestat_get(self, descriptor: int, _flags: int, path: int, size: int, result: int) -> int:
        kind = self._looked_up(descriptor, path, size)
        return kind.error if isinstance(kind, _Missing) else self._put_file(result, kind)

    def path_open(
        self, descriptor: int, _lookup: int, path: int, size: int, flags: int,
        rights: int, _inheriting: int, _file_flags: int, result: int,
    ) -> int:  # fmt: skip
        kind = self._looked_up(descriptor, path, size)
        if isinstance(kind, _Missing):
            return kind.error
        if flags or rights & _WRITE_RIGHT or kind != _REGULAR_FILE:  # create, truncate, write or list
            return _PERM
        if len(self._opened) >= _MAX_OPEN:
            return _MFILE
        new = next(number for number in range(_FOLDER + 1, _FOLDER + 2 + _MAX_OPEN) if number not in self._opened)
        self._opened[new] = 0
        return self._put_count(result, new)

    def _looked_up(self, descriptor: int, path: int, size: int) -> "int | _Missing":
        if descriptor != _FOLDER or self._library is None:
            return _Missing(_BADF)
        if size > _MAX_PATH_BYTES:
            return _Missing(_INVAL)
        name = bytes(self._at(path, size))
        if name in {b".", b""}:
            return _DIRECTORY
        return _REGULAR_FILE if name == self._library.name else _Missing(_NOENT)


class WasiLibrary:
    """The one file that a guest can read, mapped into memory: a zip of Python's standard library."""

    def __init__(self, folder: str, name: str, data: mmap.mmap) -> None:
        self.folder = folder.encode()
        self.name = name.encode()
        self.data = data


class _Missing:
    def __init__(self, error: int) -> None:
        self.error = error


def _refuse(*_given: int) -> int:
    return _NOTSUP
