"""Prints to stderr: live bars while something runs, and notes. (Answers go to stdout: see `tables`.)

Bars and colours appear only on a terminal; otherwise each change of state is one plain line. Names come from other
peers, so they are escaped before they are printed.
"""

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from p2p.bars import LiveView, commentary
from p2p.concurrency.ending import ending_signals
from p2p.control.answers import GetAnswer, ShareAnswer
from p2p.control.protocol import Event, Note, Piece, Update
from p2p.errors import ShoalError
from p2p.formats import format_size
from p2p.log import printable
from p2p.progress import Progress

if TYPE_CHECKING:
    pass

INTERRUPTED = 130
MAX_TOLD = 10
"""The most files that are named one by one."""
WORTH_SAYING_S = 1.0

REPEATED_S = 1.0
"""Signals closer together than this count as one: `timeout` and some terminals send them twice."""

Perform = Callable[[Callable[[Event], Awaitable[None]]], Awaitable[Any]]
Seen = Callable[[Progress], None]


def ignored(progress: Progress) -> None:
    """Does nothing with the progress of a request."""


def note(text: str, *, only_live: bool = False) -> None:
    """Prints one line to stderr; with `only_live`, only if stderr is a terminal."""
    if not only_live or sys.stderr.isatty():
        print(printable(text), file=sys.stderr, flush=True)


def on_signal() -> trio.Event:
    """Returns an event that each of the `ending_signals` sets from now on. A second one ends the process at once."""
    interrupted = trio.Event()
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    token = trio.lowlevel.current_trio_token()
    first: float | None = None

    def stop(*_: object) -> None:
        nonlocal first
        now = time.monotonic()
        for descriptor in terminals:
            if not os.isatty(descriptor):  # its window was closed: whatever is printed would fail
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        if first is None:
            first = now
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(interrupted.set)
        elif now - first > REPEATED_S:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a live bar hides the cursor
            os._exit(INTERRUPTED)

    for number in ending_signals():
        signal.signal(number, stop)
    return interrupted


async def first_of(*waits: Callable[[], Awaitable[None]]) -> None:
    """Runs all of `waits`; returns when the first of them returns, and cancels the others."""
    async with trio.open_nursery() as nursery:

        async def end_with(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(end_with, wait)


async def until_answered(
    perform: Perform, show: Callable[[Any], int | None], interrupted: trio.Event, seen: Seen = ignored
) -> int:
    """Calls `perform` with a live view, and shows the answer. Raises what `perform` raises.

    Returns the exit code: that of `show`, if it has one. `seen` is told of all progress.
    """
    answer: Any = None
    failure: ShoalError | None = None
    answered = False
    view: View = LiveView() if sys.stderr.isatty() else PlainView()

    hung_up = False

    async def emit(event: Event) -> None:
        nonlocal hung_up
        match event:
            case Update(progress):
                seen(progress)
                view.update(progress)
            case Note(text):
                view.note(text)
            case Piece(data):
                try:
                    await trio.to_thread.run_sync(_write, data, abandon_on_cancel=True)
                except BrokenPipeError:
                    # Raised past what performs the request, which is not at fault.
                    hung_up = True
                    nursery.cancel_scope.cancel()
                    await trio.lowlevel.checkpoint()
            case _:
                raise AssertionError("answers are returned, failures raised")

    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await interrupted.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(stop)
        try:
            answer = await perform(emit)
            answered = True
        except ShoalError as error:
            failure = error
        finally:
            view.close()
        nursery.cancel_scope.cancel()
    if hung_up:
        raise BrokenPipeError
    if failure is not None:
        raise failure
    if not answered:
        return INTERRUPTED
    return show(answer) or 0


def _write(data: bytes) -> None:
    """Writes to stdout. Blocking."""
    left = memoryview(data)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


class PlainView:
    """Shows progress where stderr is not a terminal: prints a line for each new state that is worth knowing."""

    def __init__(self) -> None:
        self._last = ""
        self._said = True
        self._since = time.monotonic()

    def update(self, progress: Progress) -> None:
        text = commentary(progress)
        if text != self._last:
            self._last, self._said, self._since = text, not text, time.monotonic()
        elif not self._said and time.monotonic() - self._since >= WORTH_SAYING_S:
            note(text)
            self._said = True

    def note(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        pass


View = PlainView | LiveView


# Answers.


def shared(answer: ShareAnswer, *, listed: bool) -> None:
    """Tells the user that a share was made: its files, size and speed, and who can find it."""
    rate = answer.bytes / answer.seconds if answer.seconds else 0
    reused = f", {format_size(answer.reused)} unchanged" if answer.reused else ""
    note(
        f"Shared {answer.name}: {count(answer.files, 'file')}, {format_size(answer.bytes)}"
        f"{reused}, in {answer.seconds:.2g} s ({format_size(rate)}/s)."
    )
    if listed:
        note("Listed: anyone can find it by search. With --unlisted, only those with the link can.")
    else:
        note("Unlisted: only those with the link can find it.")


def fetched(answer: GetAnswer) -> None:
    """Tells the user that a fetch is done: its size, speed and sources, and what is not as in the share."""
    for file in answer.mapped[:MAX_TOLD]:
        note(f"{file.path} is in {file.local}")
    _more(answer.mapped_count, "under another name")
    for skipped in answer.skipped[:MAX_TOLD]:
        note(f"left out {skipped.path}: {skipped.why}")
    _more(answer.skipped_count, "left out")
    if not answer.received:
        note(f"Nothing to fetch: all {format_size(answer.bytes)} were here already and have been verified.")
        return
    rate = answer.received / answer.seconds if answer.seconds else 0
    note(
        f"Fetched {format_size(answer.received)} in {answer.seconds:.2g} s ({format_size(rate)}/s) "
        f"from {count(len(answer.sources), 'source')}; every chunk verified."
    )


def _more(number: int, what: str) -> None:
    if number > MAX_TOLD:
        note(f"{count(number, 'file')} {what} in all; --json lists them")


def count(number: int, noun: str) -> str:
    """A number with its noun: `3 files`, `1 file`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
