"""Members in sandboxes as a cluster has them: walls, limits and system calls as for engines."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from p2p.cluster import member
from p2p.errors import ProtocolViolation
from p2p.sandbox.native.accounts import account
from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.wire.cluster import SignalProcess, StartProcess
from tests.support.clusters.boxes import PYTHON, needs_tun
from tests.support.clusters.members import members
from tests.support.clusters.native import UIDS, needs_bubblewrap, printed, spec
from tests.support.clusters.programs import PING, RECEIVE, SEND
from tests.support.constants import Shorten

pytestmark = [needs_bubblewrap, needs_tun]


async def ran(sandbox: NativeSandbox, code: str, *arguments: str) -> str:
    """What Python prints in a sandbox."""
    program = await sandbox.start([PYTHON, "-I", "-c", code, *arguments], {}, "program")
    said = await printed(program)
    assert await program.wait() == 0, said
    return said.strip()


async def test_native_sandboxes_reach_each_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sandboxes = []
        for name in ("one", "two"):
            own = stack.enter_context(account(UIDS))
            (tmp_path / name).mkdir()
            sandboxes.append(await stack.enter_async_context(open_native(spec(), tmp_path / name, own, idle=False)))
        zero, one = sandboxes
        async with members(tmp_path, sandboxes) as (_, other):
            for sandbox in sandboxes:
                await sandbox.begin()
            assert await ran(one, PING, "10.77.0.1") == "0"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ran, one, RECEIVE)
                assert await ran(zero, SEND, "10.77.0.2") == "True"
            assert other.network.ends_connections
            assert other.network.unsound == 0


async def test_an_owner_that_does_not_listen_has_few_programs(tmp_path: Path, shorten: Shorten) -> None:
    shorten(member, "MAX_PROCESSES", 4)
    shorten(member, "_MOST_WAITING", 4)
    with account(UIDS) as own:
        async with open_native(spec(), tmp_path, own, idle=False) as sandbox, trio.open_nursery() as nursery:
            await sandbox.begin()
            one = member.Member(cast(Any, None), sandbox, cast(Any, None), nursery)
            with trio.move_on_after(2):
                for number in range(1, 20):
                    await one.start(StartProcess(number, "none", ("no such program",)))
                    await one.signal(SignalProcess(number, 15))
                    await trio.testing.wait_all_tasks_blocked(0.02)
            assert len(nursery.child_tasks) <= 4
            with pytest.raises(ProtocolViolation, match="used before"):
                await one.start(StartProcess(1, "again", ("true",)))
            nursery.cancel_scope.cancel()
