"""Shares that others got wrong without a word."""

from pathlib import Path

import pytest

from p2p.control.protocol import Event, Note, ShareRequest
from p2p.errors import NotFound
from p2p.ids import ShareId
from p2p.node import Node
from p2p.wire.link import parse_link
from tests.support.processes import Peer
from tests.support.world import World, asked, bare, hint_of
from tests.support.world_jobs import run_job, volunteer, write_job


async def in_the_foreground(node: Node, path: Path) -> tuple[ShareId, list[str]]:
    """Shares as a command does that has no running peer to ask. Returns the id, and what the user is told."""
    notes: list[str] = []

    async def emit(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    answer = await node.operations.perform(ShareRequest(paths=(str(path),)), emit, keep_serving=False)
    return parse_link(answer.link).share_id, notes


async def test_a_share_of_the_foreground_ends_with_it(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    file = world.folder / "for a while"
    file.write_bytes(b"x" * 100_000)
    share, notes = await in_the_foreground(origin, file)
    assert notes == []
    assert [row.name for row in origin.library.shares()] == ["for a while"]
    await world.stop("origin")
    origin = await world.peer("origin")
    assert origin.library.shares() == []
    link = parse_link(origin.discovery.links.to(share, "", 0))
    with pytest.raises(NotFound):
        await world.get(reader, bare(link), [hint_of(origin)], wait_s=0.5)
    assert reader.library.root(share) is None  # nor is it told what was in it

    # Its hashes are kept: sharing it again reads nothing.
    again = await asked(origin, ShareRequest(paths=(str(file),)))
    assert again.reused == 100_000
    await world.get(reader, bare(link), [hint_of(origin)])


async def test_a_share_that_lasted_before_still_does(world: World) -> None:
    origin = await world.peer("origin")
    file = world.folder / "kept"
    file.write_bytes(b"x")
    await asked(origin, ShareRequest(paths=(str(file),)))
    _, notes = await in_the_foreground(origin, file)
    assert "until `shoal unshare`" in notes[0]
    await world.stop("origin")
    origin = await world.peer("origin")
    assert [row.name for row in origin.library.shares()] == ["kept"]


def test_sharing_says_who_can_find_it_and_what_is_missing(tmp_path: Path) -> None:
    """Source: syncthing#1503."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    (folder / "link").symlink_to("file")
    with Peer(tmp_path / "origin").start("share", folder, "--json") as sharing:
        sharing.says("until Ctrl-C")
        outcome = sharing.end()
    assert outcome.code == 4
    assert "Listed: anyone can find it" in outcome.err
    assert outcome.json()["skipped"] == [{"path": str(folder / "link"), "why": "it is a symbolic link"}]


async def test_a_job_that_reads_a_share_of_the_foreground_does_not_make_it_last(world: World, compiled: None) -> None:
    origin, working = await world.peer("origin"), await volunteer(world)
    file = world.folder / "lines"
    file.write_text("one\ntwo\n")
    await in_the_foreground(origin, file)
    job = write_job(world, "def job(inputs):\n    return inputs.lines().count()\n")
    assert (await run_job(origin, job, [hint_of(working)], inputs=(str(file),))).result == 2
    await world.stop("origin")
    origin = await world.peer("origin")
    assert origin.library.shares() == []
