"""Jobs that are a WASI command, with hundreds of units that do little."""

import os
import signal
from pathlib import Path

import pytest
import trio

from p2p.compute.answers import JobAnswer
from p2p.errors import JobError
from p2p.node import Node
from tests.support.guest_programs import children, write_module
from tests.support.world import World, hint_of, until
from tests.support.world_jobs import run_job, volunteer

UNITS = 2_000
PLACES = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $args_sizes (i32.const 16) (i32.const 4)))
    (drop (call $args_get (i32.const 64) (i32.const 2048)))
    (i32.store (i32.const 0) (i32.const 2048))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
"""Writes its arguments, each with a zero byte after it."""
FAILS_LATE = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $args_get (i32.const 64) (i32.const 2048)))
    ;; the two digits after `--partition=`, which is the second argument: 37
    (if (i32.and
        (i32.eq (i32.load8_u offset=12 (i32.load (i32.const 68))) (i32.const 51))
        (i32.eq (i32.load8_u offset=13 (i32.load (i32.const 68))) (i32.const 55)))
      (then (call $exit (i32.const 5))))))
"""


def guests_of(local: Node) -> list[int]:
    return [process for worker in local.sandbox.process_ids() for process in children(worker)]


async def test_a_guest_that_is_killed_between_its_units_costs_the_job_nothing(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world)
    assert local.volunteering is not None
    volunteering = local.volunteering
    answers: list[JobAnswer] = []
    job = write_module(world.folder, "places", PLACES)

    async def run() -> None:
        answers.append(await run_job(owner, job, [hint_of(local)], partitions=UNITS, out=out))

    out = str(world.folder / "out")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lambda: volunteering.units_done > 0)
        assert not answers
        for process in guests_of(local):
            os.kill(process, signal.SIGKILL)
    (answer,) = answers
    parts = [Path(path).read_bytes().split(b"\0")[1:-1] for path in answer.saved]  # noqa: ASYNC240 - small
    assert parts == [[b"--partition=%d" % n, b"--partitions=%d" % UNITS] for n in range(UNITS)]


async def test_a_unit_that_fails_is_named_and_no_other(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world)
    job = write_module(world.folder, "late", FAILS_LATE)
    with pytest.raises(JobError, match=r"code 5(.|\n)*partition 37 of stage 0"):
        await run_job(owner, job, [hint_of(local)], partitions=60)
