"""What another peer says of its environment is believed only as far as it can do no harm."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2p.environments import description, machine
from p2p.environments.binding import bound
from p2p.environments.description import Description, TreeBind
from p2p.errors import ConfigError

FINE = Description(
    python="/opt/venv/bin/python3",
    binds=(TreeBind("trees/0", "/opt/venv"),),
    root="root",
    variables={"PATH": "/opt/venv/bin:/usr/bin"},
    arch=machine.arch(),
    cpu="",
    packages=(),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("trees/0/bin", "root/usr/bin", "trees/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "trees" / "link").symlink_to("/etc")
    return tmp_path


def told(folder: Path, **changed: Any) -> Path:
    (folder / description.FILE).write_bytes(description.encode(msgspec.structs.replace(FINE, **changed)))
    return folder


def test_a_good_one_is_bound(folder: Path) -> None:
    seen = bound(told(folder))
    assert seen.binds == ((folder / "trees/0", "/opt/venv"),)
    assert (seen.root, seen.python, seen.variables) == (folder / "root", FINE.python, FINE.variables)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"arch": "pdp11"},
        {"cpu": "x86-64-v9"},
        {"python": "/bin/sh"},
        {"python": "/opt/venv/../../bin/python3"},
        {"python": "opt/venv/bin/python3"},
        {"root": ".."},
        {"root": "/"},
        {"root": "trees/1"},
        {"root": ""},
        {"variables": {"A=B": "x"}},
        {"variables": {"A": "x\0y"}},
        {"binds": (TreeBind("../0", "/opt/venv"),)},
        {"binds": (TreeBind("trees/gone", "/opt/venv"),)},
        {"binds": (TreeBind("trees/link", "/opt/venv"),)},
        {"binds": (TreeBind("trees/link/ssl", "/opt/venv"),)},
        {"binds": (TreeBind("/etc", "/opt/venv"),)},
        {"binds": (TreeBind("trees/0", "/opt/venv"), TreeBind("trees/1", "/opt/venv/lib"))},
        {"binds": (TreeBind("trees/0", "/opt/venv"), TreeBind("trees/1", "/proc/self"))},
    ],
)
def test_others_are_refused(folder: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        bound(told(folder, **changed))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"version": 1}', b'{"version": "1"}']
)
def test_so_is_what_is_no_description(folder: Path, content: bytes) -> None:
    (folder / description.FILE).write_bytes(content)
    with pytest.raises(ConfigError):
        bound(folder)


def test_and_one_that_is_too_large(folder: Path) -> None:
    with open(told(folder) / description.FILE, "ab") as file:
        file.write(b" " * description.MAX_BYTES)
    with pytest.raises(ConfigError, match="not the description"):
        bound(folder)
