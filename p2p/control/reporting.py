"""Tells whoever waits for something how far it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from p2p.control.protocol import Emit, Note, Piece, Update
from p2p.progress import Progress

UPDATE_INTERVAL_S = 0.15


@asynccontextmanager
async def reported(progress: Progress, emit: Emit) -> AsyncIterator[None]:
    """Emits the progress at intervals while the body runs. The body's own errors are raised as they are."""
    failure: Exception | None = None

    said = 0

    async def emit_notes() -> None:
        nonlocal said
        while said < len(progress.notes):
            await emit(Note(progress.notes[said]))
            said += 1  # not before: the end of the body may cancel this

    async def report() -> None:
        while True:
            await emit_notes()
            await emit(Update(progress))
            await trio.sleep(UPDATE_INTERVAL_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(report)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - handed on below, past the nursery that would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    # What was noted just before the end explains a failure, and how far it was tells which job it was.
    await emit_notes()
    await emit(Update(progress))
    if failure is not None:
        raise failure


def pieces(emit: Emit) -> Callable[[bytes], Awaitable[None]]:
    """What emits bytes as the next piece of a stream."""

    async def piece(data: bytes) -> None:
        await emit(Piece(data))

    return piece
