"""How far a fetch or a job is, in a terminal: bars that stay at the bottom of the screen until it has ended.

Names come from other peers, so they are escaped before they are printed. What draws is loaded only when needed.
"""

from typing import TYPE_CHECKING

from p2p.formats import format_size, format_time, shortened
from p2p.log import printable
from p2p.progress import JobView, Progress
from p2p.site.text import plural

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import TaskID

SLOW_STATES = frozenset(
    (
        "asking trackers, or the DHT",
        "checking what is there",
        "compiling the environment's modules",
        "copying from the version before",
        "copying from this peer's own share",
        "looking for members",
        "looking for the newest version",
        "looking for the peer",
        "packing the environment",
        "reading the list of files",
    )
)
"""States that may last long without any progress to show; they are shown by these names."""


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
                pieces.append(plural(progress.sources, "source"))
            if rate >= 1 and size > done:
                pieces.append(f"{format_time((size - done) / rate)} left")
        else:
            pieces.append(commentary(progress) or progress.state)
        name = shortened(printable(progress.name) or "share", 32)
        task = self._bars.tasks[0]
        if task.total != (size or None):
            self._bars.reset(self._task)  # it may count as finished, and its spinner stand still
            task.total = size or None  # for `update`, None is no change
        self._bars.update(self._task, description=escape(name), completed=done, detail=" · ".join(pieces))

    def _update_job(self, view: JobView) -> None:
        """Shows a line with volunteers and rates, and a bar for each stage."""
        from rich.markup import escape
        from rich.text import Text

        busy = sum(one.units for one in view.volunteers)
        pieces = [
            *(["being planned"] if view.state == "planning" else []),
            plural(len(view.volunteers), "volunteer"),
            f"{plural(busy, 'unit')} out",
            *([f"queued at {len(view.queued):,} more"] if view.queued else []),
            *([f"{_rate(view.rate)} units/s"] if view.rate >= 0.01 else []),
            f"{format_size(view.bytes_moved)} moved",
            *([f"{format_time(view.left_s)} left"] if view.left_s is not None else []),
            *([f"{view.failures:,} failed"] if view.failures else []),
            *([f"{view.losses:,} lost"] if view.losses else []),
            *([f"{plural(view.skipped, 'record')} skipped"] if view.skipped else []),
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


def commentary(progress: Progress) -> str:
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


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
