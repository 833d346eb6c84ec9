"""The sandbox, as the rest of the peer uses it: starts guests, as many at a time as there is room for.

All sandboxes of a peer use the same workers (`workers`), but each has a room of its own (`room`). So guests for this
peer's own jobs never wait for those that work for others, and units that an owner repeats never wait for its planners.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import InternalError, SandboxFailed
from p2p.sandbox import isolation
from p2p.sandbox.guest import Guest
from p2p.sandbox.room import Place, Room
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.workers import Worker, Workers

END = Wall("end of a guest")


class Sandbox:
    """Starts guests, as many at a time as fit into its `room`. Made by `open_sandbox`."""

    def __init__(
        self, room: Room, workers: Workers, nursery: trio.Nursery, guests: set[Guest], *, idle: bool = False
    ) -> None:
        self.room = room
        self.idle = idle
        """Whether its guests only get processor time that nothing else on the machine wants."""
        self._workers = workers
        self._nursery = nursery
        self._guests = guests

    def beside(self, room: Room) -> "Sandbox":
        """Returns a sandbox with a room of its own, for guests of normal priority.

        It ends with this one.
        """
        return Sandbox(room, self._workers, self._nursery, self._guests)

    async def prepare(self, runtime: Runtime) -> None:
        """Starts and parks a worker of the runtime, so that its guests start at once. Raises SandboxFailed."""
        await self._workers.worker(runtime, idle=self.idle)

    async def guest(self, runtime: Runtime, memory_bytes: int = 0) -> Guest:
        """Waits for room for a guest, and starts it. `memory_bytes` is the most memory that the guest will have.

        Raises SandboxFailed; the module must be compiled.
        """
        return await self.guest_at(await self.room.take(memory_bytes), runtime)

    async def guest_at(self, place: Place, runtime: Runtime) -> Guest:
        """Starts a guest at its place, which is given back when the guest's process is gone. Raises as `guest` does."""
        try:
            worker = await self._workers.worker(runtime, idle=self.idle)
            worker.guests += 1
            try:
                number, connection = await worker.start_guest()
            except BaseException:
                worker.guests -= 1
                raise
        except BaseException:
            place.give_back()
            raise
        guest = Guest(
            connection,
            lambda: self._nursery.start_soon(self._end, guest, place, worker, number),
            partial(worker.cpu_s, number) if self.idle else None,
        )
        self._guests.add(guest)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            guest.discard()  # nobody is left to use it
            raise
        return guest

    def process_ids(self) -> list[int]:
        """The process ids of the present workers; guests are their children."""
        return self._workers.process_ids()

    async def _end(self, guest: Guest, place: Place, worker: Worker, number: int) -> None:
        self._guests.discard(guest)
        try:
            # If this fails, the worker is dead or dying, and the guest with it.
            with suppress(SandboxFailed, InternalError), END.around(), trio.CancelScope(shield=True):
                await worker.end_guest(number)
        finally:
            worker.guests -= 1
            place.give_back()


@asynccontextmanager
async def open_sandbox(cores: int, cache: Path, *, idle: bool = False) -> AsyncIterator[Sandbox]:
    """Opens a sandbox for `cores` guests at once, with compiled modules from `cache`. All its processes end with it.

    Guests that are `idle` only get processor time that nothing else on the machine wants.
    """
    workers = Workers(cache)
    guests: set[Guest] = set()
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield Sandbox(Room(cores), workers, nursery, guests, idle=idle)
            finally:
                for guest in list(guests):
                    guest.discard()  # the nursery then waits until they are gone
    finally:
        with trio.CancelScope(shield=True):
            await workers.close()


def describe() -> str:
    """Describes the isolation of guests on this machine, in one line."""
    return "; ".join(isolation.describe())
