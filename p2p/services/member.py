"""A volunteer at work for a job, as the owner sees it: what is to be said to it, and what it says."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio

from p2p.core.attempts import Work
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.ids import short
from p2p.net.connection import Connection
from p2p.wire import work

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
MOST_PENDING = 512 * 1024 * 1024


class Member:
    """One volunteer at work for the job: what is to be said to it, and what it says."""

    def __init__(
        self,
        connection: Connection,
        slots: int,
        messages_for: Callable[[Sequence[Work], int], Awaitable[list[Any]]],
    ) -> None:
        self._connection = connection
        self.slots = slots
        self._messages_for = messages_for
        self._todo: list[Work] = []
        self._outbox: list[Any] = []
        self._wake = trio.Event()
        self._sent = 0
        self._bodies: dict[bytes, bytearray] = {}

    def units(self, units: Sequence[Work]) -> None:
        self._todo += units
        self._wake.set()

    def say(self, message: Any) -> None:
        self._outbox.append(message)
        self._wake.set()

    def drop(self, reason: str) -> None:
        logger.debug("volunteer %s is dropped: %s", short(self._connection.ends.peer_id), reason)
        self._connection.close()

    async def end(self, job: bytes) -> None:
        with suppress(PeerError), trio.move_on_after(1, shield=True):
            await self._connection.send(work.JobEnd(job))

    async def run(self, heard: Callable[[Any, dict[bytes, bytes]], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            failure: PeerError | None = None
            nursery.start_soon(self._tell)
            try:
                await self._listen(heard)
            except PeerError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _tell(self) -> None:
        with suppress(PeerError):
            while True:
                said, self._outbox = self._outbox, []
                todo, self._todo = self._todo, []
                if todo:
                    messages = await self._messages_for(todo, self._sent)
                    batches = [message for message in messages if isinstance(message, work.Units)]
                    self._sent = max(self._sent, *(batch.units[0].results for batch in batches))
                    said += messages
                for message in said or [work.Heartbeat()]:
                    await self._connection.send(message)
                if not self._todo and not self._outbox:
                    self._wake = trio.Event()
                    with trio.move_on_after(HEARTBEAT_S):
                        await self._wake.wait()
        self._connection.close()

    async def _listen(self, heard: Callable[[Any, dict[bytes, bytes]], Awaitable[None]]) -> None:
        bodies: dict[bytes, bytes] = {}
        while True:
            message = await self._connection.receive()
            match message:
                case work.Bytes(of, offset, total, body):
                    held = self._bodies.setdefault(of, bytearray())
                    if offset != len(held) or len(held) + len(body) > total or total > MOST_PENDING:
                        raise ProtocolViolation("pieces of a result out of order")
                    held += body
                    if len(held) == total:
                        bodies[of] = bytes(self._bodies.pop(of))
                    if sum(map(len, self._bodies.values())) + sum(map(len, bodies.values())) > MOST_PENDING:
                        raise ProtocolViolation("more bytes than there is room for")
                case work.Results() | work.Heartbeat():
                    await heard(message, bodies)
                case work.JobRefused(reason):
                    raise PeerGone(reason)
                case _:
                    raise ProtocolViolation(f"a {type(message).__name__} in the middle of a job")
