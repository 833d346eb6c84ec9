"""Peers whose records in the DHT are hidden, or for which it has no room."""

import os
from functools import partial

import pytest
import trio

from p2p import ids
from p2p.control import protocol as requests
from p2p.core.dht import publications, recordstore
from p2p.discovery import finders
from p2p.discovery.dht import Overlays
from p2p.ids import H, PeerId, ShareId
from p2p.wire.link import Link, PeerHint
from p2p.wire.records import RecordKind
from p2p.wire.tracker import provider_key
from tests.support.constants import Shorten
from tests.support.dht_peers import eventually, net, perform
from tests.support.world import World, bare, same_tree, until

pytestmark = pytest.mark.usefixtures("clean")

FILES = {"one.bin": 100_000}


async def test_a_publisher_for_whom_there_is_no_room_says_so_and_tries_again(world: World, shorten: Shorten) -> None:
    """And meanwhile whoever has its address gets the share."""
    peers = await net(world, 4)
    shorten(publications, "FIRST_REPEAT_S", 0.05)
    shorten(publications, "LAST_REPEAT_S", 0.1)
    room = recordstore.MAX_RECORDS
    shorten(recordstore, "MAX_RECORDS", 0)
    published = await world.publish(peers[1], FILES)

    async def is_full() -> bool:
        rows, _ = await perform(peers[1], requests.SharesRequest())
        return bool(rows[0].dht_full)

    await eventually(is_full)
    status, _ = await perform(peers[1], requests.StatusRequest())
    assert status.dht.without_room >= 1
    await world.get(peers[2], published.link)
    assert same_tree(world.out(peers[2]) / "data", published.path)
    shorten(recordstore, "MAX_RECORDS", room)
    await eventually(is_full, lambda full: not full)
    await world.get(peers[3], bare(published.link))


async def test_what_the_dht_hides_the_local_network_and_other_peers_still_find(world: World, shorten: Shorten) -> None:
    """The first by its neighbours, the second, which has none of its own, by whom the first names."""
    lan = {"lan": True, "name": f"test-hidden-{os.getpid()}"}
    shorten(recordstore, "MAX_RECORDS", 0)
    origin, first = await net(world, 2, **lan)
    second = await world.peer("second", network={"name": lan["name"]})
    published = await world.publish(origin, FILES)
    link = ids.to_text(published.link.share_id)
    await perform(first, requests.GetRequest(link=link, out=str(world.out(first))))
    assert same_tree(world.out(first) / "data", published.path)
    assert not first.discovery.overlays.records
    await world.get(second, Link(published.link.share_id, peers=(PeerHint(first.addresses[0], first.peer_id),)))
    assert same_tree(world.out(second) / "data", published.path)


class Waiting:
    """A fetch that never gets a source."""

    any_known = False
    any_connected = False

    def __init__(self) -> None:
        self.heard: list[PeerHint] = []

    def heard_of(self, hint: PeerHint) -> None:
        self.heard.append(hint)

    def not_dialable(self, peer_id: PeerId) -> None:
        pass


@pytest.mark.parametrize("was_found", [True, False])
async def test_a_share_that_was_found_and_gives_nothing_is_looked_for_along_several_paths(
    world: World, shorten: Shorten, monkeypatch: pytest.MonkeyPatch, was_found: bool
) -> None:
    """One that was never found is, too, now and then."""
    peers = await net(world, 2)
    shorten(finders, "FIRST_RETRY_S", 0.001)
    shorten(finders, "LAST_RETRY_S", 0.001)
    share = ShareId(H("nobody has it"))
    if was_found:
        published = await world.publish(peers[1], FILES)
        share = published.link.share_id
        await eventually(partial(known, peers[0].discovery.overlays, share))
    asked: list[bool] = []
    get = peers[0].discovery.overlays.get

    async def noted(*args: object, thoroughly: bool = False, **more: object) -> object:
        asked.append(thoroughly)
        return await get(*args, thoroughly=thoroughly, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(peers[0].discovery.overlays, "get", noted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peers[0].discovery.finders.find, Link(share), Waiting(), lambda text: None)
        await until(lambda: len(asked) >= 8)
        nursery.cancel_scope.cancel()
    if was_found:
        assert asked[:8] == [False, *[True] * 7]
    else:
        assert asked[:8] == [False, False, False, True] * 2


async def known(overlays: Overlays, share: ShareId) -> bool:
    return bool(await overlays.get(provider_key(share), RecordKind.PROVIDER))
