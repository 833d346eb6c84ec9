"""The three standard streams of a command, whatever whoever started it left of them.

A closed stream becomes `/dev/null`: otherwise a database or a socket would get its number, and be written to. An answer
that cannot be written ends the command with words. Progress and logs that cannot be written are lost, and end nothing.
"""

import io
import os
import sys
from typing import Any

from p2p import causes
from p2p.errors import StorageError


class _Answers(io.FileIO):
    """Raises StorageError for the first write that fails, and then loses the rest."""

    _failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed = True
            again = "Run the command again with another place for its output."
            raise StorageError(f"Cannot write the answer: {causes.explained(error, again, forbidden=again)}") from error


class _Notes(io.FileIO):
    """Loses what cannot be written, but for a reader that has gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError:
            return len(data)


def prepare() -> None:
    """Makes all three streams of this process usable. To be called before anything is opened."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _text(sys.stdout, _Answers(1, "w", closefd=False))
    sys.stderr = _text(sys.stderr, _Notes(2, "w", closefd=False))


def _text(before: Any, raw: io.FileIO) -> io.TextIOWrapper:
    """A text stream like the one before."""
    is_buffered = not raw.isatty() and raw.fileno() != 2
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", "utf-8"),
        errors=getattr(before, "errors", None),
        line_buffering=not is_buffered,
        write_through=getattr(before, "write_through", False),
    )
