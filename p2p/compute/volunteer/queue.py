"""A volunteer's conversation with an owner that waits in its queue.

An owner whose offer arrives while all cores are busy waits. The conversation stays open, and the owner is told its
place (`JobQueued`); `p2p.core.compute.waiting_queue` decides who is first. As soon as there is room, the first owner is
told that its turn has come, and offers its job again. So the offer contains the job's current data, the owner is known
to be there, and an owner that does not answer delays the others for only a few seconds. Until the new offer arrives,
the cores are given to nobody; then they go to whoever is first at that moment, which may be an owner with a better
claim that has come in the meantime. A waiting owner costs the volunteer one of few places, a connection that exists
anyway, and two tasks; nothing of its offer is kept.
"""

from collections.abc import Callable

import trio

from p2p.concurrency.bell import Bell
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.wire import work

HEARTBEAT_INTERVAL_S = 1.0
TURN_TIMEOUT_S = 10.0
"""A waiting owner that is silent for this long, or does not take its turn, loses its place."""


class QueuedOwner:
    """An owner that waits in this volunteer's queue.

    `place` returns its place, which is 0 when its turn has come, otherwise 1, 2, ..., or None once it has lost it to
    another; this may change whenever `changes` rings. `reason` returns why there is no room.
    """

    def __init__(
        self, connection: Connection, place: Callable[[], int | None], reason: Callable[[], str], changes: Bell
    ) -> None:
        self._connection = connection
        self._place = place
        self._reason = reason
        self._changes = changes
        self._pace = Pace(connection)

    async def turn(self, offer: work.JobOffer) -> work.JobOffer:
        """Waits for the owner's turn. Returns its new offer. The caller checks that it is still the owner's turn.

        Raises PeerError.
        """
        failure: PeerError | None = PeerGone("nothing was heard of it while it waited, or at its turn")
        with trio.CancelScope(deadline=trio.current_time() + TURN_TIMEOUT_S) as patience:
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
                if place is None:
                    await self._connection.send(work.JobRefused(self._reason()))
                    self._connection.close()
                    return
                if not place:
                    break
                saying = work.JobQueued(place, self._reason())
                if saying != said or now - said_at >= HEARTBEAT_INTERVAL_S:
                    await self._connection.send(saying)
                    self._connection.use.told_to_wait()
                    said, said_at = saying, now
                with trio.move_on_at(said_at + HEARTBEAT_INTERVAL_S):
                    await self._changes.after(news)
            called.set()
            patience.deadline = trio.current_time() + TURN_TIMEOUT_S
            await self._connection.send(work.JobQueued(0))
        except PeerError:
            self._connection.close()  # whoever listens hears of it

    async def _hear(self, job: bytes, patience: trio.CancelScope, called: trio.Event) -> work.JobOffer:
        while True:
            message = await self._connection.receive()
            match message:
                case work.Heartbeat():
                    self._connection.use.heard()
                    if not called.is_set():
                        patience.deadline = trio.current_time() + TURN_TIMEOUT_S
                    await self._pace.spend(message)
                case work.JobOffer() if called.is_set() and message.job == job:
                    return message
                case work.JobEnd():
                    raise PeerGone("it waits no longer")
                case other:
                    raise ProtocolViolation(f"a {type(other).__name__} of an owner in line")
