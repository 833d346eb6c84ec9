"""Units of a job that is a WASI command, as volunteers run them: many in one guest, which a failure ends."""

import msgspec
import pytest

from p2p.compute.bundles import Description
from p2p.compute.execution import runner as runner_module
from p2p.compute.execution.runner import Runner, UnitOutcome
from p2p.compute.execution.unit import Given
from p2p.core.compute.report import Report
from p2p.sandbox.limits import GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from p2p.wire import work
from tests.support.constants import Shorten
from tests.support.guest_programs import ModuleOf, children

JOB = b"j" * 32
LIMITS = GuestLimits(wall_s=30, memory_bytes=32 << 20, output_bytes=1 << 20, log_bytes=1000)


async def runner_of(modules: Sandbox, module: Runtime, partitions: int = 9) -> Runner:
    description = Description(args={"top": 3, "word": "x"}, partitions=partitions, reduce_partitions=1)
    found = await runner_module.runner(modules, module, JOB, LIMITS, b"", description)
    assert not isinstance(found, UnitOutcome)
    return found


def unit(partition: int, *lines: bytes) -> tuple[work.Unit, Given]:
    made = work.Unit(bytes([partition]) * 32, action=0, stage=0, partition=partition, plan=b"p" * 32)
    return made, Given((), list(lines))


def processes(modules: Sandbox) -> list[int]:
    return [process for worker in modules.process_ids() for process in children(worker)]


async def test_units_find_their_lines_and_their_place(modules: Sandbox, obedient: Runtime) -> None:
    runner = await runner_of(modules, obedient)
    done: dict[int, UnitOutcome] = {}
    batch = [unit(0, b"e1\n", b"2"), unit(1, b"e1", b"2\n"), unit(2, b"a"), unit(3, b"g"), unit(4, b"d")]
    await runner.run(batch, [], lambda which, made: done.update({which.partition: made}))
    await runner.run([unit(4, b"d"), unit(5, b"d")], [], lambda which, made: done.update({which.partition + 1: made}))
    runner.close()
    assert [done[n].outputs for n in (0, 1)] == [[b"1\n2"], [b"1\n2\n"]]
    arguments = done[2].outputs[0].decode().split("\0")[1:-1]
    assert arguments == ["--top=3", "--word=x", "--partition=2", "--partitions=9"]
    assert (done[3].outputs, done[3].log) == ([b""], b"g")
    assert done[4].outputs == done[5].outputs != done[6].outputs


async def test_a_guest_is_for_so_many_units_and_no_more(modules: Sandbox, obedient: Runtime, shorten: Shorten) -> None:
    shorten(runner_module, "MAX_UNITS_PER_GUEST", 10)
    runner = await runner_of(modules, obedient)
    outputs: list[bytes] = []
    used: list[int] = []
    for start in range(0, 40, 5):
        batch = [unit(n, b"e%d" % n) for n in range(start, start + 5)]
        await runner.run(batch, [], lambda _, made: outputs.extend(made.outputs))
        (process,) = processes(modules)
        used.append(process)
    runner.close()
    assert outputs == [b"%d" % n for n in range(40)]
    assert [used[n] == used[n + 1] for n in range(7)] == [True, False] * 3 + [True]


COMPLAINS = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 100))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.gt_u (i32.load (i32.const 8)) (i32.const 9)) (then (unreachable)))
    (call $exit (i32.load (i32.const 8))))
)
"""


@pytest.fixture
def complaining(module_of: ModuleOf) -> Runtime:
    """Says on stderr what it reads, and ends with as many bytes as its code; of more than nine it makes a trap."""
    return module_of(COMPLAINS)


async def test_the_unit_that_fails_is_told_with_its_words_and_no_other(modules: Sandbox, complaining: Runtime) -> None:
    runner = await runner_of(modules, complaining)
    done: list[tuple[int, UnitOutcome]] = []
    with pytest.raises(GuestEnded) as ended:
        await runner.run(
            [unit(0, b""), unit(1, b""), unit(2, b"no\n"), unit(3, b"")],
            [],
            lambda which, made: done.append((which.partition, made)),
        )
    runner.close()
    assert done == [(0, UnitOutcome([b""])), (1, UnitOutcome([b""]))]
    made = runner_module.ending(ended.value)
    assert (made.kind, made.log) == ("job", b"no\n")
    report = msgspec.json.decode(made.text, type=Report)
    assert (report.error, report.kind, report.text) == ("job", "It ended with code 3", "no")


async def test_a_trap_after_an_exit_is_a_trap(modules: Sandbox, complaining: Runtime) -> None:
    runner = await runner_of(modules, complaining)
    done: list[int] = []
    batch = [unit(0, b""), unit(1, b"more than nine")]
    with pytest.raises(GuestEnded, match="unreachable") as ended:
        await runner.run(batch, [], lambda which, _: done.append(which.partition))
    runner.close()
    assert done == [0]
    assert runner_module.ending(ended.value).kind == "broken"
