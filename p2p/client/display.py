"""A job under way in a notebook: one table, which stays as it was at the end."""

import threading
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
from jinja2 import Template
from markupsafe import Markup

from p2p.progress import Progress
from p2p.site import notebook
from p2p.site.templates import environment

INTERVAL_S = 0.3
MOST = 40
"""How many stages, notes and lines of an error are shown."""


class Followed(Protocol):
    """A job, as `Running` has it."""

    progress: Progress
    notes: list[str]

    @property
    def failure(self) -> BaseException | None: ...
    @property
    def is_done(self) -> bool: ...
    def result(self) -> Any: ...
    def wait(self, timeout: float | None = None) -> bool: ...


def html(running: Followed) -> str:
    """How far a job is, or its result."""
    progress, view = running.progress, running.progress.view
    outcome, failure = "", running.failure
    if running.is_done and failure is None:
        found = running.result()
        outcome = notebook.record(found) if isinstance(found, msgspec.Struct) else notebook.table(found)
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


def show(running: Followed) -> None:
    """Displays the job in the output of the cell, where it updates itself until it has ended."""
    from IPython.display import display

    def bundle() -> dict[str, str]:
        return {"text/html": html(running), "text/plain": repr(running)}

    handle = display(bundle(), raw=True, display_id=True)

    def update() -> None:
        while not running.is_done:
            running.wait(INTERVAL_S)
            handle.update(bundle(), raw=True)

    if handle is not None and not running.is_done:
        threading.Thread(target=update, name="shoal-display", daemon=True).start()


@cache
def _template() -> Template:
    return environment(Path(__file__).parent / "templates").get_template("job.html")
