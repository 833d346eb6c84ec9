"""Doors to dashboards: what a page of another site caused does not get through (`net.http_server.foreign`).

Each connection carries one request, whose head is read and judged here; then its body is passed on, or the WebSocket
that it begins. A second request, which nobody would have judged, does not get through.
"""

import h11
import trio

from p2p.cluster.network.doors import PIECE_BYTES, Reach, carry, pour
from p2p.net.http_server import foreign
from p2p.net.http_server.foreign import Asked, Refusal

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 10.0
_JUDGED = b"host", b"origin", b"sec-fetch-site"
_END = b"\r\n\r\n"
_UNKNOWN = "Dashboards are at 127.0.0.1. They have no other name."
_BAD = Refusal(400, "This is no request.")


async def speak(client: trio.SocketStream, reach: Reach) -> None:
    """Serves one client of a door: a `Speak` of `doors`."""
    with trio.fail_after(HEAD_TIMEOUT_S):
        head, rest = await _head(client)
    request = _parsed(head)
    refused = _BAD if request is None else _refusal(request)
    if request is None or refused is not None:
        await client.send_all(_answer(refused or _BAD))
        return
    async with await reach() as inside:
        if _begins_websocket(request):
            await inside.send_all(_passed_on(request, b"Upgrade") + rest)
            await carry(client, inside)
        else:
            await _ask(request, rest, client, inside)


async def _ask(request: h11.Request, rest: bytes, client: trio.SocketStream, inside: trio.SocketStream) -> None:
    length = int(dict(request.headers).get(b"content-length", 0))
    await inside.send_all(_passed_on(request, b"close") + rest[:length])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_body, client, inside, length - len(rest))
        await pour(inside, client)
        nursery.cancel_scope.cancel()


async def _send_body(client: trio.SocketStream, inside: trio.SocketStream, left: int) -> None:
    while left > 0 and (piece := await client.receive_some(min(left, PIECE_BYTES))):
        await inside.send_all(piece)
        left -= len(piece)


async def _head(client: trio.SocketStream) -> tuple[bytes, bytes]:
    """The head of the request, and what has come of its body; an empty head if there is none."""
    came = bytearray()
    while (end := came.find(_END)) == -1:
        piece = await client.receive_some()
        came += piece
        if not piece or len(came) > MAX_HEAD_BYTES:
            return b"", b""
    end += len(_END)
    return bytes(came[:end]), bytes(came[end:])


def _parsed(head: bytes) -> h11.Request | None:
    reader = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
    try:
        reader.receive_data(head)
        event = reader.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def _refusal(request: h11.Request) -> Refusal | None:
    said = {bytes(name): value.decode("latin-1") for name, value in request.headers}
    if any(sum(name == judged for name, _ in request.headers) > 1 for judged in _JUDGED):
        return _BAD
    if b"transfer-encoding" in said:
        return Refusal(411, "Say how long the body is.")
    method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
    asked = Asked(method, target, said.get(b"host"), said.get(b"origin"), said.get(b"sec-fetch-site"))
    return foreign.refusal(asked, frozenset(), _UNKNOWN)


def _begins_websocket(request: h11.Request) -> bool:
    headers = dict(request.headers)
    return request.method == b"GET" and headers.get(b"upgrade", b"").lower() == b"websocket"


def _passed_on(request: h11.Request, connection: bytes) -> bytes:
    """The head as the dashboard gets it."""
    headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"connection"]
    headers.append((b"Connection", connection))
    lines = [b"%s %s HTTP/1.1" % (request.method, request.target), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join(lines) + _END


def _answer(refusal: Refusal) -> bytes:
    body = refusal.text.encode() + b"\n"
    head = f"HTTP/1.1 {refusal.status} Refused\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
