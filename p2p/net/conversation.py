"""The wall around one conversation with another peer: a bug that shows there ends that conversation, and nothing else.

The other peer is told only that this side failed. As what it said may be the cause, it is treated like a peer that
broke the protocol.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import InternalError, PeerError, ProtocolViolation
from p2p.net.connection import Connection
from p2p.wire.messages import INTERNAL, Failed

CONVERSATION = Wall("conversation")

FAREWELL_TIMEOUT_S = 2.0


@asynccontextmanager
async def conversation(connection: Connection) -> AsyncIterator[None]:
    """Holds a conversation in the body. Raises ProtocolViolation for a bug in it; ShoalErrors are raised plainly."""
    try:
        with CONVERSATION.around():
            yield
    except InternalError as error:
        with suppress(PeerError), trio.move_on_after(FAREWELL_TIMEOUT_S):
            await connection.send(Failed(reason=INTERNAL))
        raise ProtocolViolation("this side failed over what it said") from error
