"""The one WebAssembly engine of compiling child and workers, and what of it makes results equal everywhere.

No epochs and no fuel: guests are processes, ended by a signal, and their code pays nothing for being interruptible.
"""

import wasmtime


def engine(*, parallel: bool = True) -> wasmtime.Engine:
    """An engine whose compiled modules give the same bits for the same input; `parallel`: compiles on all cores."""
    config = wasmtime.Config()
    config.parallel_compilation = parallel
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    return wasmtime.Engine(config)
