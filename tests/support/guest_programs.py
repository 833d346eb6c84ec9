"""What the tests' guests run: a program that executes each frame, and a module that does what its input says."""

from collections.abc import Callable
from pathlib import Path

import wasmtime

from p2p.sandbox import messages
from p2p.sandbox.guest import Guest, Reply
from p2p.sandbox.limits import SEED_BYTES, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox

CORES = 2
ModuleOf = Callable[[str], Runtime]
"""Compiles the text of a module."""
EXECUTE = """
import os, sys
frames, sys.stdout = sys.stdin.buffer, sys.stderr
space = {}
while True:
    frame = frames.read(int.from_bytes(frames.read(4), "big"))
    code, _, space["data"] = frame.partition(b"\\0")
    space["result"] = None
    try:
        exec(code, space)
        result = space["result"]
    except Exception as error:
        result = type(error).__name__
    if not isinstance(result, bytes):
        result = repr(result).encode()
    answer = memoryview(len(result).to_bytes(4, "big") + result)
    while answer:
        answer = answer[os.write(1, answer):]
"""
"""A frame is Python code, a zero byte, and what the code finds in `data`; the answer is what it leaves in `result`."""

SEED = bytes(SEED_BYTES)
PLENTY = GuestLimits(wall_s=30, memory_bytes=256 << 20)


async def run(guest: Guest, code: str, data: bytes = b"", *, seed: bytes = SEED, limits: GuestLimits = PLENTY) -> bytes:
    """Runs the code in the guest; returns its result."""
    reply, _ = await guest.call(code.encode() + b"\0" + data, seed=seed, limits=limits)
    return reply


def children(process: int) -> list[int]:
    """The children of a process that has one thread."""
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def process_status(process: int) -> dict[str, str]:
    """What the kernel reports about a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def open_files(process: int) -> set[str]:
    """What the process's descriptors refer to: paths, or kinds such as `socket`."""
    return {str(entry.readlink()).split(":")[0] for entry in Path(f"/proc/{process}/fd").iterdir()}


OBEDIENT = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $say (param $descriptor i32) (param $at i32) (param $count i32) (result i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $count))
    (call $write (local.get $descriptor) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))
  (func $is (param $letter i32) (result i32) (i32.eq (i32.load8_u (i32.const 1024)) (local.get $letter)))
  (func (export "_start") (local $ignored i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (call $is (i32.const 101)) (then  ;; e: echo
      (i32.store (i32.const 4) (i32.const 4096))
      (loop $more
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $ignored (i32.load (i32.const 8)))
        (if (local.get $ignored) (then
          (drop (call $say (i32.const 1) (i32.const 1024) (local.get $ignored)))
          (br $more))))))
    (if (call $is (i32.const 97)) (then  ;; a: its arguments
      (drop (call $args_sizes (i32.const 16) (i32.const 20)))
      (drop (call $args_get (i32.const 64) (i32.const 2048)))
      (drop (call $say (i32.const 1) (i32.const 2048) (i32.load (i32.const 20))))))
    (if (call $is (i32.const 100)) (then  ;; d: draws
      (drop (call $random (i32.const 1024) (i32.const 16)))
      (drop (call $say (i32.const 1) (i32.const 1024) (i32.const 16)))))
    (if (call $is (i32.const 103)) (then  ;; g: grumbles on stderr
      (drop (call $say (i32.const 2) (i32.const 1024) (i32.const 1)))))
    (if (call $is (i32.const 108)) (then (loop $forever (br $forever))))  ;; l: loops
    (if (call $is (i32.const 109)) (then  ;; m: takes memory until it gets none
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (unreachable)))
    (if (call $is (i32.const 111)) (then  ;; o: output without end
      (loop $more (drop (call $say (i32.const 1) (i32.const 0) (i32.const 65536))) (br $more))))
    (if (call $is (i32.const 112)) (then  ;; p: a pointer beyond its memory
      (call $exit (call $say (i32.const 1) (i32.const 65535) (i32.const 65536)))))
    (if (call $is (i32.const 113)) (then  ;; q: a table of pieces beyond its memory
      (call $exit (call $write (i32.const 1) (i32.const -8) (i32.const -1) (i32.const -4)))))
    (if (call $is (i32.const 114)) (then (drop (call $deeper (i32.const 0)))))  ;; r: recursion
    (if (call $is (i32.const 115)) (then  ;; s: a socket
      (call $exit (call $send (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))))
    (if (call $is (i32.const 102)) (then  ;; f: a file
      (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0)
        (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8)))))
    (if (call $is (i32.const 116)) (then (unreachable)))  ;; t: traps
    (if (call $is (i32.const 120)) (then (call $exit (i32.const 3)))))  ;; x: exits
)
"""
NO_MEMORY = '(module (func (export "_start")))'
OTHER_IMPORT = (
    '(module (import "env" "system" (func (param i32))) (memory (export "memory") 1) (func (export "_start")))'
)
STARTS_AT_ONCE = '(module (memory (export "memory") 1) (func $f (loop $l (br $l))) (start $f) (func (export "_start")))'


def write_module(folder: Path, name: str, text: str) -> Path:
    """Writes the module compiled from this text."""
    path = folder / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


async def run_module(
    sandbox: Sandbox, module: Runtime, arguments: list[str], stdin: bytes, *, seed: bytes, limits: GuestLimits
) -> Reply:
    """Runs a WASI command in a guest of its own; returns what it wrote to stdout and to stderr."""
    guest = await sandbox.guest(module)
    try:
        return await guest.call(messages.command_frame(arguments, stdin), seed=seed, limits=limits)
    finally:
        guest.discard()
