"""Waiting in line: an owner whose offer comes while all cores of a volunteer are busy hears at once when one is free.

The conversation stays open, and the owner is told its place (`JobQueued`); who is first is `core.line`'s to say. Once
there is room the first is called, and offers its job anew: so the offer is as the job is now, its owner is known to be
there, and whoever would not answer holds up the others for some seconds only. Between the call and the new offer cores
are nobody's: whoever is first then has them, be it one with a better claim that has come meanwhile. Who waits costs
the volunteer one of few places, a connection of those that it has anyway, and two tasks; nothing of its offer is kept.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from p2p.concurrency.bell import News
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.wire import work

HEARTBEAT_S = 1.0
PATIENCE_S = 10.0
"""An owner in line that is silent for so long, or does not take its turn, loses its place."""
ANSWER_S = 30.0
MOST_CALLS = 16
"""That an owner answers with its offer, without being taken: then it leaves that line."""


# The volunteer's side.


class Waiter:
    """An owner in line. `place` says where: 0 when it may have its turn, else 1, 2, ...; it may change with `changes`.

    `reason` says why there is no room.
    """

    def __init__(
        self, connection: Connection, place: Callable[[], int], reason: Callable[[], str], changes: News
    ) -> None:
        self._connection = connection
        self._place = place
        self._reason = reason
        self._changes = changes
        self._pace = Pace()

    async def turn(self, offer: work.JobOffer) -> work.JobOffer:
        """Waits for its turn; its new offer. Whether it still is its turn then is to be seen. Raises PeerError."""
        failure: PeerError | None = PeerGone("nothing was heard of it while it waited, or at its turn")
        with trio.CancelScope(deadline=trio.current_time() + PATIENCE_S) as patience:
            async with trio.open_nursery() as nursery:
                called = trio.Event()
                nursery.start_soon(self._tell, patience, called)
                try:
                    again = await self._hear(offer.job, patience, called)
                except PeerError as error:
                    failure = error
                else:
                    failure = None
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return again

    async def _tell(self, patience: trio.CancelScope, called: trio.Event) -> None:
        said, said_at = None, float("-inf")
        try:
            while True:
                news, now = self._changes.count, trio.current_time()
                place = self._place()
                if not place:
                    break
                saying = work.JobQueued(place, self._reason())
                if saying != said or now - said_at >= HEARTBEAT_S:
                    await self._connection.send(saying)
                    said, said_at = saying, now
                with trio.move_on_at(said_at + HEARTBEAT_S):
                    await self._changes.after(news)
            called.set()
            patience.deadline = trio.current_time() + PATIENCE_S
            await self._connection.send(work.JobQueued(0))
        except PeerError:
            self._connection.close()  # which whoever listens hears

    async def _hear(self, job: bytes, patience: trio.CancelScope, called: trio.Event) -> work.JobOffer:
        while True:
            message = await self._connection.receive()
            match message:
                case work.Heartbeat():
                    if not called.is_set():
                        patience.deadline = trio.current_time() + PATIENCE_S
                    await self._pace.spend(message)
                case work.JobOffer() if called.is_set() and message.job == job:
                    return message
                case work.JobEnd():
                    raise PeerGone("it waits no longer")
                case other:
                    raise ProtocolViolation(f"a {type(other).__name__} of an owner in line")


# The owner's side.


async def answer(
    connection: Connection, offer: Callable[[], work.JobOffer], queued: Callable[[work.JobQueued], None]
) -> Any:
    """Offers a job; what a volunteer answers, once it is another word than that it has the owner wait.

    `offer` makes the offer as it is at that moment, `queued` hears of the place in line. Raises PeerError.
    """
    first = offer()
    await connection.send(first)
    message = await _heard(connection)
    if not isinstance(message, work.JobQueued) or not first.waits:
        return message
    failure: PeerError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, connection)
        try:
            message = await _wait(connection, message, offer, queued)
        except PeerError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return message


async def _wait(
    connection: Connection,
    message: work.JobQueued,
    offer: Callable[[], work.JobOffer],
    queued: Callable[[work.JobQueued], None],
) -> Any:
    pace, calls = Pace(), 0
    while isinstance(message, work.JobQueued):
        if message.place:
            queued(message)
            await pace.spend(message)
        else:
            calls += 1
            if calls > MOST_CALLS:
                raise ProtocolViolation("called from the line time and again, and never taken")
            await connection.send(offer())
        message = await _heard(connection)
    return message


async def _heard(connection: Connection) -> Any:
    with trio.move_on_after(ANSWER_S):
        return await connection.receive()
    raise PeerGone("it did not answer the offer")


async def _beat(connection: Connection) -> None:
    with suppress(PeerError):  # whoever listens meets the same
        while True:
            await connection.send(work.Heartbeat())
            await trio.sleep(HEARTBEAT_S)
