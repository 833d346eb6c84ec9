"""Limits that change while a peer runs: of the peer, of one fetch, and in its config.toml."""

import os

import pytest

from p2p.config import load
from p2p.control.answers import LimitAnswer
from p2p.control.protocol import BackgroundRequest, FollowRequest, GetRequest, GoOnRequest, LimitRequest, PauseRequest
from p2p.errors import ConfigError
from p2p.node import Node
from tests.support.world import World, asked, until

KIB, MIB = 1024, 1024 * 1024
SLOW = 64 * KIB


@pytest.fixture
async def node(world: World) -> Node:
    return await world.peer("node", stays=True)


async def begin(world: World, node: Node, origin: Node, limit: int = 0) -> str:
    published = await world.publish(origin, {"a.bin": 4 * MIB})
    link = node.discovery.links.to(published.link.share_id, "data", 0)
    peers = (str(published.hint),)
    request = GetRequest(link=link, out=str(world.out(node)), peers=peers, limit_bytes_per_s=limit)
    return str((await asked(node, BackgroundRequest(request=request))).id)


async def test_the_limits_of_a_peer_change_while_it_transfers(world: World, node: Node) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=SLOW)
    fetch = await begin(world, node, origin)
    await until(lambda: origin.traffic.bytes_uploaded)
    assert await asked(origin, LimitRequest()) == LimitAnswer(SLOW, 0, None)
    assert await asked(origin, LimitRequest(upload=0)) == LimitAnswer(0, 0, None)
    assert (await asked(node, FollowRequest(id=fetch))).bytes == 4 * MIB


async def test_a_peer_that_had_no_limit_gets_one_while_it_fetches(world: World, node: Node) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=4 * MIB)
    fetch = await begin(world, node, origin)
    await until(lambda: node.traffic.bytes_downloaded >= MIB)
    await asked(node, LimitRequest(download=SLOW))
    assert (await asked(node, LimitRequest())).download == SLOW
    await asked(node, PauseRequest(id=fetch))
    assert node.traffic.bytes_downloaded < 4 * MIB
    await asked(node, LimitRequest(download=0))
    assert (await asked(node, GoOnRequest(id=fetch))).fetch.bytes == 4 * MIB


async def test_the_limit_of_one_fetch_changes_and_stays_with_it(world: World, node: Node) -> None:
    fetch = await begin(world, node, await world.peer("origin"), SLOW)
    await until(lambda: node.traffic.bytes_downloaded)
    assert (await asked(node, LimitRequest(fetch=fetch, download=2 * SLOW))).download == 2 * SLOW
    await asked(node, PauseRequest(id=fetch))
    await world.stop("node")
    node = await world.peer("node", stays=True)
    assert await asked(node, LimitRequest(fetch=fetch[:8])) == LimitAnswer(None, 2 * SLOW, None)
    await asked(node, GoOnRequest(id=fetch, background=True))
    await asked(node, LimitRequest(fetch=fetch, download=0))
    assert (await asked(node, FollowRequest(id=fetch))).bytes == 4 * MIB


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[transfer]\nupload_limit_bytes_per_s = 2000\n"),
        (
            "# mine\n[network]\nlan = false\n[transfer] # here\nmax_sources = 4\n",
            "# mine\n[network]\nlan = false\n[transfer] # here\nupload_limit_bytes_per_s = 2000\nmax_sources = 4\n",
        ),
        (
            "[transfer]\nupload_limit_bytes_per_s=5000 # slow\n[network]\nlan = false\n",
            "[transfer]\nupload_limit_bytes_per_s = 2000\n[network]\nlan = false\n",
        ),
    ],
)
async def test_limits_are_saved_and_all_else_in_the_file_stays(
    world: World, node: Node, before: str, after: str
) -> None:
    path = node.home / "config.toml"
    if before:
        path.write_text(before)
    assert (await asked(node, LimitRequest(upload=2000, save=True))).saved == str(path)
    assert path.read_text() == after
    assert load(node.home, {}, {}).config.transfer.upload_limit_bytes_per_s == 2000
    assert os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["transfer = { max_sources = 4 }\n", "transfer.max_sources = 4\n", "nonsense"])
async def test_a_file_that_cannot_be_changed_line_by_line_stays_as_it_is(world: World, node: Node, text: str) -> None:
    path = node.home / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        await asked(node, LimitRequest(upload=2000, save=True))
    assert path.read_text() == text
    assert node.traffic.upload.bytes_per_s == 0


async def test_limits_that_make_no_sense_are_refused(world: World, node: Node) -> None:
    for request in (LimitRequest(upload=5), LimitRequest(download=-1), LimitRequest(fetch="abc", download=5000)):
        with pytest.raises(ConfigError):
            await asked(node, request)
