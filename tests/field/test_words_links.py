"""E: a mutable link leads to its share without the DHT, the local network and a tracker, by an address alone."""

import pytest

from p2p import ids
from p2p.control import protocol as requests
from p2p.errors import ConfigError, NotFound
from p2p.node import Node
from p2p.wire.link import PointerLink, parse_any_link
from tests.support.dht_peers import perform
from tests.support.world import World

pytestmark = pytest.mark.usefixtures("clean")


async def published(world: World, node: Node, name: str) -> str:
    """Shares a file under the name; returns the mutable link."""
    path = world.folder / "news.txt"
    path.write_bytes(b"news" * 100)
    answer, _ = await perform(node, requests.ShareRequest(paths=(str(path),), pointer=name))
    return str(answer.pointer)


async def test_a_mutable_link_has_an_address(world: World) -> None:
    """Nobody but the link says where its publisher is."""
    publisher, other = await world.peer("publisher"), await world.peer("other")
    link = await published(world, publisher, "News")
    (row,), _ = await perform(publisher, requests.SharesRequest())
    assert row.pointers == (link,)
    answer, _ = await perform(other, requests.GetRequest(link=link, out=str(world.out(other))))
    assert answer.bytes == 400


@pytest.mark.parametrize("form", ["{old}", "{bare}"])
async def test_a_mutable_link_of_which_only_the_user_knows_the_publisher(form: str, world: World) -> None:
    """`get shoal:ID/news --peer PUBLISHER:PORT`"""
    publisher, other = await world.peer("publisher"), await world.peer("other")
    await published(world, publisher, "news")
    link = form.format(
        old=f"shoal:{ids.to_text(publisher.peer_id)}/news", bare=str(PointerLink(publisher.peer_id, "news"))
    )
    peers = (str(publisher.addresses[0]),)
    answer, _ = await perform(other, requests.GetRequest(link=link, out=str(world.out(other)), peers=peers))
    assert answer.bytes == 400


async def test_a_peer_that_follows_a_link_is_asked_for_it_but_is_not_its_publisher(world: World) -> None:
    publisher, other, third = [await world.peer(name) for name in ("publisher", "other", "third")]
    link = await published(world, publisher, "news")
    await perform(other, requests.GetRequest(link=link, out=str(world.out(other))))
    await world.stop("publisher")
    bare = str(PointerLink(publisher.peer_id, "news"))
    peers = (str(other.addresses[0]),)
    answer, _ = await perform(third, requests.GetRequest(link=bare, out=str(world.out(third)), peers=peers))
    assert answer.bytes == 400


async def test_a_peer_is_browsed_by_what_names_it(world: World) -> None:
    """Its mutable link, and the id with a checksum that is in it."""
    publisher, other = await world.peer("publisher"), await world.peer("other")
    link = await published(world, publisher, "news")
    address = publisher.addresses[0]
    digits = link.split("/")[1]
    for who in (link, f"{digits}@{address}", str(address)):
        rows, _ = await perform(other, requests.BrowseRequest(peer=who))
        assert [row.name for row in rows] == ["news.txt"]
    (row,), _ = await perform(publisher, requests.SharesRequest())
    with pytest.raises(ConfigError, match="a link to a share, not a peer"):
        await perform(other, requests.BrowseRequest(peer=str(parse_any_link(row.id))))


async def test_nobody_knows_it(world: World) -> None:
    publisher, other = await world.peer("publisher"), await world.peer("other")
    link = parse_any_link(await published(world, publisher, "news"))
    assert isinstance(link, PointerLink)
    await world.stop("publisher")
    with pytest.raises(NotFound, match="Nobody knew of 'news'"):
        await perform(other, requests.GetRequest(link=str(link), out=str(world.out(other)), wait_s=0.3))
