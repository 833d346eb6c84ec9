"""Fetches as things of their own: what ends them, what does not, and what is left of them."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import structs

from p2p.control import user_fetches
from p2p.control.answers import FetchRow, GetAnswer
from p2p.control.protocol import (
    BackgroundRequest,
    FetchesRequest,
    FollowRequest,
    GetRequest,
    GoOnRequest,
    PauseRequest,
    RemoveRequest,
    UnshareRequest,
)
from p2p.core.shares.fetch_states import UNDER_WAY
from p2p.errors import ConfigError, NotFound, ShoalError, StorageError, TargetExists
from p2p.homes import DATABASE_FILE
from p2p.ids import to_text
from p2p.node import Node
from tests.support.constants import Shorten
from tests.support.world import Published, World, asked, same_tree, until

KIB, MIB = 1024, 1024 * 1024
CHUNK = 256 * KIB


@pytest.fixture
async def origin(world: World) -> Node:
    return await world.peer("origin", upload_limit_bytes_per_s=8 * MIB)


@pytest.fixture
async def node(world: World) -> Node:
    return await world.peer("node", stays=True)


@pytest.fixture
async def published(world: World, origin: Node) -> Published:
    return await world.publish(origin, {"a.bin": 6 * MIB, "sub/b.bin": 10})


def get(world: World, node: Node, published: Published, **more: Any) -> GetRequest:
    link = node.discovery.links.to(published.link.share_id, "data", published.link.size or 0)
    return GetRequest(link=link, out=str(world.out(node)), peers=(str(published.hint),), **more)


def rows(node: Node) -> list[FetchRow]:
    return node.fetches.rows()


def row(node: Node) -> FetchRow:
    (one,) = rows(node)
    return one


async def until_some_is_here(node: Node) -> None:
    await until(lambda: any(one.done >= CHUNK for one in rows(node)))


@asynccontextmanager
async def command(node: Node, request: Any) -> AsyncIterator[list[Any]]:
    """A command that runs beside the body, and is interrupted at its end. Its answer, or its error, is in the list."""
    outcome: list[Any] = []

    async def perform() -> None:
        try:
            outcome.append(await asked(node, request))
        except ShoalError as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(perform)
        yield outcome
        nursery.cancel_scope.cancel()


async def test_a_command_that_is_interrupted_leaves_its_fetch_paused(
    world: World, node: Node, published: Published
) -> None:
    async with command(node, get(world, node, published)):
        await until_some_is_here(node)
        assert row(node).state == "running"
    await until(lambda: row(node).state == "paused" and not node.swarms.fetches)
    answer = await asked(node, GoOnRequest(id=row(node).id[:8]))
    assert (answer.errand.kind, answer.errand.state) == ("fetch", "done")
    assert same_tree(published.path, world.out(node) / "data")
    assert node.traffic.bytes_downloaded <= 6 * MIB + 10 + 2 * MIB, "what was here was not fetched again"
    assert row(node).paths == (str(world.out(node) / "data"),)
    with pytest.raises(ConfigError, match="done"):
        await asked(node, GoOnRequest(id=row(node).id))


@pytest.mark.parametrize("is_under_way", [False, True])
async def test_a_peer_that_is_named_later_is_asked_too(
    world: World, node: Node, published: Published, is_under_way: bool
) -> None:
    link, hint = to_text(published.link.share_id), str(published.hint)
    begun = await asked(node, BackgroundRequest(request=GetRequest(link=link, out=str(world.out(node)))))
    await until(lambda: node.fetching.under_way)
    if not is_under_way:
        await asked(node, PauseRequest(id=begun.id))
    assert (await asked(node, GoOnRequest(id=begun.id, background=True, peers=(hint,)))).fetch is None
    await until_some_is_here(node)
    await asked(node, PauseRequest(id=begun.id))
    # It is still known after a restart.
    await world.stop("node")
    node = await world.peer("node", stays=True)
    assert node.fetches.matching(begun.id)[0].request.peers == (hint,)
    with pytest.raises(ConfigError):
        await asked(node, GoOnRequest(id=begun.id, peers=("nonsense",)))
    await asked(node, GoOnRequest(id=begun.id, peers=(hint,)))
    assert same_tree(published.path, world.out(node) / "data")


async def test_the_same_command_goes_on_with_it_and_two_share_it(
    world: World, node: Node, published: Published
) -> None:
    request = get(world, node, published)
    async with command(node, request) as first, command(node, request) as second:
        await until_some_is_here(node)
        with pytest.raises(ConfigError, match="with other options"):
            await asked(node, get(world, node, published, sequential=True))
        async with command(node, request):
            pass
        await until(lambda: bool(first and second))
    assert first == second
    assert isinstance(first[0], GetAnswer)
    assert node.traffic.bytes_downloaded == 6 * MIB + 10


async def test_a_command_with_other_options_takes_a_fetch_over_that_nobody_waits_for(
    world: World, node: Node, published: Published
) -> None:
    begun = await asked(node, BackgroundRequest(request=get(world, node, published, limit_bytes_per_s=512 * KIB)))
    await until_some_is_here(node)
    async with command(node, get(world, node, published)):
        await until(lambda: row(node).done >= 3 * MIB)
    assert row(node).state == "running", "in the background, as before"
    assert (await asked(node, FollowRequest(id=begun.id))).bytes == 6 * MIB + 10


async def test_a_fetch_in_the_background_outlives_commands_and_nodes(
    world: World, node: Node, published: Published
) -> None:
    begun = await asked(node, BackgroundRequest(request=get(world, node, published)))
    assert begun.kind == "fetch"
    async with command(node, FollowRequest(id=begun.id)):
        await until_some_is_here(node)
    assert row(node).state == "running"
    await world.stop("node")
    node = await world.peer("node", stays=True)
    assert row(node).state in {"waiting", "running"}
    answer = await asked(node, FollowRequest(id=begun.id))
    assert answer.bytes == 6 * MIB + 10
    assert same_tree(published.path, world.out(node) / "data")
    await world.stop("node")
    node = await world.peer("node", stays=True)
    assert (await asked(node, FollowRequest(id=begun.id))).paths == answer.paths


async def test_a_fetch_that_another_version_stored_ends_no_peer(
    world: World, node: Node, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    await asked(node, get(world, node, published))
    await world.stop("node")
    with closing(sqlite3.connect(node.home / DATABASE_FILE)) as database, database:
        database.execute("UPDATE kept_fetch SET request = ?", ['{"do": "get", "link": "x", "out": "/", "new": 1}'])
    with caplog.at_level(logging.WARNING, "p2p.control.user_fetches"):
        node = await world.peer("node", stays=True)
    assert rows(node) == []
    assert "another version stored it" in caplog.text
    assert (await asked(node, get(world, node, published))).bytes == 6 * MIB + 10


async def test_a_paused_fetch_stays_paused_whatever_starts(world: World, node: Node, published: Published) -> None:
    begun = await asked(node, BackgroundRequest(request=get(world, node, published)))
    async with command(node, FollowRequest(id=begun.id)) as followed:
        await until_some_is_here(node)
        assert (await asked(node, PauseRequest(id=begun.id))).state == "paused"
        await until(lambda: followed)
    assert "paused" in str(followed[0])
    with pytest.raises(ConfigError, match="paused already"):
        await asked(node, PauseRequest(id=begun.id))
    await world.stop("node")
    node = await world.peer("node", stays=True)
    assert row(node).state == "paused"
    assert not node.swarms.fetches
    assert (await asked(node, GoOnRequest(id=begun.id, background=True))).fetch is None
    assert (await asked(node, FollowRequest(id=begun.id))).bytes == 6 * MIB + 10


async def test_the_peer_of_a_command_begins_nothing_in_the_background(world: World, published: Published) -> None:
    passing = await world.peer("passing")
    request = get(world, passing, published)
    with pytest.raises(ConfigError, match="shoal node"):
        await asked(passing, BackgroundRequest(request=request))
    async with command(passing, request):
        await until_some_is_here(passing)
    await world.stop("passing")
    node = await world.peer("passing", stays=True)
    assert row(node).state == "paused", "it ended with its command"


async def test_a_node_is_waited_for_by_what_is_its_own(world: World, node: Node, published: Published) -> None:
    begun = await asked(node, BackgroundRequest(request=get(world, node, published)))
    await world.stop("node")
    passing = await world.peer("node")
    assert row(passing).state == "waiting"
    with pytest.raises(ShoalError, match="shoal node"):
        await asked(passing, FollowRequest(id=begun.id))
    assert (await asked(passing, GoOnRequest(id=begun.id))).fetch.bytes == 6 * MIB + 10


async def test_removing_leaves_no_unfinished_file_and_all_finished_ones(
    world: World, node: Node, published: Published
) -> None:
    (world.out(node) / "data").mkdir(parents=True)
    mine = world.out(node) / "data" / "mine"
    mine.write_text("mine")
    request = get(world, node, published, into_existing=True)
    begun = await asked(node, BackgroundRequest(request=request))
    await until_some_is_here(node)
    removed = await asked(node, RemoveRequest(id=begun.id))
    assert removed.part_files >= 1
    assert removed.files == 0
    assert not list(world.out(node).rglob("*.part"))
    assert mine.exists()
    assert rows(node) == []
    assert await asked(node, FetchesRequest()) == []
    await asked(node, request)
    assert (await asked(node, RemoveRequest(id=begun.id))).part_files == 0
    assert (world.out(node) / "data" / "a.bin").exists()


async def test_finished_files_are_deleted_if_they_are_what_was_fetched(
    world: World, node: Node, published: Published
) -> None:
    await asked(node, get(world, node, published))
    top = world.out(node) / "data"
    (top / "sub" / "b.bin").write_text("mine now..")
    removed = await asked(node, RemoveRequest(id=row(node).id, delete_files=True))
    assert (removed.files, removed.changed) == (1, 1)
    assert [path.name for path in top.rglob("*") if path.is_file()] == ["b.bin"]
    with pytest.raises(NotFound):
        await asked(node, UnshareRequest(id=to_text(published.link.share_id)))
    assert node.library.shares() == []


async def test_files_that_are_no_longer_known_are_not_said_to_be_deleted(world: World, published: Published) -> None:
    passing = await world.peer("passing")
    await asked(passing, get(world, passing, published), keep_serving=False)
    await world.stop("passing")
    passing = await world.peer("passing")
    with pytest.raises(ConfigError, match="Delete them yourself"):
        await asked(passing, RemoveRequest(id=row(passing).id, delete_files=True))
    assert same_tree(published.path, world.out(passing) / "data")
    assert (await asked(passing, RemoveRequest(id=row(passing).id))).files == 0
    assert rows(passing) == []


async def test_a_command_that_makes_no_sense_leaves_no_fetch(world: World, node: Node, published: Published) -> None:
    (world.out(node) / "data").mkdir(parents=True)
    with pytest.raises(TargetExists):
        await asked(node, get(world, node, published))
    with pytest.raises(ConfigError):
        await asked(node, get(world, node, published, select=("nothing",)))
    assert rows(node) == []


async def test_a_failure_in_the_background_is_told_and_can_be_tried_again(
    world: World, node: Node, published: Published
) -> None:
    top = world.out(node) / "data"
    top.mkdir(parents=True)
    begun = await asked(node, BackgroundRequest(request=get(world, node, published)))
    await until(lambda: row(node).state == "failed")
    assert str(top) in str(row(node).ending)
    for _ in range(2):
        with pytest.raises(TargetExists):
            await asked(node, FollowRequest(id=begun.id))
        await world.stop("node")
        node = await world.peer("node", stays=True)
    top.rmdir()
    await asked(node, GoOnRequest(id=begun.id))
    assert same_tree(published.path, top)


async def test_only_so_many_run_in_the_background_and_the_others_in_turn(
    world: World, origin: Node, node: Node, shorten: Shorten
) -> None:
    shorten(user_fetches, "MAX_AT_ONCE", 1)
    shares = [await world.publish(origin, {"a.bin": MIB}, f"data-{number}", number) for number in range(3)]
    begun = []
    for number, one in enumerate(shares):
        request = structs.replace(get(world, node, one), out=str(world.out(node) / f"{number}"))
        begun.append(await asked(node, BackgroundRequest(request=request)))
    assert (await asked(node, PauseRequest(id=begun[1].id))).state == "paused"
    assert (await asked(node, GoOnRequest(id=begun[1].id, background=True))).errand.state == "waiting"
    running = []
    while any(one.state in UNDER_WAY for one in rows(node)):
        running.append([one.id for one in rows(node) if one.state == "running"])
        await trio.sleep(0.01)
    assert max(map(len, running)) == 1
    turns = list(dict.fromkeys(one for several in running for one in several))
    assert turns == [begun[0].id, begun[2].id, begun[1].id]


async def test_commands_that_come_while_a_fetch_is_being_paused_share_one(
    world: World, node: Node, published: Published
) -> None:
    request = get(world, node, published)
    begun = await asked(node, BackgroundRequest(request=request))
    await until_some_is_here(node)
    (one,) = node.fetches.matching(begun.id)
    answers: list[GetAnswer] = []

    async def again() -> None:
        answers.append(await asked(node, request))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.fetches.pause, one)
        while one.kept.state != "paused":
            await trio.lowlevel.checkpoint()
        assert not one.ended.is_set()
        nursery.start_soon(again)
        nursery.start_soon(again)
    assert answers == [answers[0]] * 2
    assert row(node).state == "done"


async def test_nothing_is_fetched_to_where_a_fetch_is_being_removed(
    world: World, origin: Node, node: Node, published: Published
) -> None:
    request = get(world, node, published)
    await asked(node, request)
    await origin.discovery.mutable_links.point("news", published.link.share_id)
    other = structs.replace(request, link=origin.discovery.links.mutable_maker()("news"))
    refused: list[str] = []

    async def refuse(ask: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(ConfigError, match="is being removed") as error:
            await ask()
        refused.append(str(error.value))

    fetches = node.fetches
    (one,) = fetches.matching(row(node).id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(fetches.remove, one, finished=True))
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        nursery.start_soon(refuse, partial(fetches.get, request, ignored, keep_serving=True))
        nursery.start_soon(refuse, partial(fetches.resume, one, (), ignored, keep_serving=True))
        nursery.start_soon(refuse, partial(fetches.remove, one, finished=False))
    assert len(refused) == 3
    assert rows(node) == []
    assert not (world.out(node) / "data").exists()
    async with command(node, other):
        await until_some_is_here(node)
    await until(lambda: row(node).state == "paused" and not node.swarms.fetches)
    async with command(node, request):
        await until(lambda: any(one.link == request.link and one.done for one in rows(node)))
        (paused,) = (one.id for one in rows(node) if one.link == other.link)
        with pytest.raises(ConfigError, match="gets the same files"):
            await asked(node, RemoveRequest(id=paused))


async def test_commands_that_are_interrupted_at_once_leave_nothing_running(
    world: World, node: Node, published: Published
) -> None:
    request = get(world, node, published)
    for _ in range(2):  # begun, and gone on with
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.fetches.get(request, ignored, keep_serving=True)
        await until(lambda: row(node).state == "paused" and not node.swarms.fetches)
    await asked(node, GoOnRequest(id=row(node).id, background=True))
    await until_some_is_here(node)
    with trio.CancelScope() as scope:
        scope.cancel()
        await node.fetches.pause(node.fetches.matching(row(node).id)[0])
    assert row(node).state == "paused"
    assert not node.swarms.fetches


async def ignored(event: Any) -> None:
    pass


async def test_an_id_that_is_none_is_told(world: World, node: Node) -> None:
    for request in (FollowRequest, PauseRequest, GoOnRequest, RemoveRequest):
        with pytest.raises(ConfigError, match="No fetch"):
            await asked(node, request(id="abc"))


async def test_a_full_list_refuses_more(
    world: World, node: Node, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2p.store import kept_fetches

    monkeypatch.setattr(kept_fetches, "MAX_OPEN", 0)
    for request in (get(world, node, published), BackgroundRequest(request=get(world, node, published))):
        with pytest.raises(StorageError, match="shoal remove"):
            await asked(node, request)
    assert rows(node) == []
    await until(lambda: not node.swarms.fetches)


async def test_a_mutable_link_is_known_by_its_share_once_that_is_found(
    world: World, node: Node, origin: Node, published: Published
) -> None:
    await origin.discovery.mutable_links.point("news", published.link.share_id)
    link = origin.discovery.links.mutable_maker()("news")
    request = GetRequest(link=link, out=str(world.out(node)), peers=(str(published.hint),))
    async with command(node, request):
        await until_some_is_here(node)
    await until(lambda: row(node).state == "paused")
    removed = await asked(node, RemoveRequest(id=row(node).id))
    assert removed.part_files >= 1
    assert not list(world.out(node).rglob("*.part"))
