"""The WebAssembly engine of the compiling child and the workers, configured so that results are the same everywhere.

Epochs and fuel, which make code interruptible but slower, are off: a guest is a process, which a signal can end.
"""

import wasmtime


def engine(*, parallel: bool = True) -> wasmtime.Engine:
    """Makes an engine whose modules give the same bits for the same input. With `parallel` it compiles on all cores."""
    config = wasmtime.Config()
    config.parallel_compilation = parallel
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    return wasmtime.Engine(config)
