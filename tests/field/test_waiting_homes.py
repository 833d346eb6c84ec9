"""B6: commands at the same time, in a home where no peer runs, wait for each other."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.control import client
from p2p.control.client import NotTaken
from p2p.control.path import socket_path
from p2p.control.protocol import Event, SharesRequest
from p2p.errors import PeerGone
from p2p.ids import to_text
from tests.support.fleet import LONELY
from tests.support.processes import Peer, make_file, until


async def nothing(event: Event) -> None:
    raise AssertionError(event)


def test_commands_at_once_in_a_home_without_a_node_all_work(tmp_path: Path) -> None:
    """ipfs/kubo#7843, #11330: the later ones ended with "Another peer is running"."""
    peer = Peer(tmp_path / "home")
    file = make_file(tmp_path / "file", 1000)
    with ExitStack() as stack:
        sharing = stack.enter_context(peer.start("share", file))
        others = [stack.enter_context(peer.start("shares", "--json")) for _ in range(2)]
        assert sharing.line()
        for other in others:
            outcome = other.wait()
            assert (outcome.code, outcome.err) == (0, "")
            assert isinstance(outcome.json(), list)
        sharing.end()


def test_a_command_that_fails_leaves_its_peer_to_the_others(tmp_path: Path) -> None:
    peer = Peer(tmp_path / "home")
    one, other = ("get", to_text(bytes(32))), ("get", to_text(bytes([1]) * 32))
    with peer.start(*one, *LONELY, "--wait", "1500ms") as first:
        until(lambda: socket_path(peer.home).exists(), "its peer")
        with peer.start(*other, "--wait", "3s") as second:
            assert first.wait().code == 3
            outcome = second.wait()
    assert outcome.code == 3, outcome.err
    assert "Nobody had it for 3 s" in outcome.err


async def test_a_request_that_was_never_read_can_be_made_again(tmp_path: Path) -> None:
    """The foreground peer of another command ends just after this command has connected."""
    path = socket_path(tmp_path)
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(NotTaken):
                    await client.ask(tmp_path, SharesRequest(), nothing)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
    with pytest.raises(NotTaken):
        await client.ask(tmp_path, SharesRequest(), nothing)


async def test_a_request_that_was_read_is_not_made_twice(tmp_path: Path) -> None:
    """It may have begun a job: only the user knows whether to begin another."""
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(socket_path(tmp_path)))
        listener.listen()

        async def read_and_end() -> None:
            accepted, _ = await listener.accept()
            with accepted:
                await accepted.recv(100_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_and_end)
            with pytest.raises(PeerGone) as caught:
                await client.ask(tmp_path, SharesRequest(), nothing)
    assert not isinstance(caught.value, NotTaken)
