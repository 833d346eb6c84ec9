"""Many WASI commands in one process: each finds the world as the first did, and the limits whole."""

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
import trio.testing

from p2p.sandbox.guest import Guest, Reply
from p2p.sandbox.limits import EndKind, GuestEnded, GuestLimits
from p2p.sandbox.messages import command_frame
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from tests.support.guest_programs import SEED, ModuleOf, children, process_status, run_module

MIB = 1 << 20
LIMITS = GuestLimits(wall_s=30, memory_bytes=32 * MIB, output_bytes=MIB, log_bytes=100)

WITNESS = r"""
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (global $kept (mut i32) (i32.const 7))
  (global $early (mut i32) (i32.const 0))
  (data (i32.const 512) "untouched")
  (data $passive "passive")
  (elem $functions func $begin)
  (start $begin)
  (func $begin (global.set $early (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    ;; what it finds: from 1024 on, 64 bytes
    (i32.store (i32.const 1024) (global.get $kept))
    (i32.store (i32.const 1028) (global.get $early))
    (i32.store (i32.const 1032) (memory.size))
    (i32.store (i32.const 1036) (table.size $table))
    (i32.store (i32.const 1040) (ref.is_null (table.get $table (i32.const 0))))
    (i32.store (i32.const 1044) (i32.load (i32.const 65532)))
    (i32.store (i32.const 1048) (i32.load (i32.const 512)))
    (memory.init $passive (i32.const 1052) (i32.const 0) (i32.const 7))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 1064)))
    (drop (call $random (i32.const 1072) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 1080))  ;; the first eight bytes of its input; the rest stays unread
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 64))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    ;; what it leaves: all of that changed, its streams closed, half of its log used up
    (global.set $kept (i32.const 8))
    (drop (memory.grow (i32.const 64)))
    (memory.fill (i32.const 0) (i32.const 0x5a) (i32.const 4259840))
    (drop (table.grow $table (ref.null func) (i32.const 9)))
    (table.init $table $functions (i32.const 0) (i32.const 0) (i32.const 1))
    (data.drop $passive)
    (elem.drop $functions)
    (drop (call $random (i32.const 1024) (i32.const 4096)))
    (drop (call $close (i32.const 0)))
    (drop (call $close (i32.const 1)))
    (drop (call $close (i32.const 2))))
)
"""
EFAULT = 21

Request = tuple[bytes, bytes]


async def replies(guest: Guest, requests: Sequence[Request], limits: GuestLimits = LIMITS) -> list[Reply]:
    """Of commands whose standard inputs and seeds these are, sent ahead."""
    got: list[Reply] = []
    frames = [(command_frame([], stdin), seed) for stdin, seed in requests]
    await guest.call_many(frames, limits, lambda _, reply: got.append(reply))
    return got


def process_of(sandbox: Sandbox) -> int:
    """The only guest's."""
    (worker,) = sandbox.process_ids()
    (process,) = children(worker)
    return process


@pytest.fixture
def witness(module_of: ModuleOf) -> Runtime:
    return module_of(WITNESS)


def data_bytes(process: int) -> int:
    """What it may write to."""
    return int(process_status(process)["VmData"].split()[0]) * 1024


async def test_what_a_command_leaves_behind_is_gone_before_the_next(modules: Sandbox, witness: Runtime) -> None:
    requests = [(b"%08d and much more" % (n % 3), bytes([n % 3]) * 32) for n in range(40)]
    guest = await modules.guest(witness)
    together = await replies(guest, requests[:25])
    process = process_of(modules)
    together += await replies(guest, requests[25:])
    assert process_of(modules) == process
    guest.discard()
    fresh = [await run_module(modules, witness, [], stdin, seed=seed, limits=LIMITS) for stdin, seed in requests[:3]]
    assert together == [fresh[n % 3] for n in range(40)]
    found = [output for output, _ in fresh]
    assert len(set(found)) == 3
    for number, output in enumerate(found):
        words = [int.from_bytes(output[at : at + 4], "little") for at in range(0, 24, 4)]
        assert words == [7, EFAULT, 1, 1, 1, 0]
        assert output[24:35] == b"untopassive"
        assert output[40:48] == found[0][40:48]
        assert output[56:] == b"%08d" % number


async def test_any_commands_give_together_what_each_gives_alone(modules: Sandbox, obedient: Runtime) -> None:
    chance = random.Random(7)
    orders = [
        chance.choice([b"e", b"d", b"g"]) + b"%d" % chance.getrandbits(chance.choice([1, 60, 14_000]))
        for _ in range(60)
    ]
    requests = [(order, bytes([chance.randrange(4)]) * 32) for order in orders]
    guest = await modules.guest(obedient)
    together = await replies(guest, requests)
    guest.discard()
    assert together == [
        await run_module(modules, obedient, [], stdin, seed=seed, limits=LIMITS) for stdin, seed in requests
    ]
    assert len({output for output, _ in together}) > 10


async def test_arguments_are_each_commands_own(modules: Sandbox, obedient: Runtime) -> None:
    guest = await modules.guest(obedient)
    for arguments in (["m", "--partition=0", "--long=" + "x" * 500], ["m", "--partition=1"], []):
        reply, _ = await guest.call(command_frame(arguments, b"a"), seed=SEED, limits=LIMITS)
        assert reply.decode().split("\0")[:-1] == arguments
    guest.discard()


async def test_limits_are_for_each_command(modules: Sandbox, obedient: Runtime) -> None:
    guest = await modules.guest(obedient)
    data = bytes(MIB - 1)
    assert await replies(guest, [(b"e" + data, SEED)] * 5) == [(data, b"")] * 5
    tight = replace(LIMITS, log_bytes=1)
    assert await replies(guest, [(b"g", SEED)] * 5, tight) == [(b"", b"g")] * 5
    assert await replies(guest, [(b"g", SEED)], replace(LIMITS, log_bytes=0)) == [(b"", b"")]
    for bytes_allowed, kind in ((MIB, None), (MIB // 2, "output")):
        try:
            await replies(guest, [(b"e" + data, SEED)], replace(LIMITS, output_bytes=bytes_allowed))
        except GuestEnded as ended:
            assert ended.kind == kind  # noqa: PT017 - the first is to pass
        else:
            assert kind is None


@pytest.mark.parametrize(
    ("order", "kind"),
    [(b"l", "time"), (b"m", "memory"), (b"o", "output"), (b"r", "stack"), (b"t", "broken"), (b"x", "failed")],
)
async def test_what_one_does_wrong_ends_the_process_after_good_ones(
    modules: Sandbox, obedient: Runtime, order: bytes, kind: EndKind
) -> None:
    guest = await modules.guest(obedient)
    limits = replace(LIMITS, wall_s=1.0) if order == b"l" else LIMITS
    got: list[Reply] = []
    requests = [(command_frame([], stdin), SEED) for stdin in (b"e1", b"g", order, b"e2")]
    with pytest.raises(GuestEnded) as ended:
        await guest.call_many(requests, limits, lambda _, reply: got.append(reply))
    assert ended.value.kind == kind
    assert got == [(b"1", b""), (b"", b"g")]
    with pytest.raises(GuestEnded):
        await replies(guest, [(b"e", SEED)])
    again = await modules.guest(obedient)
    assert await replies(again, [(b"e!", SEED)]) == [(b"!", b"")]
    again.discard()


@pytest.fixture
def taker(module_of: ModuleOf) -> Runtime:
    """Grows until it gets no more, fills all of it, and writes how many pages it then has."""
    return module_of("""(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
        (i32.store (i32.const 16) (memory.size))
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 4))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""")


async def test_a_command_that_takes_all_its_memory_and_gives_up_costs_the_next_nothing(
    modules: Sandbox, taker: Runtime
) -> None:
    guest = await modules.guest(taker)
    for size in (8, 64, 8, 1):
        got = await replies(guest, [(b"", SEED)] * 3, replace(LIMITS, memory_bytes=size * MIB))
        assert [int.from_bytes(output, "little") for output, _ in got] == [size * 16] * 3
    guest.discard()


@pytest.fixture(params=["large", "small"])
def many(request: pytest.FixtureRequest, witness: Runtime, obedient: Runtime) -> tuple[Runtime, int, int]:
    """A module, how often to run it, and what that may add to the process: the last one's memory may still be there."""
    return (witness, 40, 8 * MIB) if request.param == "large" else (obedient, 2_000, MIB)


async def test_a_process_keeps_nothing_of_its_commands(modules: Sandbox, many: tuple[Runtime, int, int]) -> None:
    module, count, most = many
    guest = await modules.guest(module)
    await replies(guest, [(b"e1", SEED)] * 100)
    before = data_bytes(process_of(modules))
    await replies(guest, [(b"e%d" % n, SEED) for n in range(count)])
    assert data_bytes(process_of(modules)) - before < most
    guest.discard()


async def test_a_process_killed_between_commands_costs_nothing_but_itself(modules: Sandbox, obedient: Runtime) -> None:
    guest = await modules.guest(obedient)
    assert await replies(guest, [(b"e1", SEED)] * 3) == [(b"1", b"")] * 3
    os.kill(process_of(modules), signal.SIGKILL)
    with pytest.raises(GuestEnded, match="killed"):
        await replies(guest, [(b"e2", SEED)])
    again = await modules.guest(obedient)
    assert await replies(again, [(b"e3", SEED)]) == [(b"3", b"")]
    again.discard()


async def test_a_cancelled_command_ends_its_process(modules: Sandbox, obedient: Runtime) -> None:
    guest = await modules.guest(obedient)
    assert await replies(guest, [(b"e1", SEED)]) == [(b"1", b"")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies, guest, [(b"l", SEED)])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(GuestEnded):
        await replies(guest, [(b"e2", SEED)])
