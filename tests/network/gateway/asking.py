"""HTTP over the control socket of a peer: a client that does as it should, and one that says anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import trio

from p2p.control.path import socket_path
from p2p.node import Node

PATIENCE_S = 30.0


@asynccontextmanager
async def http_client(peer: Node) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a peer's socket; addresses begin with a slash."""
    transport = httpx2.AsyncHTTPTransport(uds=str(socket_path(peer.home)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://shoal", timeout=PATIENCE_S) as client:
        yield client


async def say(peer: Node, words: bytes, *, hangs_up: bool = False) -> bytes:
    """Says something on a new connection. Returns all that the peer answers until it closes the connection.

    If the client hangs up, it has said all that it will, but reads on.
    """
    heard = b""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_unix_socket(socket_path(peer.home)) as stream:
            try:
                await stream.send_all(words)
                if hangs_up:
                    await stream.send_eof()
                while data := await stream.receive_some():
                    heard += data
            except trio.BrokenResourceError:
                pass
    return heard
