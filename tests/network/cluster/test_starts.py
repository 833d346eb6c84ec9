"""Clusters that are started again, and their names."""

import threading
from contextlib import suppress

import msgspec
import pytest
import trio
import trio.testing

from p2p.cluster.clusters import LENT
from p2p.cluster.spec import ClusterSpec, Name
from p2p.environments import packing
from p2p.errors import ConfigError
from p2p.progress import Progress
from tests.support.clusters.native import UIDS, needs_bubblewrap
from tests.support.world import World, until

SPEC = ClusterSpec(engine="dask", environment="/nowhere", members=0)


@needs_bubblewrap
async def test_a_start_that_was_interrupted_leaves_its_name_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.peer("owner", stays=True, cluster={"uids": UIDS})
    plans, goes_on = 0, threading.Event()

    def plan(*arguments: object) -> None:
        nonlocal plans
        plans += 1
        assert goes_on.wait(30)
        raise ConfigError("nothing is packed here")

    monkeypatch.setattr(packing, "plan", plan)

    async def start(scope: trio.CancelScope) -> None:
        with scope, suppress(ConfigError):
            await owner.clusters.start(SPEC, Progress())

    first = trio.CancelScope()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, first)
            await until(lambda: plans == 1)
            first.cancel()
            await until(lambda: owner.clusters._own["dask"].is_stopping)
            nursery.start_soon(start, trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert list(owner.clusters._own) == ["dask"]
            goes_on.set()
    assert plans == 2


def test_no_cluster_has_the_folder_of_what_is_lent() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(LENT, Name)
