"""A command that runs beside others, has a while to end by itself, and then must end on Ctrl-C."""

import itertools
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.support.measure import ENVIRONMENT, BenchError

PATIENCE_S = 30.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Typed:
    """A command, and the files to which it writes."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def code(self) -> int | None:
        """Its exit code; negative if a signal ended it."""
        return self.process.returncode

    @property
    def out(self) -> str:
        return self.stdout.read_text()

    def wait(self, seconds: float) -> bool:
        """Waits this long; whether it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None


@contextmanager
def typed(folder: Path, argv: Sequence[str], *, shows_traceback: bool = False) -> Iterator[Typed]:
    """Runs a command during the body, and for a while after it. Its output is in files in the folder.

    Raises BenchError if it does not end on Ctrl-C, or if it shows a traceback, unless that is a job's own.
    """
    name = folder / f"typed-{next(_numbers)}"
    out, err = name.with_suffix(".out"), name.with_suffix(".err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        command = Typed(
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=ENVIRONMENT), out, err
        )
    try:
        yield command
        if not command.wait(PATIENCE_S):
            command.process.send_signal(signal.SIGINT)
            if not command.wait(PATIENCE_S):
                raise BenchError(f"does not end within {PATIENCE_S:.0f} s of Ctrl-C: {_words(argv)}")
    finally:
        command.process.kill()
        command.process.wait()
    text = err.read_text(errors="replace")
    if "Traceback" in text and not shows_traceback:
        raise BenchError(f"a traceback from {_words(argv)}:\n{text[-3000:]}")


def _words(argv: Sequence[str]) -> str:
    """The command without its program and home."""
    return " ".join(argv[3:6])
