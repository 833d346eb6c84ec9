"""Trackers that give whatever answer a test chooses, and how a peer deals with it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import trio

from p2p.node import Node
from p2p.wire import tracker as wire
from p2p.wire.tracker import Announced, Source, SourcesAnswer
from tests.support.world import World

Say = Callable[[bytes], bytes]


class HttpServer:
    """An HTTP server. `say` makes the answer from the request, head and body."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    if not (piece := bytes(await stream.receive_some())):
                        return
                    request += piece
                head, _, body = request.partition(b"\r\n\r\n")
                length = next(
                    (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
                )
                while len(body) < length:
                    body += bytes(await stream.receive_some())
                self.requests.append(head + b"\r\n\r\n" + body)
                await stream.send_all(self.say(self.requests[-1]))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass


async def start(nursery: trio.Nursery, say: Say) -> HttpServer:
    server = HttpServer(say)
    listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
    server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    return server


def response(status: int, body: bytes | msgspec.Struct, *headers: str) -> bytes:
    body = body if isinstance(body, bytes) else wire.encode(body)
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def is_announce(request: bytes) -> bool:
    return request.startswith(b"POST /api/v1/announce ")


def taken(request: bytes, **more: Any) -> bytes:
    """The answer of a correct tracker to an announce."""
    announce = msgspec.json.decode(request.partition(b"\r\n\r\n")[2], type=wire.Announce)
    return response(200, Announced(announce.sequence, 60, "127.0.0.1", **more))


def sources(*found: Source) -> Say:
    def say(request: bytes) -> bytes:
        return taken(request) if is_announce(request) else response(200, SourcesAnswer(found, len(found)))

    return say


async def with_tracker(world: World, url: str, name: str = "taker") -> Node:
    return await world.peer(name, network={"trackers": (url,)})


def trouble(local: Node) -> str:
    (state,) = local.announcer.states.values()
    return state.trouble
