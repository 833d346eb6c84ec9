"""Listing a folder of a share, and reading a file of it, over the control socket."""

import pytest

from p2p.control import client
from p2p.control.protocol import CatRequest, Event, GetRequest, ListRequest, Piece, SharesRequest, UnshareRequest
from p2p.errors import ConfigError, NotFound
from p2p.ids import ShareId, to_text
from p2p.sharing.reading import folder
from tests.support.constants import Shorten
from tests.support.world import World, asked


async def test_a_file_comes_in_pieces_and_only_it_is_fetched(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    published = await world.publish(origin, {"a/file.bin": 700_000, "large.bin": 3_000_000, "empty": 0})
    heard: list[bytes] = []

    async def emit(event: Event) -> None:
        assert isinstance(event, Piece)
        heard.append(event.data)

    for path in ("a/file.bin", "empty"):
        heard.clear()
        answer = await client.ask(reader.home, CatRequest(link=str(published.link), path=path), emit)
        assert b"".join(heard) == (published.path / path).read_bytes()
        assert answer.bytes == sum(map(len, heard))
    assert reader.traffic.bytes_downloaded < 1_000_000
    for path in ("a", "nothing", ""):
        with pytest.raises(ConfigError, match="has no file"):
            await client.ask(reader.home, CatRequest(link=str(published.link), path=path), emit)


async def test_folders_and_files_are_listed(world: World, shorten: Shorten) -> None:
    shorten(folder, "MAX_LISTED", 2)
    peer = await world.peer("peer")
    published = await world.publish(peer, {"a/b/c": 1, "d": 22, "e": 3})
    link = str(published.link)
    first = await asked(peer, ListRequest(link=link))
    assert [(row.name, row.kind, row.size) for row in first.rows] == [("a", "folder", None), ("d", "file", 22)]
    assert first.after == "d"
    rest = await asked(peer, ListRequest(link=link, after="d"))
    assert ([row.name for row in rest.rows], rest.after) == (["e"], None)
    alone = await asked(peer, ListRequest(link=link, path="a/b/c"))
    assert ([row.name for row in alone.rows], alone.path) == (["c"], "a/b/c")
    assert [row.name for row in (await asked(peer, ListRequest(link=link, path="/a/"))).rows] == ["b"]
    with pytest.raises(ConfigError, match="The share has no"):
        await asked(peer, ListRequest(link=link, path="a/x"))


async def test_the_newest_version_of_a_name_is_read(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    published = await world.publish(origin, {"a": 1})
    await origin.discovery.mutable_links.point("news", published.link.share_id)
    link = origin.discovery.links.mutable_maker()("news")
    assert (await asked(reader, ListRequest(link=link))).share == to_text(published.link.share_id)


@pytest.mark.parametrize("form", ["{whole}", "shoal://{share}/", "{link}", "shoal://news@{peer}/", "shoal:{peer}/news"])
async def test_whatever_form_a_link_has_it_is_unshared(world: World, form: str) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    published = await world.publish(origin, {"a": 1})
    await origin.discovery.mutable_links.point("news", published.link.share_id)
    link = origin.discovery.links.mutable_maker()("news")
    await asked(reader, GetRequest(link=link, out=str(world.out(reader))))
    # The version that this peer has is meant, though there is a newer one.
    newer = await origin.discovery.mutable_links.point("news", ShareId(b"2" * 32))
    reader.pointers.saw(newer, reader.peer_id)
    share, peer = to_text(published.link.share_id), to_text(origin.peer_id)
    text = form.format(whole=published.link, link=link, share=share, peer=peer)
    assert (await asked(reader, UnshareRequest(id=text))).id == share
    assert await asked(reader, SharesRequest()) == []


async def test_of_several_versions_none_is_unshared_unasked(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    link = origin.discovery.links.mutable_maker()("news")
    for seed, name in enumerate(("one", "two")):
        published = await world.publish(origin, {"a": 10}, name, seed)
        await origin.discovery.mutable_links.point("news", published.link.share_id)
        await asked(reader, GetRequest(link=link, out=str(world.folder / f"{name}-fetched")))
    with pytest.raises(ConfigError, match="2 shares are versions of 'news'"):
        await asked(reader, UnshareRequest(id=link))
    with pytest.raises(NotFound, match="nothing that 'olds' leads to"):
        await asked(reader, UnshareRequest(id=origin.discovery.links.mutable_maker()("olds")))


async def test_a_share_that_nobody_has_is_not_found(world: World) -> None:
    peer = await world.peer("peer")
    with pytest.raises(NotFound, match="Nobody had this"):
        await asked(peer, ListRequest(link="a" * 52, wait_s=0.1))
