"""A job under way: in a notebook one table, which stays as it was at the end, and bars in a terminal."""

import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
from jinja2 import Template
from markupsafe import Markup

from p2p.bars import LiveView
from p2p.progress import Progress
from p2p.site import notebook
from p2p.site.templates import environment

INTERVAL_S = 0.3
VALUES = 10
"""How many of the values that came back are shown with a job; the list of them shows more."""
MOST = 40
"""How many stages, notes and lines of an error are shown."""


class Followed(Protocol):
    """A job, as `Running` has it."""

    progress: Progress
    notes: list[str]

    @property
    def failure(self) -> BaseException | None: ...
    @property
    def outcome(self) -> Any: ...
    @property
    def is_done(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


def html(running: Followed) -> str:
    """How far a job is, or its result."""
    progress, view = running.progress, running.progress.view
    outcome, failure = "", running.failure
    if (found := running.outcome) is not None:
        outcome = notebook.record(found) if isinstance(found, msgspec.Struct) else notebook.table(found, VALUES)
    ended = "failed" if failure is not None else "done"
    return _template().render(
        name=(view.name if view is not None else progress.name) or "job",
        state=ended if running.is_done else view.state if view is not None else progress.state,
        view=view,
        is_done=running.is_done,
        notes=running.notes,
        failure=None if failure is None else str(failure),
        outcome=Markup(outcome),
        most=MOST,
    )


def show(running: Followed) -> Callable[[], None]:
    """Displays the job in the output of the cell, where it updates itself until it has ended.

    Returns what updates it now, which tells of its end in the cell that waits for that: some programs that run
    notebooks take no updates from an earlier one.
    """
    from IPython.display import display

    if not _in_notebook():  # IPython in a terminal, which would print each update below the last one
        print(repr(running))
        return lambda: None

    def bundle() -> dict[str, str]:
        return {"text/html": html(running), "text/plain": repr(running)}

    handle = display(bundle(), raw=True, display_id=True)

    def update() -> None:
        handle.update(bundle(), raw=True)

    def follow() -> None:
        ended = False
        while not ended:
            ended = running.wait(INTERVAL_S)
            update()  # also after the end, as it may have come while the last one was made

    if not running.is_done:
        threading.Thread(target=follow, name="shoal-display", daemon=True).start()
    return update


def watch(running: Followed) -> None:
    """Waits for the end of the job, and shows how far it is meanwhile."""
    if "IPython" in sys.modules and _in_notebook():
        update = show(running)
        running.wait()
        update()
    elif sys.stderr.isatty():
        bars = LiveView()
        told = 0
        try:
            ended = False
            while not ended:
                ended = running.wait(INTERVAL_S)
                bars.update(running.progress)
                for note in running.notes[told:]:
                    bars.note(note)
                    told += 1
        finally:
            bars.close()
    else:
        running.wait()


def _in_notebook() -> bool:
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@cache
def _template() -> Template:
    return environment(Path(__file__).parent / "templates").get_template("job.html")
