"""Environments are packed once by a running peer, and shared with nobody unless it says with whom."""

import shutil
from pathlib import Path

import pytest

from p2p.control.answers import PackAnswer
from p2p.control.protocol import PackRequest
from p2p.environments.packs import Need, Packs
from p2p.errors import ConfigError
from p2p.ids import ShareId, from_text
from p2p.node import Node
from p2p.progress import Progress
from tests.environments.conftest import Made
from tests.support.world import World, asked


@pytest.fixture
async def owner(world: World) -> Node:
    return await world.peer("owner")


async def packed(owner: Node, made: Made) -> PackAnswer:
    answer = await asked(owner, PackRequest(source=str(made.venv)), keep_serving=False)
    assert isinstance(answer, PackAnswer)
    return answer


async def test_it_is_packed_once_and_restricted(world: World, owner: Node, made: Made) -> None:
    first = await packed(owner, made)
    share = ShareId(from_text(first.id))
    assert first.packed
    assert (first.python, first.files) == (str(made.venv / "bin" / "python3"), made.packed.files)
    assert any(one.path.endswith("some.pem") for one in first.left_out)
    assert owner.readers.is_restricted(share)
    row = owner.library.share(share)
    assert row is not None
    assert (row.unlisted, row.lasts) == (True, True)
    again = await packed(owner, made)
    assert (again.packed, again.id, again.folder) == (False, first.id, first.folder)

    # What a kill interrupts is packed again.
    (Path(first.folder).parent / "packed.json").unlink()
    shutil.rmtree(Path(first.folder) / "trees")
    third = await packed(owner, made)
    assert (third.packed, third.id) == (True, first.id)
    assert (Path(third.folder) / "trees").exists()


async def test_an_environment_without_what_is_needed_is_not_packed(owner: Node, made: Made) -> None:
    packs, progress = Packs(owner.home / "environments" / "needs", owner.sharing, owner.disk), Progress()
    with pytest.raises(ConfigError, match=r"has no dask\..*pip install \"dask\[complete\]\""):
        await packs.pack(made.venv, None, [], [], progress, Need("dask", "dask[complete]"))
    assert progress.state == "looking for the environment's files"
    assert (await packs.pack(made.venv, None, [], [], progress, Need("thing", "thing"))).fresh


async def test_those_not_used_for_longest_make_room(owner: Node, made: Made) -> None:
    packs = Packs(owner.home / "environments" / "few", owner.sharing, owner.disk, most_bytes=0)
    module = made.site / "thing" / "more.py"
    try:
        first = await packs.pack(made.venv, None, [], [], Progress())
        module.write_text("NUMBER = 1\n")
        with packs.using(first.shared.share_id):
            second = await packs.pack(made.venv, None, [], [], Progress())
            assert first.folder.exists()
        await packs.trim(second.folder.parent)
        assert (first.folder.exists(), second.folder.exists()) == (False, True)
        assert [Path(row.paths[0]) for row in owner.library.shares()] == [second.folder]
    finally:
        module.unlink(missing_ok=True)


async def test_what_is_no_environment_is_told(owner: Node, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Python environment"):
        await asked(owner, PackRequest(source=str(tmp_path)))
