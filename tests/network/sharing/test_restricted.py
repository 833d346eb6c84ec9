"""A share that only some peers may read is, for all others, one that this peer does not have."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from p2p.advertising.inventory import Inventory
from p2p.errors import NotFound, PeerGone
from p2p.ids import ShareId, to_text
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.share_calls import ShareCalls
from p2p.wire import messages
from p2p.wire.link import Link
from p2p.wire.messages import NOT_FOUND, Failed
from tests.network.gateway.asking import http_client
from tests.network.web.test_door import LOCAL, client_of
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK, World, hint_of, until, using

SIZES = {"a.bin": 700_000, "b/c.txt": 300}


@pytest.fixture
async def owner(world: World) -> Node:
    return await world.peer("owner", web=LOCAL)


@pytest.fixture
async def link(world: World, owner: Node) -> Link:
    """A restricted share of the owner's. Another one is public."""
    made = await world.publish(owner, SIZES, "public")
    path = world.folder / "secret"
    made.path.rename(path)
    await owner.sharing.unshare(made.link.share_id)
    await world.publish(owner, {"x": 10}, "public")
    done = await owner.sharing.share([path], "secret", Progress(), unlisted=False, restricted=True)
    return Link(done.share_id, "secret", done.bytes)


@pytest.fixture
async def stranger(owner: Node, tmp_path: Path) -> AsyncIterator[Connection]:
    """A connection of a peer that may not read the share."""
    dialer = make_dialer(tmp_path / "stranger", NETWORK)
    connection = await dialer.dial(owner.addresses[0], owner.peer_id)
    yield connection
    connection.close()


async def until_it_ends(connection: Connection) -> None:
    while True:
        await connection.receive()


def public(owner: Node, share: ShareId) -> ShareId:
    (other,) = (ShareId(row.id) for row in owner.library.shares() if row.id != share)
    return other


async def test_a_stranger_gets_it_in_no_way(owner: Node, link: Link, stranger: Connection) -> None:
    share, other = link.share_id, public(owner, link.share_id)
    not_found = Failed(reason=NOT_FOUND, share=share)
    for asked in (messages.GetRoot(share=share), messages.GetPart(share=share, index=0), messages.Open(share=share)):
        await stranger.send(asked)
        assert await stranger.receive() == not_found
    await stranger.send(messages.Browse(cursor=""))
    listed = await stranger.receive()
    assert isinstance(listed, messages.Listed)
    assert [one.share for one in listed.shares] == [other]
    await stranger.send(messages.Open(share=other))  # nor while another share is exchanged
    assert not isinstance(await stranger.receive(), Failed)
    await stranger.send(messages.GetRoot(share=share))
    while not isinstance(answer := await stranger.receive(), Failed):
        pass
    assert answer == not_found


async def test_one_that_may_read_it_gets_it_and_gives_it_to_nobody_else(world: World, owner: Node, link: Link) -> None:
    member, other = await world.peer("member"), await world.peer("other")
    owner.readers.allows = lambda share, peer: (share, peer) == (link.share_id, member.peer_id)
    member.library.restrict(link.share_id)
    with member.readers.granted(link.share_id, owner.peer_id):
        await world.get(member, link, [hint_of(owner)], keep_serving=True)
    assert (world.out(member) / "secret" / "a.bin").read_bytes() == (world.folder / "secret" / "a.bin").read_bytes()
    with pytest.raises(NotFound, match="not found"):
        await world.get(other, link, [hint_of(owner), hint_of(member)], wait_s=1)


async def test_whoever_may_no_longer_read_it_is_cut_off(owner: Node, link: Link, stranger: Connection) -> None:
    owner.readers.allows = lambda share, peer: True
    await stranger.send(messages.Open(share=link.share_id))
    assert not isinstance(await stranger.receive(), Failed)
    owner.readers.allows = lambda share, peer: False
    owner.readers.review()
    with trio.fail_after(10), pytest.raises(PeerGone):
        await until_it_ends(stranger)


async def test_it_is_announced_to_nobody(world: World, owner: Node, link: Link) -> None:
    inventory = Inventory(owner.library, owner.disk, owner.swarms)
    assert [one.share for one in await inventory.all(contents=True)] == [public(owner, link.share_id)]
    fetcher = await world.peer("fetcher")
    fetcher.library.restrict(link.share_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, link)
        await until(lambda: fetcher.swarms.taker(link.share_id))
        assert not await Inventory(fetcher.library, fetcher.disk, fetcher.swarms).all()
        nursery.cancel_scope.cancel()


async def test_nobody_is_called_about_it(world: World, owner: Node, link: Link) -> None:
    fetcher = await world.peer("fetcher")
    calls = ShareCalls(owner.presence.contacts, owner.library, owner.disk, owner.swarms, owner.readers, owner.router)
    assert not calls.is_wanted(link.share_id, fetcher.peer_id)
    owner.readers.allows = lambda share, peer: True
    assert calls.is_wanted(link.share_id, fetcher.peer_id)


async def test_a_stranger_cannot_give_it_either(world: World, link: Link, tmp_path: Path) -> None:
    fetcher = await world.peer("fetcher")
    fetcher.library.restrict(link.share_id)
    dialer = make_dialer(tmp_path / "rogue", NETWORK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, link)
        await until(lambda: fetcher.swarms.taker(link.share_id))
        connection = await dialer.dial(fetcher.addresses[0], fetcher.peer_id)
        await connection.send(messages.Offer(share=link.share_id))
        assert await connection.receive() == Failed(reason=NOT_FOUND, share=link.share_id)
        nursery.cancel_scope.cancel()
    connection.close()


async def test_no_job_and_no_page_reads_it(owner: Node, link: Link) -> None:
    async with using(owner, link.share_id) as held:
        with pytest.raises(NotFound):
            await held.read("b/c.txt", 0, 300)
    assert not await owner.open_shares.holds(link.share_id)
    url = f"/s/{to_text(link.share_id)}/b/c.txt"
    async with client_of(owner) as client:
        assert (await client.get(url)).status_code == 404
    async with client_of(owner, token=True) as client:
        assert (await client.get(url)).status_code == 404
    async with http_client(owner) as client:
        assert (await client.get(url)).status_code == 504


async def test_it_stays_so_when_the_peer_starts_again(world: World, owner: Node, link: Link) -> None:
    await world.stop("owner")
    again = await world.peer("owner")
    assert again.readers.is_restricted(link.share_id)
    assert not again.readers.may_read(link.share_id, owner.peer_id)
