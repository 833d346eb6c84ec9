"""Waits in a volunteer's queue, as an owner: offers a job, and offers it again when its turn comes (`JobQueued`)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.wire import work

HEARTBEAT_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 30.0
MAX_CALLS = 16
"""How many calls an owner answers with its offer without getting the cores, before it leaves the queue."""


async def offer_and_wait(
    connection: Connection, offer: Callable[[], work.JobOffer], queued: Callable[[work.JobQueued], None]
) -> Any:
    """Offers a job, and waits in the volunteer's queue if asked to. Returns the volunteer's final answer.

    `offer` makes an offer with the job's current data; `queued` is told the place in the queue. Raises PeerError.
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
    pace, calls = Pace(connection), 0
    while isinstance(message, work.JobQueued):
        if message.place:
            queued(message)
            connection.use.heard()
            await pace.spend(message)
        else:
            calls += 1
            if calls > MAX_CALLS:
                raise ProtocolViolation("called from the line again and again, but never taken")
            await connection.send(offer())
        message = await _heard(connection)
    return message


async def _heard(connection: Connection) -> Any:
    with trio.move_on_after(ANSWER_TIMEOUT_S):
        return await connection.receive()
    raise PeerGone("it did not answer the offer")


async def _beat(connection: Connection) -> None:
    with suppress(PeerError):  # whoever listens gets the same error
        while True:
            await connection.send(work.Heartbeat())
            connection.use.told_to_wait()
            await trio.sleep(HEARTBEAT_INTERVAL_S)
