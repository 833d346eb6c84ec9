"""Routing: finds the handler for each message that another peer sends on its own initiative.

An opening is a message that begins a conversation: it asks for a share, offers a job, and so on. A request is answered
at any time, even during an exchange. Each package that serves other peers adds its own openings and requests.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from p2p.errors import PeerGone, ProtocolViolation, Refused, StorageError
from p2p.ids import short
from p2p.net.connection import Connection
from p2p.net.conversation import conversation
from p2p.net.pace import QUESTION, Pace
from p2p.wire.frames import DataHeader
from p2p.wire.messages import UNSUPPORTED, AnyMessage, Failed, Unknown

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 60.0

Opening = Callable[[Connection, Any], Awaitable[bool]]
"""Handles an opening. Returns whether it used the connection until that ended. Raises PeerError."""
Request = Callable[[Connection, Any], Awaitable[None]]
"""Answers a request. Raises PeerError."""


class Router:
    """Handles the messages of connected peers: each type of message has one handler, registered with `add`."""

    def __init__(self) -> None:
        self._openings: dict[type, Opening] = {}
        self._requests: dict[type, Request] = {}

    def add(
        self, openings: Mapping[type, Opening] | None = None, requests: Mapping[type, Request] | None = None
    ) -> None:
        """Registers handlers: `openings` for messages between conversations, `requests` for messages at any time.

        Raises ValueError for a type that already has a handler.
        """
        for kind in (*(openings or {}), *(requests or {})):
            if kind in self._openings or kind in self._requests:
                raise ValueError(f"{kind.__name__} has a handler already")
        self._openings.update(openings or {})
        self._requests.update(requests or {})

    async def converse(self, connection: Connection) -> None:
        """Serves the peer at the other end until the connection ends, whichever side dialled. Raises PeerError."""
        try:
            async with conversation(connection):
                await self._converse(connection)
        except StorageError as error:
            logger.warning("%s", error)
            raise PeerGone("this side's disk failed") from error

    async def _converse(self, connection: Connection) -> None:
        pace = Pace(connection, least=QUESTION)
        while True:
            with trio.move_on_after(REQUEST_TIMEOUT_S) as patience:
                message = await connection.receive()
            if patience.cancelled_caught:
                raise PeerGone("it had nothing to ask")
            if isinstance(message, DataHeader):
                raise ProtocolViolation("chunks that nobody asked for")
            await pace.spend(message)
            opening = self._openings.get(type(message))
            if opening is not None:
                if await opening(connection, message):
                    return
            elif isinstance(message, Failed) and connection.ends.dialed:
                raise Refused(f"it does not take the offer: {message.reason}")
            else:
                await self.answer(connection, message)

    async def answer(self, connection: Connection, message: AnyMessage | Unknown) -> None:
        """Answers a message that belongs to no conversation. Raises PeerError."""
        request = self._requests.get(type(message))
        if request is not None:
            await request(connection, message)
        else:
            await refuse(connection, message)


async def refuse(connection: Connection, message: AnyMessage | Unknown) -> None:
    """Answers that this peer has no handler for the message. Raises PeerGone."""
    kind = message.type if isinstance(message, Unknown) else type(message).__name__
    logger.debug("peer %s says %.40r, which means nothing here", short(connection.ends.peer_id), kind)
    if not isinstance(message, Failed):
        await connection.send(Failed(reason=UNSUPPORTED))
