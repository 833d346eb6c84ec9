"""A guest's linear memory as one view. Every access is checked, because addresses from a guest are untrusted."""

import ctypes

import wasmtime


class OutOfBounds(Exception):
    """Raised for an access outside the guest's memory."""


class GuestMemory:
    """The memory of one instance. It may grow, but never moves, so the view is renewed only if it is too short."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store = store
        self._memory = memory
        self._view = memoryview(b"")

    def size(self) -> int:
        """The memory's present size in bytes."""
        return self._memory.data_len(self._store)

    def at(self, address: int, count: int) -> memoryview:
        """A writable view of `count` bytes. Raises OutOfBounds."""
        end = address + count
        if end > len(self._view):
            self._look()
            if end > len(self._view):
                raise OutOfBounds(f"{count} bytes at {address}")
        return self._view[address:end]

    def _look(self) -> None:
        base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        self._view = memoryview((ctypes.c_ubyte * self.size()).from_address(base)).cast("B")
