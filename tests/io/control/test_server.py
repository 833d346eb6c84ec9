"""The control socket: a command that goes away ends its request, and nothing else."""

import socket
from pathlib import Path

import trio

from p2p.concurrency.walls import Wall, bugs
from p2p.control import protocol
from p2p.control.path import socket_path
from p2p.control.protocol import AnyRequest, Emit, Note, SharesRequest
from p2p.control.server import Server

REQUEST = Wall("request of a test")


async def test_a_command_that_goes_as_something_is_said_ends_its_request_without_an_error(tmp_path: Path) -> None:
    before = bugs.count
    ended = trio.Event()
    client = socket.socket(socket.AF_UNIX)

    async def perform(request: AnyRequest, emit: Emit) -> None:
        with REQUEST.around():
            client.close()  # and nothing has told the server yet when it speaks
            try:
                await emit(Note("hello"))
                await trio.sleep_forever()
            finally:
                ended.set()

    server = Server(tmp_path, perform)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        client.connect(str(socket_path(tmp_path)))
        client.sendall(protocol.encode(SharesRequest()))
        await ended.wait()
        await server.idle()
        nursery.cancel_scope.cancel()
    assert bugs.count == before
