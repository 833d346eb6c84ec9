"""Logging: standard `logging`; each line names the peer and share it is about.

INFO is for what an operator wants to follow, DEBUG for peers' faults, WARNING for what a person should look at. Text
that came from a peer is escaped before it is logged, so a name cannot forge a line or control a terminal.
"""

import contextvars
import logging
import sys
from typing import Any

from p2p.errors import ConfigError

FAILED, USAGE = 1, 2

context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="")
"""The peer or share that the current task works for, such as `peer=abcd2345`; set by the service that owns the task."""


class _AddContext(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.context = context.get()
        return True


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return printable_lines(super().formatException(ei))


def set_up(*, verbose: bool) -> None:
    """Logs to stderr: warnings, or everything if `verbose`. Called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_AddContext())
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(context)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[handler], force=True)


def explain(error: Exception, code: int | None = None) -> int:
    """Prints to stderr what went wrong. Returns the exit code: the one given, otherwise the one in docs/cli.md."""
    # A job's report has several lines: what its code raised, where, and the traceback.
    print("shoal: " + printable_lines(str(error)), file=sys.stderr)
    return code if code is not None else USAGE if isinstance(error, ConfigError) else FAILED


def printable(text: str) -> str:
    """The text on one line, with control and direction-changing characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The text with the lines it has, each as `printable` has it."""
    return "\n".join(map(printable, text.split("\n")))
