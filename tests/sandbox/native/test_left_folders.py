"""Folders of members are removed, whatever programs left in them. Only a peer that is not root can fail here."""

from pathlib import Path

from p2p.cluster.member import own_folder
from p2p.store.disk import Disk


async def test_a_folder_that_its_program_has_closed_is_removed(tmp_path: Path) -> None:
    async with own_folder(Disk(), tmp_path / "m0") as folder:
        (folder / "home/closed/below").mkdir(parents=True)
        (folder / "home/closed").chmod(0)
    assert not folder.exists()
