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

from p2p.concurrency.ending import ending_signals
from p2p.control.answers import GetAnswer, ShareAnswer
from p2p.control.protocol import Event, Note, Piece, Update
from p2p.errors import ShoalError
from p2p.formats import format_size, format_time, shortened
from p2p.log import printable
from p2p.progress import JobView, Progress

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import TaskID

INTERRUPTED = 130
MAX_TOLD = 10
"""The most files that are named one by one."""
WORTH_SAYING_S = 1.0
SLOW_STATES = frozenset(
    (
        "asking trackers, or the DHT",
        "checking what is there",
        "copying from the version before",
        "copying from this peer's own share",
        "looking for the newest version",
        "looking for the peer",
        "reading the list of files",
    )
)
"""States that may last long without any progress to show; they are shown by these names."""
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
        text = _commentary(progress)
        if text != self._last:
            self._last, self._said, self._since = text, not text, time.monotonic()
        elif not self._said and time.monotonic() - self._since >= WORTH_SAYING_S:
            note(text)
            self._said = True

    def note(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        pass


class LiveView:
    """Shows progress on a terminal: a fetch as a bar with rate, sources and time left, a job as one bar per stage."""

    def __init__(self) -> None:
        from rich import progress as progress_bars
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
        from rich.spinner import Spinner

        self.console = Console(stderr=True, highlight=False)
        self._bars = progress_bars.Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}", markup=True),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self.console,
            expand=True,
        )
        self._task = self._bars.add_task("", total=None, detail="")
        self._words = Spinner("dots")
        self._stages: list[TaskID] = []
        self._action = 0
        self._live = Live(console=self.console, transient=True, get_renderable=self.picture)

    def picture(self) -> "RenderableType":
        """What is shown on the screen."""
        from rich.console import Group
        from rich.constrain import Constrain

        bars = self._bars.get_renderable()
        # A full line plus the `^C` that the terminal echoes after it would wrap, and one of the two lines would stay.
        width = max(self.console.width - len("^C"), 1)
        return Constrain(Group(self._words, bars) if self._words.text else bars, width)

    def update(self, progress: Progress) -> None:
        from rich.markup import escape

        self._live.start()  # not earlier: a bar without a text shows nothing
        if progress.view:
            self._update_job(progress.view)
            return
        size, done, rate = progress.size, progress.done, progress.rate
        pieces = []
        if progress.state in {"fetching", "hashing"}:
            pieces.append(f"{format_size(done)} of {format_size(size)}")
            if rate >= 1:
                pieces.append(f"{format_size(rate)}/s")
            if progress.sources:
                pieces.append(count(progress.sources, "source"))
            if rate >= 1 and size > done:
                pieces.append(f"{format_time((size - done) / rate)} left")
        else:
            pieces.append(_commentary(progress) or progress.state)
        name = shortened(printable(progress.name) or "share", 32)
        self._bars.update(
            self._task, description=escape(name), total=size or None, completed=done, detail=" · ".join(pieces)
        )

    def _update_job(self, view: JobView) -> None:
        """Shows a line with volunteers and rates, and a bar for each stage."""
        from rich.markup import escape
        from rich.text import Text

        busy = sum(one.units for one in view.volunteers)
        pieces = [
            *(["being planned"] if view.state == "planning" else []),
            count(len(view.volunteers), "volunteer"),
            f"{count(busy, 'unit')} out",
            *([f"queued at {len(view.queued):,} more"] if view.queued else []),
            *([f"{_rate(view.rate)} units/s"] if view.rate >= 0.01 else []),
            f"{format_size(view.bytes_moved)} moved",
            *([f"{format_time(view.left_s)} left"] if view.left_s is not None else []),
            *([f"{view.failures:,} failed"] if view.failures else []),
            *([f"{view.losses:,} lost"] if view.losses else []),
            *([f"{count(view.skipped, 'record')} skipped"] if view.skipped else []),
        ]
        title = f"{printable(view.name)}, action {view.action}"
        said = printable(view.why) or " · ".join(pieces)
        self._words.update(text=Text.assemble((title, "bold"), f": {said}"))
        self._bars.update(self._task, visible=False)
        if view.action != self._action:
            self._action = view.action
            for task in self._stages:
                self._bars.reset(task)  # otherwise they count as finished, and their spinners stand still
        label = max(self.console.width // 3, 8)
        for number, stage in enumerate(view.stages):
            if number == len(self._stages):
                self._stages.append(self._bars.add_task("", total=None, detail=""))
            self._bars.update(
                self._stages[number],
                description=escape(shortened(printable(stage.label), label)),
                total=stage.units or None,
                completed=stage.done,
                detail=f"{stage.done:,} of {stage.units:,}, {stage.running:,} out",
                visible=True,
            )
        for task in self._stages[len(view.stages) :]:
            self._bars.update(task, visible=False)

    def note(self, text: str) -> None:
        self.console.print(printable(text), markup=False)

    def close(self) -> None:
        self._live.stop()


View = PlainView | LiveView


def _commentary(progress: Progress) -> str:
    """Why there is no progress, in a few words; empty if all is well."""
    state = progress.state
    if progress.view and progress.view.why:
        return f"nothing is running: {printable(progress.view.why)}"
    if progress.view and progress.view.state == "planning":
        return "the job is being planned"
    if state in {"looking for sources", "waiting for sources"}:
        trouble = f" ({printable(progress.trouble)})" if progress.trouble else ""
        return f"waiting for sources{trouble}" if progress.known else "no source is known yet"
    return state if state in SLOW_STATES else ""


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


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def count(number: int, noun: str) -> str:
    """A number with its noun: `3 files`, `1 file`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
