"""The WebAssembly engine of the compiling child and the workers, configured so that results are the same everywhere.

Epochs and fuel are off: guests are processes, ended by a signal, so their code need not pay for being interruptible.
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
