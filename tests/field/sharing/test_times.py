"""Modification times that are kept where the sharer wants that. Sources: croc#423, #760."""

import os
from pathlib import Path

import pytest

from p2p.compute.owner import setup
from p2p.compute.owner.made_shares import MadeShares
from p2p.control.protocol import ShareRequest
from p2p.ids import ShareId
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire.link import parse_link
from tests.support.world import World, asked, bare, hint_of

FILES = {"big": b"b" * 700_000, "empty": b"", "deep/small": b"s"}
TIME = 1_000_000_000_123_456_789


@pytest.fixture
def album(world: World) -> Path:
    """A folder with old files and an old empty folder."""
    top = world.folder / "album"
    (top / "nothing").mkdir(parents=True)
    for number, (name, content) in enumerate(FILES.items()):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_bytes(content)
        os.utime(top / name, ns=(TIME + number, TIME + number))
    os.utime(top / "nothing", ns=(TIME - 1, TIME - 1))
    return top


def times_of(top: Path) -> list[int]:
    return [os.stat(top / name).st_mtime_ns for name in (*FILES, "nothing")]


async def shared(node: Node, path: Path, times: bool | None = None) -> tuple[ShareId, int]:
    """Shares as the user does. Returns the id, and the version of the manifest."""
    answer = await asked(node, ShareRequest(paths=(str(path),), times=times))
    share = parse_link(answer.link).share_id
    return share, node.library.manifest(share).root.version


async def test_times_arrive_and_what_was_fetched_is_served_unchanged(world: World, album: Path) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    share, version = await shared(origin, album, times=True)
    assert version == 2
    link = bare(parse_link(origin.discovery.links.to(share, "", 0)))
    await world.get(reader, link, [hint_of(origin)], keep_serving=True)
    assert times_of(world.out(reader) / "album") == times_of(album)

    await world.stop("origin")
    third = await world.peer("third")
    await world.get(third, link, [hint_of(reader)])
    assert times_of(world.out(third) / "album") == times_of(album)
    # What was fetched has its stamps, so it is not read again, and can be shared on as it is.
    (row,) = reader.library.shares()
    assert row.stale is None
    again = await asked(reader, ShareRequest(paths=(str(world.out(reader) / "album"),), times=True))
    assert parse_link(again.link).share_id == share


async def test_an_unchanged_folder_that_is_shared_again_keeps_its_id(world: World, album: Path) -> None:
    origin, keeper = await world.peer("origin"), await world.peer("keeper", sharing={"times": True})
    plain = await shared(origin, album)
    assert plain[1] == 1
    with_times = await shared(origin, album, times=True)
    assert with_times[1] == 2
    assert await shared(origin, album) == with_times
    assert await shared(origin, album, times=False) == plain
    assert await shared(origin, album) == plain

    assert await shared(keeper, album) == with_times
    assert await shared(keeper, album, times=False) == plain
    assert await shared(keeper, album) == plain


async def test_whatever_is_configured_jobs_share_without_times(world: World, album: Path) -> None:
    """Volunteers of earlier versions could not read their bundles and inputs."""
    keeper = await world.peer("keeper", sharing={"times": True})

    async def version_of_input() -> int:
        made = await setup._input(keeper.jobs._deps, bytes(32), str(album), None, MadeShares(), Progress())
        return keeper.library.manifest(made.share).root.version

    assert await version_of_input() == 1
    bundle = await keeper.sharing.share([album / "deep"], "bundle", Progress(), unlisted=True)
    assert keeper.library.manifest(bundle.share_id).root.version == 1

    # What the user shares with times stays as it is, but once it has ended it no longer counts.
    share, _ = await shared(keeper, album, times=True)
    assert await version_of_input() == 2
    assert keeper.library.share(share) is not None
    await keeper.sharing.unshare(share)
    await asked(keeper, ShareRequest(paths=(str(album),), times=True), keep_serving=False)
    await world.stop("keeper")
    keeper = await world.peer("keeper", sharing={"times": True})
    assert keeper.library.find_by_paths([album]) == share
    assert await version_of_input() == 1
