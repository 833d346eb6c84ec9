"""Files of results: which of a folder's they are, and that a folder takes one result."""

from pathlib import Path

import pytest

from p2p.compute.owner import saved_files
from p2p.errors import ConfigError


def test_files_of_a_result_are_told_from_others(tmp_path: Path) -> None:
    mine = [tmp_path / "part-00000", tmp_path / "part-00001", tmp_path / "part-100000"]
    for name in ("part-notes.txt", "read me", "deep/part-00000", "action-films/part-00000"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    saved_files.check_out(tmp_path)
    assert saved_files.files_in(tmp_path) == []
    for path in mine:
        path.write_bytes(b"")
    assert saved_files.files_in(tmp_path) == mine
    with pytest.raises(ConfigError, match="an earlier result"):
        saved_files.check_out(tmp_path)


def test_results_of_several_actions_are_in_folders(tmp_path: Path) -> None:
    paths = [
        tmp_path / saved_files.name_of(action) / saved_files.part_of(number) for action in (0, 12) for number in (0, 1)
    ]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert saved_files.files_in(tmp_path) == paths
    assert saved_files.folder_of(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="an earlier result"):
        saved_files.check_out(tmp_path)
