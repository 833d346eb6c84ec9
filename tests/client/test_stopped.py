"""A peer that does not work any more, and one that is only slow."""

import os
import socket
from pathlib import Path

import pytest
import trio

from p2p import Peer
from p2p.client import hearing
from p2p.client.call import Call
from p2p.concurrency.activity import Activity
from p2p.control.path import socket_path
from p2p.control.protocol import AnyRequest, Emit, HoldRequest, SearchRequest, SharesRequest
from p2p.control.server import Server
from p2p.errors import PeerGone
from tests.support.constants import Shorten


def test_a_peer_that_was_stopped_is_told(tmp_path: Path, shorten: Shorten) -> None:
    shorten(hearing, "SILENCE_S", 0.01)
    shorten(hearing, "SIGN_TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(tmp_path)))
        listener.listen()  # and accepts nobody, like a process that was stopped
        with pytest.raises(PeerGone, match=f"`kill -CONT {os.getpid()}`"):
            Peer(tmp_path)
        with pytest.raises(PeerGone, match="says nothing any more"):
            Call(SharesRequest()).perform(tmp_path, print)
        long = Call(SearchRequest(query="x" * (1 << 21)))
        with pytest.raises(PeerGone, match="says nothing any more"):
            long.perform(tmp_path, print)


async def test_a_slow_answer_is_waited_for(tmp_path: Path, shorten: Shorten) -> None:
    shorten(hearing, "SILENCE_S", 0.01)
    signs, told = 0, trio.Event()

    async def perform(request: AnyRequest, emit: Emit) -> list[str]:
        nonlocal signs
        if isinstance(request, HoldRequest):
            signs += 1
            if signs == 3:
                told.set()
        else:
            await told.wait()
        return []

    async def no_http(stream: trio.SocketStream) -> None:
        raise AssertionError(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(tmp_path, perform, no_http, Activity()).run)
        assert await trio.to_thread.run_sync(Call(SharesRequest()).perform, tmp_path, print) == []
        nursery.cancel_scope.cancel()
