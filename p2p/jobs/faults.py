"""Faults of a job, described so that the job's author understands them, in a form that JSON can carry."""

import sys
import traceback
from collections.abc import Collection
from reprlib import Repr
from types import TracebackType
from typing import Any, NamedTuple

from p2p.jobs.codec import Unreadable

MAX_TEXT = 8 * 1024
MAX_RECORD = 200
_MAX_FRAMES = 30
_MAX_CAUSES, _MAX_CAUSE_FRAMES, _MAX_CAUSE = 3, 5, 500
_DIRECTLY = "which is the direct cause of:\n"
_DURING = "and while this was handled:\n"


class Place(NamedTuple):
    """Where in the job's files an operation is called."""

    file: str
    line: int


class JobFault(Exception):
    """Raised for the job's own fault: an exception that its code raised, or a rule that it broke."""

    def __init__(
        self,
        text: str,
        *,
        kind: str = "JobError",
        place: Place | None = None,
        operation: str | None = None,
        record: str | None = None,
        traceback_text: str = "",
    ) -> None:
        super().__init__(text)
        self.text, self.kind, self.place = bounded(text), bounded(kind, MAX_RECORD), place
        self.operation, self.record, self.traceback_text = operation, record, bounded(traceback_text)
        self.unit: tuple[int, ...] = ()
        """The stage, partition and action where the fault occurred, if known here."""

    def report(self) -> dict[str, Any]:
        """The fault as the header of a reply."""
        return {
            "error": "job",
            "kind": self.kind,
            "text": self.text,
            "traceback": self.traceback_text,
            "file": bounded(self.place.file, MAX_RECORD) if self.place else None,
            "line": self.place.line if self.place else None,
            "operation": self.operation or "",
            "record": self.record or "",
        }


class PlanMismatch(Exception):
    """Raised if the job plans differently here than where the plan was made, or lacks something that the plan needs."""


NOT_THE_JOBS = (JobFault, PlanMismatch, Unreadable, MemoryError, KeyboardInterrupt)
"""Exceptions that are passed on unchanged, wherever they are raised."""


def here() -> Place:
    """Returns the place in the job that called into this package."""
    frame = sys._getframe(2)  # the caller is in this package
    while frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


_PACKAGE = here.__code__.co_filename.removesuffix("faults.py")
"""The folder of this package's files. It is computed once, because places are looked up often."""


def raised(
    error: BaseException,
    files: Collection[str],
    *,
    place: Place | None = None,
    operation: str | None = None,
    record: str | None = None,
    text: str | None = None,
) -> JobFault:
    """Makes the fault for an exception raised by the job, with the frames of the job's own files."""
    try:
        return _raised(error, files, place=place, operation=operation, record=record, text=text)
    except NOT_THE_JOBS:
        raise
    except BaseException:  # noqa: BLE001  the exception's class is the job's own: whatever is asked of it may fail
        return JobFault(_UNTOLD, kind=_NAME(type(error)), place=place, operation=operation, record=record)


def _raised(
    error: BaseException,
    files: Collection[str],
    *,
    place: Place | None,
    operation: str | None,
    record: str | None,
    text: str | None,
) -> JobFault:
    frames = _frames(error, files)
    kind = type(error).__name__
    text = _words(error) if text is None else text
    told = [*_causes(error, files), *traceback.format_list(frames[-_MAX_FRAMES:])]
    if frames:
        place = Place(frames[-1].filename, frames[-1].lineno or 1)
    if isinstance(error, SyntaxError) and error.filename in files:
        place, text = Place(str(error.filename), error.lineno or 1), error.msg
        told += _only(error)[:-1]
    elif type(error) in (AttributeError, NameError):  # Python may suggest the name that was meant
        text = _only(error)[-1].strip().removeprefix(f"{kind}: ")
    told.append(f"{kind}: {text}\n")
    return JobFault(text, kind=kind, place=place, operation=operation, record=record, traceback_text="".join(told))


def _frames(error: BaseException, files: Collection[str]) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace_of(error)) if frame.filename in files]


def _causes(error: BaseException, files: Collection[str]) -> list[str]:
    """What led to an exception, first cause first, as Python would print it."""
    told: list[str] = []
    seen = {id(error)}
    for _ in range(_MAX_CAUSES):
        link = _DIRECTLY if error.__cause__ is not None else _DURING
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            break
        seen.add(id(cause))
        frames = traceback.format_list(_frames(cause, files)[-_MAX_CAUSE_FRAMES:])
        told[:0] = [*frames, f"{type(cause).__name__}: {bounded(_words(cause), _MAX_CAUSE)}\n", link]
        error = cause
    return told


def shown(value: object) -> str:
    """Describes a value in a few words, however large or broken it is."""
    try:
        text = _BRIEF.repr(value)
    except NOT_THE_JOBS:
        raise
    except BaseException:  # noqa: BLE001  the class may be the job's own, and do anything
        text = f"<{_NAME(type(value))} that cannot be shown>"
    return bounded(text, MAX_RECORD)


def frames_in(trace: TracebackType | None, filename: str) -> list[TracebackType]:
    """Returns the entries of a traceback that are in one file."""
    found = []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            found.append(trace)
        trace = trace.tb_next
    return found


def _only(error: BaseException) -> list[str]:
    """Returns what Python prints for an exception besides its frames; for a SyntaxError, the code line comes first."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, limit=0, compact=True)
    return list(told.format_exception_only())


_UNTOLD = "(its text cannot be shown)"
_NAME = type.__dict__["__name__"].__get__
_TRACE = BaseException.__dict__["__traceback__"].__get__


def trace_of(error: BaseException) -> TracebackType | None:
    """The traceback of an exception whose class may be the job's own."""
    found: TracebackType | None = _TRACE(error)
    return found


def _words(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except NOT_THE_JOBS:
        raise
    except BaseException:  # noqa: BLE001  as above
        return _UNTOLD


def bounded(text: str, most: int = MAX_TEXT) -> str:
    """Returns the text, or its beginning if it is longer than `most`."""
    text = text.encode("utf-8", "replace").decode()  # JSON text may not hold a lone surrogate
    while len(text.encode()) > most:
        text = text[: max(1, most // 4 - 1)] + "..."
    return text


def _brief() -> Repr:
    brief = Repr()
    brief.maxlevel = 4
    brief.maxstring = brief.maxother = brief.maxlong = 150
    brief.maxtuple = brief.maxlist = brief.maxdict = brief.maxset = 12
    return brief


_BRIEF = _brief()
