"""An owner's planner whose sandbox fails: a reason for its job to stop, and no more than that."""

from functools import partial
from pathlib import Path

import pytest
import trio

from p2p.core import plan as plans
from p2p.errors import SandboxFailed
from p2p.sandbox.limits import Limits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import open_sandbox
from p2p.services.aside import Aside
from p2p.services.planner import guest_planner


async def test_who_waits_for_a_plan_made_again_hears_that_it_cannot_be_made(python: Runtime, tmp_path: Path) -> None:
    limits = Limits(wall_s=5, memory_bytes=1 << 28)
    plan = plans.of_command(1)
    async with (
        open_sandbox(1, tmp_path / "nothing compiled") as sandbox,
        guest_planner(sandbox, python, b"j" * 32, b"", limits, 0, bytearray()) as planner,
        trio.open_nursery() as nursery,
    ):
        confirming = Aside(partial(planner.confirm, plan))
        nursery.start_soon(confirming.run)
        with pytest.raises(SandboxFailed):
            await confirming.done()
