"""What a user names as an input: links of every form as they are, paths made absolute, and what can be neither."""

import os
from pathlib import Path

import pytest

from p2p import ids
from p2p.compute.inputs import named_input
from p2p.errors import ConfigError

ID = ids.to_text(bytes(range(32)))


def test_links_stay_as_they_are() -> None:
    for link in (ID, f"shoal:{ID}/news", f"shoal://{ID}/", f"shoal://news@{ID}/", f"magnet:?xt=urn:shoal:{ID}"):
        assert named_input(link) == link


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for path in ("file", "link", ".", "missing"):
        assert named_input(path) == str(tmp_path / path)


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/null"):
        with pytest.raises(ConfigError, match="neither a file nor a folder"):
            named_input(path)
    with pytest.raises(ConfigError, match="empty"):
        named_input("")
