"""Host functions at the speed of ctypes, since most of the cost of a guest's read or write is the call itself.

At each call, wasmtime-py's own API makes objects of all arguments and their types. This module uses the bindings below
that API (`wasmtime_linker_define_func_unchecked`), which is why wasmtime's version has an upper bound.
"""

import ctypes
from collections.abc import Callable

import wasmtime
from wasmtime import _ffi as ffi

_SLOT_WORDS = 2
"""How many 64-bit words a slot of wasmtime's argument array has; an argument is in the lower part of its slot."""
_MASKS = {"i": 2**32 - 1, "I": -1}
_ENTRY = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_size_t
)
_NO_FINALIZER = ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p))


class HostCalls:
    """Python functions that instances of one `wasmtime.Linker` can call.

    If a function raises, the guest traps, and `run` raises the same error.
    """

    def __init__(self, linker: wasmtime.Linker) -> None:
        self._linker = linker
        self._kept: list[object] = []
        self._raised: BaseException | None = None

    def offer(self, module: str, name: str, shape: str, call: Callable[..., int | None]) -> None:
        """Offers `call` under this name. `shape` has an `i` for each 32-bit argument, passed unsigned, and an `I` for
        each 64-bit one, passed signed. The result has 32 bits; a call that returns None has no result.
        """
        wanted = [(index * _SLOT_WORDS, _MASKS[letter]) for index, letter in enumerate(shape)]

        def enter(_data: int, _caller: int, values: "ctypes._Pointer[ctypes.c_int64]", _count: int) -> int:
            try:
                result = call(*[values[slot] & mask for slot, mask in wanted])
                if result is not None:
                    values[0] = result
            except BaseException as error:  # noqa: BLE001  # nothing may unwind through the guest's frames
                self._raised = error
                return ctypes.cast(wasmtime.Trap("stopped by its host")._consume(), ctypes.c_void_p).value or 0
            return 0

        entry = _ENTRY(enter)
        kinds = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
        results = [] if name == "proc_exit" else [wasmtime.ValType.i32()]
        function = wasmtime.FuncType([kinds[letter]() for letter in shape], results)
        self._kept.append(entry)
        module_name, function_name = (ctypes.create_string_buffer(word.encode()) for word in (module, name))
        error = ffi.wasmtime_linker_define_func_unchecked(
            self._linker.ptr(),
            module_name,
            len(module),
            function_name,
            len(name),
            function.ptr(),
            ctypes.cast(entry, ffi.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)

    def run(self, guest: Callable[[], object]) -> None:
        """Lets the guest run. Raises what a host function raised, otherwise Trap or WasmtimeError."""
        self._raised = None  # an earlier guest's error does not concern this one
        try:
            guest()
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            if self._raised is not None:
                raise self._raised from None
            raise
