"""A member fetches an environment from its owner, keeps it, and finds whatever was done to it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2p.environments import description, machine
from p2p.environments import environments as environments_module
from p2p.environments.description import Description, TreeBind
from p2p.errors import ConfigError, NotFound
from p2p.ids import ShareId
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.share import Shared
from p2p.wire.link import PeerHint
from tests.support.constants import Shorten
from tests.support.world import World, hint_of

PATIENCE_S = 60
LINKS = {"trees/0/lib64": "lib", "trees/0/bin/python": "python3"}


@pytest.fixture
async def owner(world: World) -> Node:
    return await world.peer("owner")


@pytest.fixture
async def member(world: World) -> Node:
    return await world.peer("member")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """What a pack looks like."""
    folder = tmp_path / "packed"
    for name, content in {
        "trees/0/bin/python3": "#!/bin/sh\n",
        "trees/0/lib/thing/token.py": "VALUE = 41 + 1\n",
        "trees/0/lib/thing/__init__.py": "",
        "trees/0/lib/thing/.env": "names of such files stay\n",
        "root/usr/bin/sh": "#!/bin/sh\n" * 1000,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "trees/0/bin/python3").chmod(0o700)
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    binds = (TreeBind("trees/0", "/opt/venv"),)
    told = Description("/opt/venv/bin/python3", binds, "root", {"PATH": "/usr/bin"}, machine.arch(), "", ())
    (folder / description.FILE).write_bytes(description.encode(told))
    return folder


@pytest.fixture
async def shared(owner: Node, packed: Path) -> Shared:
    """The packed environment, as one that all may read who ask."""
    owner.readers.allows = lambda share, peer: True
    return await owner.sharing.share([packed], "an environment", Progress(), unlisted=True, restricted=True, links=True)


async def fetched(member: Node, share: ShareId, owner: PeerHint) -> tuple[Path, int]:
    """Where the environment is, and how much came over the network for that."""
    before = member.traffic.bytes_downloaded
    with trio.fail_after(PATIENCE_S):
        async with member.environments().fetched(share, owner, Progress()) as bound:
            return bound.root.parent, member.traffic.bytes_downloaded - before


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def links(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): os.readlink(one) for one in folder.rglob("*") if one.is_symlink()}


def damage_content(top: Path) -> None:
    module = next(top.rglob("thing/token.py"))
    module.chmod(0o600)
    status = module.stat()
    module.write_bytes(module.read_bytes().replace(b"41", b"40"))
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))


def remove_file(top: Path) -> None:
    module = next(top.rglob("thing/token.py"))
    module.parent.chmod(0o700)
    module.unlink()


def put_link(top: Path) -> None:
    module = next(top.rglob("thing/token.py"))
    module.parent.chmod(0o700)
    module.unlink()
    module.symlink_to("/etc/passwd")


async def test_it_is_fetched_once_and_nobody_may_write_to_it(
    owner: Node, member: Node, shared: Shared, packed: Path
) -> None:
    top, came = await fetched(member, shared.share_id, hint_of(owner))
    assert came > 0
    assert files(top) == files(packed)
    assert links(top) == LINKS
    modes = {path.lstat().st_mode & 0o777 for path in map(top.joinpath, files(top)) if not path.is_symlink()}
    assert modes == ({0o444, 0o555} if os.geteuid() == 0 else {0o400, 0o500})
    assert member.readers.is_restricted(shared.share_id)
    assert await fetched(member, shared.share_id, hint_of(owner)) == (top, 0)


@pytest.mark.parametrize("damage", [damage_content, remove_file, put_link])
async def test_what_is_not_as_it_was_sent_is_fetched_again(
    owner: Node, member: Node, shared: Shared, packed: Path, damage: Callable[[Path], None]
) -> None:
    top, _ = await fetched(member, shared.share_id, hint_of(owner))
    damage(top)
    again, came = await fetched(member, shared.share_id, hint_of(owner))
    assert (again, came > 0) == (top, True)
    assert files(top) == files(packed)
    assert links(top) == LINKS


async def test_what_was_put_there_is_removed_and_what_was_touched_is_read(
    owner: Node, member: Node, shared: Shared, packed: Path
) -> None:
    top, _ = await fetched(member, shared.share_id, hint_of(owner))
    for folder in (top, next(top.rglob("thing"))):
        folder.chmod(0o700)
        (folder / "sitecustomize.py").write_text("evil\n")
        (folder / "more").mkdir()
        (folder / "more" / "evil.so").touch()
        (folder / "link").symlink_to("/")
    os.utime(next(top.rglob("thing/token.py")))
    for where, name in (("trees/0", "lib64"), ("trees/0/bin", "python")):
        (top / where).chmod(0o700)
        (top / where / name).unlink()
    (top / "trees/0/lib64").symlink_to("/etc")
    assert await fetched(member, shared.share_id, hint_of(owner)) == (top, 0)
    assert files(top) == files(packed)
    assert links(top) == LINKS
    assert {path.name for path in top.iterdir()} == {"environment.json", "root", "trees"}


async def test_members_give_it_to_each_other_and_to_nobody_else(
    world: World, owner: Node, member: Node, shared: Shared, shorten: Shorten
) -> None:
    await fetched(member, shared.share_id, hint_of(owner))
    await world.stop("owner")
    other = await world.peer("other")
    environments = other.environments()
    shorten(environments_module, "PATIENCE_S", 1.0)
    with pytest.raises(NotFound), trio.fail_after(PATIENCE_S):
        async with environments.fetched(shared.share_id, hint_of(member), Progress()):
            pass
    member.readers.allows = lambda share, peer: peer == other.peer_id
    _, came = await fetched(other, shared.share_id, hint_of(member))
    assert came > 0


async def test_a_share_of_the_user_stays_readable_whatever_an_owner_names(
    owner: Node, member: Node, tmp_path: Path, shorten: Shorten
) -> None:
    (tmp_path / "holiday.txt").write_text("for all to see")
    own = await member.sharing.share([tmp_path / "holiday.txt"], "holiday", Progress(), unlisted=False)
    with pytest.raises(ConfigError, match="anybody may read"):
        await fetched(member, own.share_id, hint_of(owner))
    assert not member.readers.is_restricted(own.share_id)
    environments = member.environments()
    shorten(environments_module, "PATIENCE_S", 0.5)
    unknown = ShareId(bytes(32))
    with pytest.raises(NotFound), trio.fail_after(PATIENCE_S):
        async with environments.fetched(unknown, hint_of(owner), Progress()):
            pass
    assert not member.readers.is_restricted(unknown)


async def test_those_not_in_use_make_room(
    owner: Node, member: Node, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = member.environments()
    async with environments.fetched(shared.share_id, hint_of(owner), Progress()) as bound:
        top = bound.root.parent
        monkeypatch.setattr(environments, "most_bytes", 0)
        await environments.trim()
        assert top.exists()
    await environments.trim()
    assert not top.exists()
    assert member.library.share(shared.share_id) is None
