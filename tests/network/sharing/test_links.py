"""Symbolic links of a share: who asks to keep them shares them, and whoever fetches them has them last."""

import os
from pathlib import Path

import pytest

from p2p.errors import NotFound, TargetExists
from p2p.ids import to_text
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.fetching.leftovers import Leftovers
from p2p.sharing.share import Shared
from p2p.wire import messages
from p2p.wire.link import Link
from tests.network.gateway.asking import http_client
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK, World, hint_of, using

KEPT = {"current": "data", "data/again.txt": "../data/./one.txt", "sub/deep": "../current/one.txt", ".git": "data"}
SKIPPED = {"out": "../..", "absolute": "/etc/passwd", "gone": "nothing", "circle": "circle", "chain": "out"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "linked"
    (top / "data").mkdir(parents=True)
    (top / "sub").mkdir()
    (top / "data" / "one.txt").write_text("one")
    (top / "empty").mkdir()
    for name, target in {**KEPT, **SKIPPED}.items():
        (top / name).symlink_to(target)
    return top


@pytest.fixture
async def owner(world: World) -> Node:
    return await world.peer("owner")


async def shared(owner: Node, folder: Path, links: bool | None = True) -> Shared:
    return await owner.sharing.share([folder], None, Progress(), unlisted=False, links=links)


def links_of(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): os.readlink(path) for path in top.rglob("*") if path.is_symlink()}


async def test_links_arrive_and_the_others_are_skipped(world: World, owner: Node, folder: Path) -> None:
    done = await shared(owner, folder)
    assert {Path(path).name for path, _ in done.skipped} == set(SKIPPED)
    getter = await world.peer("getter")
    await world.get(getter, Link(done.share_id), [hint_of(owner)], keep_serving=True, trust_names=True)
    top = world.out(getter) / "linked"
    assert links_of(top) == {**KEPT, "data/again.txt": "../data/one.txt"}
    assert (top / "sub" / "deep").read_text() == "one"
    again = await getter.sharing.share([top], None, Progress(), unlisted=False, links=True)
    assert again.share_id == done.share_id
    await world.get(getter, Link(done.share_id), [hint_of(owner)], trust_names=True)  # they are there already


async def test_links_are_kept_only_for_those_who_ask(owner: Node, folder: Path) -> None:
    without = await shared(owner, folder, links=None)
    assert len(without.skipped) == len(KEPT) + len(SKIPPED)
    linked = await shared(owner, folder)
    assert linked.share_id != without.share_id
    assert (await shared(owner, folder, links=None)).share_id == linked.share_id
    assert (await shared(owner, folder, links=False)).share_id == without.share_id


async def test_a_name_that_runs_is_no_link_unless_trusted(world: World, owner: Node, folder: Path) -> None:
    done = await shared(owner, folder)
    getter, progress = await world.peer("getter"), Progress()
    await world.get(getter, Link(done.share_id), [hint_of(owner)], progress=progress)
    assert ".git" not in links_of(world.out(getter) / "linked")
    assert any("not made" in note for note in progress.notes)


async def test_nothing_in_the_way_is_replaced(world: World, owner: Node, folder: Path) -> None:
    done = await shared(owner, folder)
    getter = await world.peer("getter")
    top = world.out(getter) / "linked"
    top.mkdir(parents=True)
    (top / "current").symlink_to("/etc")
    with pytest.raises(TargetExists, match="current"):
        await world.get(getter, Link(done.share_id), [hint_of(owner)], into_existing=True)
    assert os.readlink(top / "current") == "/etc"


async def test_only_links_to_what_is_there_are_made(world: World, owner: Node, folder: Path) -> None:
    (folder / "other.txt").write_text("other")
    (folder / "to-other").symlink_to("other.txt")
    done = await shared(owner, folder)
    getter = await world.peer("getter")
    await world.get(getter, Link(done.share_id), [hint_of(owner)], select=("other.txt",))
    assert links_of(world.out(getter) / "linked") == {"to-other": "other.txt"}


async def test_they_are_removed_with_the_files(world: World, owner: Node, folder: Path) -> None:
    done = await shared(owner, folder)
    getter = await world.peer("getter")
    await world.get(getter, Link(done.share_id), [hint_of(owner)], keep_serving=True)
    top = world.out(getter) / "linked"
    await Leftovers(getter.library, getter.records, getter.sharing, getter.disk).remove(
        done.share_id, world.out(getter), finished=True
    )
    assert not top.exists()


async def test_readers_never_meet_one(owner: Node, folder: Path) -> None:
    done = await shared(owner, folder)
    async with using(owner, done.share_id) as held:
        assert await held.read("data/one.txt", 0, 3) == b"one"
        with pytest.raises(NotFound):
            await held.read("current/one.txt", 0, 3)
    async with http_client(owner) as client:
        for path, code in (("data/one.txt", 200), ("current/one.txt", 404), ("sub/deep", 404)):
            assert (await client.get(f"/s/{to_text(done.share_id)}/{path}")).status_code == code


async def test_an_earlier_version_is_told_to_update(
    owner: Node, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await shared(owner, folder)
    dialer = make_dialer(tmp_path / "earlier", NETWORK)
    monkeypatch.setattr(dialer, "hello", lambda stream: messages.Hello(software="shoal 0", port=0))
    connection = await dialer.dial(owner.addresses[0], owner.peer_id)
    await connection.send(messages.GetRoot(share=done.share_id))
    answer = await connection.receive()
    assert isinstance(answer, messages.Failed)
    assert "update Shoal" in answer.reason
    connection.close()
