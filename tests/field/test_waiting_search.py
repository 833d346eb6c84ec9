"""B4: what a peer shares is found soon, whoever was there when it was published."""

import os
from functools import partial
from pathlib import Path

import pytest

from p2p.advertising import dht_publisher
from p2p.control import protocol as requests
from p2p.core.dht import publications, recordstore
from p2p.discovery import search
from p2p.errors import Refused
from p2p.node import Node
from p2p.wire.records import Record, keyword_key, shards
from tests.support import processes
from tests.support.constants import Shorten
from tests.support.dht_peers import eventually, net, perform
from tests.support.processes import Peer, make_file
from tests.support.world import World, until

pytestmark = pytest.mark.usefixtures("clean")


async def shared(world: World, node: Node, name: str, *, unlisted: bool = False) -> str:
    """Shares a file of that name; returns its link."""
    path = world.folder / name
    path.write_bytes(name.encode() * 100)
    answer, _ = await perform(node, requests.ShareRequest(paths=(str(path),), unlisted=unlisted))
    return str(answer.link)


async def names(node: Node, query: str) -> list[str]:
    return sorted(hit.name for hit in await node.discovery.search(query, lambda note: None))


async def test_what_one_node_stored_is_published_again_at_the_next_start(world: World) -> None:
    """Both commands end; then both peers run as nodes, and the storer has forgotten the record."""
    peers = await net(world, 2)
    await shared(world, peers[1], "Summer concert")
    await eventually(partial(names, peers[0], "concert"))
    await world.stop("p1")
    await world.stop("p0")
    again = await net(world, 2)
    await eventually(partial(names, again[0], "concert"))


def test_real_peers_find_what_only_a_passing_one_had_stored(tmp_path: Path) -> None:
    file = make_file(tmp_path / "Summer concert", 1000)
    origin, other = Peer(tmp_path / "origin"), Peer(tmp_path / "other")
    with origin.node() as node:
        other.run("get", origin.run("share", file).out.strip(), "--join", node.address)
    with origin.node() as node, other.node("--join", node.address):
        processes.until(lambda: bool(other.run("search", "concert", "--json").json()), "a share found over the DHT")


async def test_a_network_that_grows_is_told_again(world: World, shorten: Shorten) -> None:
    shorten(dht_publisher, "NODES_INTERVAL_S", 0.05)
    shorten(dht_publisher, "GROWTH_PAUSE_S", 0.0)
    first, other = await net(world, 2)
    await shared(world, other, "Summer concert")
    await eventually(partial(names, first, "concert"))
    join = {"dht": True, "join": (str(other.addresses[0]),)}
    third = await world.peer("third", network=join)
    key, nodes = keyword_key("concert"), third.discovery.overlays.nodes
    # Once it keeps the record itself, the others may leave.
    await until(lambda: any(node.store.get(key, node.endpoint.now()) for node in nodes))
    await world.stop("p0")
    await world.stop("p1")
    assert await names(third, "concert") == ["Summer concert"]


async def test_full_is_not_published(world: World, shorten: Shorten, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(publications, "FIRST_REPEAT_S", 0.1)
    refused: list[Record] = []

    def refuse(_: object, record: Record, *__: object) -> None:
        refused.append(record)
        raise Refused(recordstore.FULL)

    with monkeypatch.context() as full:
        full.setattr(recordstore.RecordStore, "put", refuse)
        first, other = await net(world, 2)
        await shared(world, other, "Summer concert")
        await until(lambda: {record.key for record in refused} >= {*shards(keyword_key, "concert")})
        assert await names(first, "concert") == []
    await eventually(partial(names, first, "concert"))


async def test_neighbours_are_asked_too(world: World) -> None:
    """Without a tracker and the DHT, the local network is all there is."""
    lan = {"lan": True, "name": f"test-{os.getpid()}"}
    one, other = await world.peer("one", network=lan), await world.peer("other", network=lan)
    await shared(world, one, "Summer concert")
    await shared(world, one, "Secret concert", unlisted=True)
    (hit,) = await eventually(partial(other.discovery.search, "concert", lambda note: None))
    assert (hit.name, hit.signer, hit.sources, hit.files) == ("Summer concert", one.peer_id, 1, 1)
    answer, _ = await perform(other, requests.GetRequest(link=hit.link, out=str(world.out(other))))
    assert answer.bytes == 1400


async def test_neighbours_who_share_nothing_of_the_kind_are_an_answer(world: World) -> None:
    lan = {"lan": True, "name": f"test-{os.getpid()}"}
    one, other = await world.peer("one", network=lan), await world.peer("other", network=lan)
    await until(lambda: len(other.discovery.neighbours))
    assert await names(other, "concert") == []
    assert search.NEARBY_S < 5
    await world.stop(one.home.name)
