"""An owner's planner whose sandbox fails: a reason for its job to stop, and no more than that."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.compute import bundles
from p2p.compute.bundles import Description
from p2p.compute.owner import planner as planner_module
from p2p.compute.owner.planner import GuestPlanner
from p2p.concurrency.background import Background
from p2p.core.compute import plan as plans
from p2p.core.compute.plan import Plan
from p2p.errors import JobError, SandboxFailed
from p2p.jobs.bootstrap import BOOTSTRAP
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import open_sandbox
from tests.support.constants import Shorten


async def test_who_waits_for_a_plan_made_again_hears_that_it_cannot_be_made(python: Runtime, tmp_path: Path) -> None:
    limits = GuestLimits(wall_s=5, memory_bytes=1 << 28)
    plan = plans.of_command(1)
    async with (
        open_sandbox(1, tmp_path / "nothing compiled") as sandbox,
        trio.open_nursery() as nursery,
    ):
        planner = GuestPlanner(sandbox, python, b"j" * 32, b"", limits, 0, bytearray(), print)
        confirming = Background(partial(planner.confirm, plan))
        nursery.start_soon(confirming.run)
        with pytest.raises(SandboxFailed):
            await confirming.done()


@pytest.mark.usefixtures("python")
async def test_a_planner_that_is_closed_starts_no_guest_for_those_who_still_wait() -> None:
    limits = GuestLimits(wall_s=30, memory_bytes=1 << 28)
    slow = b"def job(inputs):\n    for _ in range(3_000_000): pass\n    return inputs.range(5).count()\n"
    load = bundles.load_frame("ab" * 32, bundles.whole({"job.py": slow}), Description({}, 1, 1))
    async with open_sandbox(1, compiled.default_folder()) as sandbox, trio.open_nursery() as nursery:
        runtime = runtimes.python(BOOTSTRAP)
        with closing(GuestPlanner(sandbox, runtime, b"j" * 32, load, limits, 0, bytearray(), print)) as planner:
            plan = await planner.next([])
            assert isinstance(plan, Plan)
            confirming = Background(partial(planner.confirm, plan))
            nursery.start_soon(confirming.run)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(JobError, match="has ended"):
            await confirming.done()
        # The one slot is free again.
        (await sandbox.guest(runtime)).discard()


async def test_more_results_than_anybody_takes_are_the_jobs_own_fault(python: Runtime, shorten: Shorten) -> None:
    """Every volunteer hung up, or the owner failed over a frame, if the job was resumed."""
    shorten(planner_module, "MAX_RESULTS_BYTES", 10_000)
    shorten(planner_module, "MAX_FRAME_BYTES", 20_000)
    limits = GuestLimits(wall_s=30, memory_bytes=1 << 28)
    job = b"def job(inputs):\n    return inputs.range(5).count()\n"
    load = bundles.load_frame("ab" * 32, bundles.whole({"job.py": job}), Description({}, 1, 1))
    async with open_sandbox(1, compiled.default_folder()) as sandbox:
        runtime = runtimes.python(BOOTSTRAP)
        with closing(GuestPlanner(sandbox, runtime, b"j" * 32, load, limits, 0, bytearray(), print)) as planner:
            plan = await planner.next([])
            assert isinstance(plan, Plan)
            with pytest.raises(JobError, match="The results of 2 actions have"):
                await planner.next([bytes(5000), bytes(5000)])
            with pytest.raises(JobError, match="would have to be given"):
                await planner.finish(plan, [bytes(15_000), bytes(15_000)])
            assert await planner.finish(plan, [])
