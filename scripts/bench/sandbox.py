"""What a sandboxed unit costs. Run from the top of the repository:

    python -m scripts.bench.sandbox                  python-wasm, and python-wasm-science where it is compiled
    python -m scripts.bench.sandbox --rounds 20 --json

A unit is a frame that the guest sends back. Each includes a reset of clock and randomness, which is also timed by
itself. Memory is PSS: that of the parked worker, which is the spare guest of all cores, and that with guests resident.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import NoReturn

import trio

from p2p.sandbox import compiled, runtimes
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import SEED_BYTES, GuestLimits
from p2p.sandbox.messages import command_frame
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox, open_sandbox
from scripts.bench.support.measure import status_bytes
from scripts.bench.support.report import MIB

CORES = 2
UNITS = 4_000
WINDOW = 250
LARGE = 20
SEED = bytes(SEED_BYTES)
LIMITS = GuestLimits(wall_s=60)
ECHO = """
import os, sys
frames, sys.stdout = sys.stdin.buffer, sys.stderr
while True:
    head = frames.read(4)
    answer = memoryview(head + frames.read(int.from_bytes(head, "big")))
    while answer:
        answer = answer[os.write(1, answer):]
"""
ECHO_MODULE = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (loop $more
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (if (i32.load (i32.const 4)) (then
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br $more))))))
"""

Figures = dict[str, list[float]]


async def _round(runtime: Runtime) -> dict[str, float]:
    async with open_sandbox(CORES, compiled.default_folder()) as sandbox:
        started = time.perf_counter()
        await sandbox.prepare(runtime)
        figures = {"worker to parked, s": time.perf_counter() - started}
        worker = sandbox.process_ids()[0]
        figures["PSS of the parked worker, MiB"] = _pss([worker])
        started = time.perf_counter()
        guest = await sandbox.guest(runtime)
        await guest.call(_frame(runtime, b""), seed=SEED, limits=LIMITS)
        figures["guest to first answer, ms"] = (time.perf_counter() - started) * 1e3
        figures["one unit there and back, us"] = await _one_by_one(guest, _frame(runtime, b"unit"))
        figures["units/s, one guest, sent ahead"] = UNITS / await _ahead(guest, _frame(runtime, b"unit"))
        figures["1 MiB there and back, MiB/s"] = await _large(guest, _frame(runtime, bytes(MIB)))
        figures["PSS with one guest, MiB"] = _pss([worker, *_children(worker)])
        figures[f"units/s, {CORES} guests, sent ahead"] = await _together(sandbox, runtime, guest)
    return figures


def _frame(runtime: Runtime, unit: bytes) -> bytes:
    return unit if runtime.resident else command_frame([], unit)


async def _one_by_one(guest: Guest, frame: bytes) -> float:
    started = time.perf_counter()
    for _ in range(UNITS // 4):
        await guest.call(frame, seed=SEED, limits=LIMITS)
    return (time.perf_counter() - started) / (UNITS // 4) * 1e6


async def _ahead(guest: Guest, frame: bytes) -> float:
    started = time.perf_counter()
    for _ in range(UNITS // WINDOW):
        await guest.call_many([(frame, SEED)] * WINDOW, LIMITS, lambda *_: None)
    return time.perf_counter() - started


async def _large(guest: Guest, frame: bytes) -> float:
    started = time.perf_counter()
    for _ in range(LARGE):
        await guest.call(frame, seed=SEED, limits=LIMITS)
    return LARGE / (time.perf_counter() - started)


async def _together(sandbox: Sandbox, runtime: Runtime, guest: Guest) -> float:
    guests = [guest, *[await sandbox.guest(runtime) for _ in range(CORES - 1)]]
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for each in guests:
            nursery.start_soon(_ahead, each, _frame(runtime, b"unit"))
    return CORES * UNITS / (time.perf_counter() - started)


def _pss(processes: list[int]) -> float:
    return sum(status_bytes(process, "Pss", "smaps_rollup") for process in processes) / MIB


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _pool_units_per_s() -> float:
    """Units per second of the standard library's process pool, which has no isolation: the best to hope for."""
    with ProcessPoolExecutor(CORES) as pool:
        list(pool.map(_nothing, range(CORES * 10)))
        started = time.perf_counter()
        list(pool.map(_nothing, range(UNITS)))
        return UNITS / (time.perf_counter() - started)


def _nothing(number: int) -> int:
    return number


def _reset_us() -> float:
    """Microseconds of one reset of clock and randomness."""
    from p2p.sandbox.wasi import Wasi  # late: it loads wasmtime, which the peer does not

    class Silent:
        def read(self, _into: memoryview) -> int:
            return 0

        def write(self, _piece: memoryview) -> None: ...
        def log(self, _piece: memoryview) -> None: ...
        def exit(self, code: int) -> NoReturn:
            raise SystemExit(code)

    wasi = Wasi([], {}, Silent(), None)
    started = time.perf_counter()
    for _ in range(10_000):
        wasi.reset(SEED)
    return (time.perf_counter() - started) / 10_000 * 1e6


def _echo_module(folder: Path) -> Runtime:
    from wasmtime import wat2wasm  # late: as above

    path = folder / "echo.wasm"
    path.write_bytes(wat2wasm(ECHO_MODULE))
    return runtimes.for_module(path)


def _report(name: str, figures: Figures, as_json: bool) -> None:
    for what, values in figures.items():
        low, middle, high = min(values), median(values), max(values)
        if as_json:
            print(json.dumps({"case": name, "what": what, "median": middle, "min": low, "max": high}), flush=True)
        else:
            print(f"{name:20} {what:34} {middle:12,.2f}   ({low:,.2f} to {high:,.2f})", flush=True)


def _measured(rounds: int, module: Runtime) -> dict[str, Figures]:
    cache = compiled.default_folder()
    python, science = runtimes.python(ECHO), runtimes.python_science(ECHO)
    for runtime in (python, module):
        trio.run(compiled.ensure_compiled, cache, runtime, lambda line: print(line, file=sys.stderr))
    chosen = [python, module, *([science] if science is not None and compiled.is_compiled(cache, science) else [])]
    found: dict[str, Figures] = {}
    for _ in range(rounds):  # in turns: a noisy moment meets all alike
        for runtime in chosen:
            for what, value in trio.run(_round, runtime).items():
                found.setdefault(runtime.name, {}).setdefault(what, []).append(value)
        found.setdefault("process pool", {}).setdefault("units/s", []).append(_pool_units_per_s())
    found["host"] = {"reset for a unit, us": [_reset_us() for _ in range(rounds)]}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(options.rounds, _echo_module(Path(folder)))
    for name, figures in found.items():
        _report(name, figures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
