"""E: users without a home folder, terminals and files that cannot take what is said, and root beside a service user."""

import os
import socket
import sys
import tomllib
from pathlib import Path

import pytest

from p2p.control import client
from p2p.control.path import socket_path
from tests.support.processes import SHOAL, Peer

HOMELESS = """
import os, pwd, sys

def unknown(user):
    raise KeyError(user)

pwd.getpwuid = unknown
for name in [name for name in os.environ if name == "HOME" or name.startswith("XDG_")]:
    del os.environ[name]
from p2p.commandline.app import main
main()
"""


def test_a_user_without_a_home_folder_needs_only_home(tmp_path: Path) -> None:
    homeless = Peer(tmp_path / "home", command=(sys.executable, "-c", HOMELESS))
    assert homeless.run("shares", "--json").json() == []
    nameless = Peer(
        tmp_path / "home", command=(sys.executable, "-c", HOMELESS.replace("main()", "sys.argv[1:3] = []; main()"))
    )
    assert "--home" in nameless.run("shares", code=2).err


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "名前.txt"
    file.write_text("x")
    peer = Peer(tmp_path / "home", environment={"PYTHONIOENCODING": "iso-8859-1"})
    with peer.node():
        peer.run("share", file)
        assert "\\u540d\\u524d.txt" in peer.run("shares").out
        assert peer.run("shares", "--json").json()[0]["name"] == "名前.txt"


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">/dev/full", 1, "shoal: Cannot write the answer: No space left on device."),
        ("2>/dev/full", 0, ""),  # progress and logs are lost, and end nothing
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed_are_no_error_of_ours(
    tmp_path: Path, streams: str, code: int, said: str
) -> None:
    """A full disk behind `>`, and starters that close all streams: what was opened next got the number of stderr."""
    peer = Peer(tmp_path / "home", command=("/bin/sh", "-c", f'exec "$0" "$@" {streams}', *SHOAL))
    assert peer.run("shares", *(["--json"] if code else []), code=code).err.startswith(said)


def test_ctrl_c_while_a_command_is_still_loading_ends_it_without_a_word(tmp_path: Path) -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, function = settings["project"]["scripts"]["shoal"].partition(":")
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    peer = Peer(
        tmp_path / "home",
        command=(sys.executable, "-c", f"from {module} import {function}; {function}()"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    outcome = peer.run("shares", code=130)
    assert (outcome.out, outcome.err) == ("", "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root has other users' peers to use")
async def test_root_may_use_the_peer_of_a_service_user(tmp_path: Path) -> None:
    """The kernel tells whoever connects the user that began to listen."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(tmp_path)))
        os.seteuid(65534)
        try:
            listener.listen()
        finally:
            os.seteuid(0)
        assert await client.is_running(tmp_path)
