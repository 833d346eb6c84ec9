"""Listing a folder of a share, and reading a file of it, over the control socket."""

import pytest

from p2p.control import client
from p2p.control.protocol import CatRequest, Event, ListRequest, Piece
from p2p.errors import ConfigError, NotFound
from p2p.ids import to_text
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


async def test_a_share_that_nobody_has_is_not_found(world: World) -> None:
    peer = await world.peer("peer")
    with pytest.raises(NotFound, match="Nobody had this"):
        await asked(peer, ListRequest(link="a" * 52, wait_s=0.1))
