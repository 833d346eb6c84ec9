"""What a member has offered, while its owner looks for others: it is there when the search ends, and not for longer."""

import msgspec
import pytest
import trio
import trio.testing

from p2p.cluster.owner import seats
from p2p.cluster.owner.recruiting import Recruiting
from p2p.core.cluster.allocations import SILENCE_S
from tests.network.cluster.test_lending import ASK, listing, until_free
from tests.support.constants import Shorten
from tests.support.world import World, hint_of

CLUSTER = msgspec.structs.replace(ASK, cluster=b"a search" * 2)


async def test_an_offer_is_kept_while_its_owner_looks_for_more_members(
    world: World, monkeypatch: pytest.MonkeyPatch, shorten: Shorten
) -> None:
    monkeypatch.setattr("p2p.core.cluster.allocations.SILENCE_S", 1.0)
    shorten(seats, "BEAT_S", 0.1)
    owner, member = await listing(world)
    recruiting = Recruiting(owner.clusters._deps, CLUSTER, (), [hint_of(member)])
    [seat] = await recruiting.find(2, (), 2.5)
    assert [lent.state for lent in member.clusters.lent] == ["offered"]
    seat.close()
    await until_free(member)


async def test_a_search_that_is_given_up_gives_back_what_was_offered(world: World) -> None:
    owner, member = await listing(world)
    recruiting = Recruiting(owner.clusters._deps, CLUSTER, (), [hint_of(member)])
    with trio.fail_after(30), trio.CancelScope() as search:
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                while not member.clusters.lent:
                    await member.changes.after(member.changes.count)
                await trio.testing.wait_all_tasks_blocked(0.1)
                search.cancel()

            nursery.start_soon(give_up)
            await recruiting.find(2, (), 60)
    began = trio.current_time()
    await until_free(member)
    assert trio.current_time() - began < SILENCE_S / 2, "the member waited for an owner that had gone"
