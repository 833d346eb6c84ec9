"""A bug in one cluster or in one allocation ends that alone."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from p2p.cluster.engines.dask import Dask
from p2p.cluster.spec import ClusterSpec
from p2p.environments.environments import Environments
from p2p.errors import InternalError
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import cluster as wire
from tests.network.cluster.test_lending import asking, last_word, listing, reply, until_free
from tests.support.clusters.native import UIDS, needs_bubblewrap
from tests.support.world import World

pytestmark = needs_bubblewrap


def broken(*args: Any, **named: Any) -> Any:
    raise RuntimeError("a bug")


async def test_a_bug_in_an_allocation_ends_it_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, expects_bugs: Callable[[int], None]
) -> None:
    owner, member = await listing(world)
    with monkeypatch.context() as patched:
        patched.setattr(Environments, "fetched", broken)
        async with asking(owner, member) as (connection, _):
            named = wire.ClusterMember(0, owner.peer_id, 1)
            await connection.send(wire.GrantAllocation(1, 1, wire.BoundShare(bytes(32), ""), (named,)))
            said = await last_word(connection)
            assert isinstance(said, wire.EndAllocation)
    await until_free(member)
    expects_bugs(1)
    assert isinstance(await reply(owner, member), wire.OfferAllocation)


async def started(owner: Node) -> None:
    spec = ClusterSpec(engine="dask", environment="/nowhere", members=0)
    with trio.fail_after(60):
        await owner.clusters.start(spec, Progress())


async def test_a_bug_in_a_cluster_ends_it_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, expects_bugs: Callable[[int], None]
) -> None:
    owner = await world.peer("owner", stays=True, cluster={"uids": UIDS})
    monkeypatch.setattr(Dask, "keys", broken)
    with pytest.raises(InternalError):
        await started(owner)
    expects_bugs(1)
    assert (await owner.clusters.list()).clusters == ()
