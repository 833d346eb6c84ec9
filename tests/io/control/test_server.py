"""The control socket: a command that goes away ends its request, and nothing else; nobody keeps commands from it."""

import socket
from contextlib import ExitStack
from pathlib import Path

import trio

from p2p.concurrency.activity import Activity
from p2p.concurrency.walls import bugs
from p2p.control import protocol, server
from p2p.control.operations import COMMAND
from p2p.control.path import socket_path
from p2p.control.protocol import AnyRequest, Emit, Failure, HoldRequest, Note, SharesRequest
from p2p.control.server import Server
from tests.support.constants import Shorten


async def no_http(stream: trio.SocketStream) -> None:
    """Answers nothing."""
    raise AssertionError(stream)


async def test_a_command_that_goes_as_something_is_said_ends_its_request_without_an_error(tmp_path: Path) -> None:
    before = bugs.count
    ended = trio.Event()
    client = socket.socket(socket.AF_UNIX)

    async def perform(request: AnyRequest, emit: Emit) -> None:
        with COMMAND.around():
            client.close()  # and nothing has told the server yet when it speaks
            try:
                await emit(Note("hello"))
                await trio.sleep_forever()
            finally:
                ended.set()

    activity = Activity()
    serving = Server(tmp_path, perform, no_http, activity)
    async with trio.open_nursery() as nursery:
        await nursery.start(serving.run)
        client.connect(str(socket_path(tmp_path)))
        client.sendall(protocol.encode(SharesRequest()))
        await ended.wait()
        await activity.idle()
        nursery.cancel_scope.cancel()
    assert bugs.count == before


async def test_commands_are_heard_beside_any_number_of_other_connections(tmp_path: Path, shorten: Shorten) -> None:
    shorten(server, "FIRST_WORD_TIMEOUT_S", 3600.0)
    speaking: list[trio.SocketStream] = []

    async def perform(request: AnyRequest, emit: Emit) -> list[str]:
        return []

    async def speak(stream: trio.SocketStream) -> None:
        speaking.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(tmp_path, perform, speak, Activity()).run, server.MIN_CLIENTS)
        with ExitStack() as clients:
            asking = [clients.enter_context(connected(tmp_path)) for _ in range(server.MIN_CLIENTS)]
            for one in asking:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
            most = server.MIN_CLIENTS * 3 // 4 - server.SPARE
            for refused in asking[most:]:
                assert (await heard(refused)).startswith(b"HTTP/1.1 503 ")
            assert len(speaking) == most
            silent = [clients.enter_context(connected(tmp_path)) for _ in range(2 * server.MIN_CLIENTS)]
            assert await heard(silent[0]) == b""  # the oldest made room for the others
            with connected(tmp_path) as command:
                command.sendall(protocol.encode(SharesRequest()))
                assert b"answer" in await heard(command)
        nursery.cancel_scope.cancel()


async def test_too_many_commands_are_told_so(tmp_path: Path) -> None:
    async def perform(request: AnyRequest, emit: Emit) -> None:
        await trio.sleep_forever()

    activity = Activity()
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(tmp_path, perform, no_http, activity).run, server.MIN_CLIENTS)
        with ExitStack() as clients:
            asking = [clients.enter_context(connected(tmp_path)) for _ in range(1 + server.MIN_CLIENTS // 4)]
            for one in asking:
                one.sendall(protocol.encode(SharesRequest()))
            said = protocol.decode_event(await heard(asking[-1]))
            assert isinstance(said, Failure)
            assert said.kind == "Refused"
            assert activity.is_busy
        await activity.idle()
        nursery.cancel_scope.cancel()


async def test_programs_that_hold_a_peer_leave_room_for_commands(tmp_path: Path) -> None:
    async def perform(request: AnyRequest, emit: Emit) -> list[str]:
        if isinstance(request, HoldRequest):
            await emit(Note("held"))
            await trio.sleep_forever()
        return []

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(tmp_path, perform, no_http, Activity()).run, server.MIN_CLIENTS)
        with ExitStack() as clients:
            places = server.MIN_CLIENTS // 4
            holding = [clients.enter_context(connected(tmp_path)) for _ in range(places)]
            for one in holding:
                one.sendall(protocol.encode(HoldRequest()))
            for refused in holding[places * 3 // 4 :]:
                said = protocol.decode_event(await heard(refused))
                assert isinstance(said, Failure)
                assert said.text.startswith("12 programs use this peer.")
            with connected(tmp_path) as command:
                command.sendall(protocol.encode(SharesRequest()))
                assert b"answer" in await heard(command)
            holding[0].close()
            said_last = b""
            while b"held" not in said_last:  # the server may not have seen yet that the first one ended
                another = clients.enter_context(connected(tmp_path))
                another.sendall(protocol.encode(HoldRequest()))
                await trio.lowlevel.wait_readable(another)
                said_last = another.recv(1 << 16)
        nursery.cancel_scope.cancel()


async def test_a_connection_that_says_nothing_or_no_end_is_hung_up_on(tmp_path: Path, shorten: Shorten) -> None:
    shorten(server, "FIRST_WORD_TIMEOUT_S", 0.05)

    async def perform(request: AnyRequest, emit: Emit) -> None:
        raise AssertionError(request)

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(tmp_path, perform, no_http, Activity()).run)
        with connected(tmp_path) as silent, connected(tmp_path) as endless:
            endless.sendall(b"{")
            assert await heard(silent) == await heard(endless) == b""
        nursery.cancel_scope.cancel()


def connected(home: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(socket_path(home)))
    return client


async def heard(client: socket.socket) -> bytes:
    """All that the server says before it hangs up."""
    said = b""
    client.setblocking(False)
    with trio.fail_after(30):
        while True:
            await trio.lowlevel.wait_readable(client)
            try:
                data = client.recv(1 << 16)
            except ConnectionResetError:
                return said
            if not data:
                return said
            said += data
