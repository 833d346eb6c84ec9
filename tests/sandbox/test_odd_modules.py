"""Modules that no compiler makes: each ends with the reason."""

import struct

import pytest

from p2p.sandbox.limits import EndKind, GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from tests.support.guest_programs import SEED, ModuleOf, run_module

LIMITS = GuestLimits(wall_s=30, memory_bytes=16 << 20, output_bytes=1 << 20, log_bytes=100)

MEMORY = '(memory (export "memory") 1)'
START = '(func (export "_start"))'
WASI = '(import "wasi_snapshot_preview1"'
WRITE = f'{WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
POLL = f'{WASI} "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
CLOCK = f'{WASI} "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
EXIT = f'{WASI} "proc_exit" (func $exit (param i32)))'

ODD: dict[str, tuple[str, EndKind, str]] = {
    "wants parameters": (f'{MEMORY} (func (export "_start") (param i32))', "broken", "parameters"),
    "starts nowhere": (f'{MEMORY} (func (export "main"))', "broken", "none of _start"),
    "starts with a memory": ('(memory (export "memory") (export "_start") 1)', "broken", "none of _start"),
    "has a function for a memory": ('(func (export "memory") (export "_start"))', "broken", "no memory"),
    "wants the host's memory": (
        f'(import "env" "m" (memory 1)) (export "memory" (memory 0)) {START}',
        "broken",
        "unknown import",
    ),
    "wants all memory at once": (f'(memory (export "memory") 65536) {START}', "broken", "memory limits"),
    "wants a huge table": (f"{MEMORY} (table 10000000 funcref) {START}", "broken", "table limits"),
    "wants many tables": (f"{MEMORY} {'(table 1 funcref)' * 9} {START}", "broken", "table count"),
    "throws": (f'{MEMORY} (tag $t) (func (export "_start") (throw $t))', "broken", "exception"),
    "writes before it has a memory": (
        f"""{WRITE} {EXIT} {MEMORY} {START} (start $begin)
        (func $begin (call $exit (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))""",
        "broken",
        "code 21",  # EFAULT
    ),
    "makes objects without end": (
        f"""{MEMORY} (type $link (struct (field (ref null $link)) (field i64)))
        (func (export "_start") (local $all (ref null $link))
        (loop $more (local.set $all (struct.new $link (local.get $all) (i64.const 1))) (br $more)))""",
        "memory",
        "heap",
    ),
    "makes one huge array": (
        f"""{MEMORY} (type $array (array (mut i64)))
        (func (export "_start") (drop (array.new_default $array (i32.const 10000000))))""",
        "memory",
        "heap",
    ),
}


@pytest.fixture(params=ODD, ids=[name.replace(" ", "-") for name in ODD])
def odd(request: pytest.FixtureRequest, module_of: ModuleOf) -> tuple[Runtime, EndKind, str]:
    body, kind, text = ODD[request.param]
    return module_of(f"(module {body})"), kind, text


async def test_an_odd_module_ends_with_the_reason(modules: Sandbox, odd: tuple[Runtime, EndKind, str]) -> None:
    module, kind, text = odd
    with pytest.raises(GuestEnded, match=text) as ended:
        await run_module(modules, module, [], b"", seed=SEED, limits=LIMITS)
    assert ended.value.kind == kind


@pytest.fixture
def sleeper(module_of: ModuleOf) -> Runtime:
    """Sleeps for as long as a number can say, twice, and writes what time it is then."""
    return module_of(rf"""(module {WRITE} {POLL} {CLOCK} {MEMORY} (data (i32.const 24) "\ff\ff\ff\ff\ff\ff\ff\ff")
        (func (export "_start")
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
        (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 200)))
        (i32.store (i32.const 256) (i32.const 200))
        (i32.store (i32.const 260) (i32.const 8))
        (drop (call $write (i32.const 1) (i32.const 256) (i32.const 1) (i32.const 264)))))""")


async def test_sleeping_beyond_the_end_of_time_is_over_at_once(modules: Sandbox, sleeper: Runtime) -> None:
    output, _ = await run_module(modules, sleeper, [], b"", seed=SEED, limits=LIMITS)
    assert struct.unpack("<Q", output)[0] > 2**62
