"""The child process that compiles one module: `python -m p2p.sandbox.compiling MODULE DIGEST FD own|foreign [idle]`

Writes the compiled module to the descriptor FD, and any error to stderr. For a module that a job brought, this process
is confined like a worker, since a compiler can have faults too. It exits when its stdin closes, so it does not outlive
the process that started it.
"""

import os
import resource
import sys
import threading

import wasmtime
from blake3 import blake3

from p2p.sandbox import isolation
from p2p.sandbox.engine import engine

_FOREIGN_BYTES = 1024**3
"""The most memory for compiling a job's module: a few tens of kilobytes can make the compiler want many gigabytes."""
_FOREIGN_CPU_S = 120
_OUTPUT_BYTES = 512 * 1024**2


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> int:
    path, digest, out, whose, *idle = sys.argv[1:]
    if idle:
        isolation.yield_to_others()
        isolation.SessionPriority().lower()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(path, "rb") as file:
        module = file.read()
    if blake3(module).hexdigest() != digest:
        print("it has changed meanwhile", file=sys.stderr)
        return 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if whose == "foreign":
        isolation.limit_data(_FOREIGN_BYTES)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_FOREIGN_CPU_S, _FOREIGN_CPU_S))
        isolation.lock_down()
    try:
        compiled = wasmtime.Module(engine(parallel=whose == "own"), module).serialize()
        with open(int(out), "wb") as file:
            file.write(compiled)
    except (wasmtime.WasmtimeError, OSError, MemoryError) as error:
        print(str(error).strip().splitlines()[0] if str(error) else "no memory left", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
