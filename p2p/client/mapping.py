"""A job made of a function and items: its files, in a folder of their own, and the values that come back."""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from p2p.client import values
from p2p.client.functions import MODULE, Source
from p2p.compute.answers import JobAnswer
from p2p.errors import ConfigError, JobError
from p2p.formats import shortened
from p2p.log import printable_lines
from p2p.sandbox.runtimes import SCIENCE
from p2p.site.shown import Rows

MAX_CARRIED_BYTES = 1024 * 1024
"""The most bytes of items that go along with the job; more of them are an input, which volunteers read by parts."""
_FUNCTION, _ITEMS = "shoal_function", "items"
_ARRAYS_OF = re.compile(r"\b(?:numpy|pandas)\b")
_JOB = """{runtime}import traceback

from p2p.jobs import Inputs
from {function} import {name} as function
from {values} import decode, encode


def job(inputs: Inputs):
    lines = inputs.lines() if inputs else inputs.params(open("{items}").read().splitlines())
    lines.map(each).save("text")


def each(line):
    number, _, text = line.partition("\\t")
    return number + "\\t" + {each}(text)


def of_item(text):
    return encode(function(decode(text)))


def of_call(text):
    try:
        arguments, named = decode(text)
        return "=" + encode(function(*arguments, **named))
    except Exception as error:
        return "!" + encode("".join(traceback.format_exception(error)))
"""
_NAME = 60
_MAX_TRACE = 8000
"""The most characters of the traceback of a call that are kept."""


class Calls:
    """A function that gets each item as its positional and its named arguments.

    What it returns for an item, or the JobError for what it raised, is the result for that item alone.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, item: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        return self.function(*item[0], **item[1])


class Encoded(str):
    """An item that is encoded already."""

    __slots__ = ()


def encoded(item: Any) -> Encoded:
    """The item as it travels. Raises ConfigError for what does not."""
    try:
        return Encoded(values.encode(item))
    except values.Untransferable as error:
        raise ConfigError(f"This cannot be sent: {error}.") from error


class MappedItems:
    """A job that gives each item to the function. Raises ConfigError for what cannot be sent.

    Each item is a line, its number and its text, and so is what the function returns for it.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        send: Collection[str],
        along: Iterable[str] = (),
        runtime: str | None = None,
    ) -> None:
        self._read, each = (_outcome, "of_call") if isinstance(function, Calls) else (values.decode, "of_item")
        source = Source(function.function if isinstance(function, Calls) else function, send, along)
        self.sent = source.sent
        top = Path(tempfile.mkdtemp(prefix="shoal-map-"))
        self._remove = weakref.finalize(self, _remove, top, os.getpid())
        try:
            # The folder's name is that of the job, for whoever lists jobs.
            self.job, self.out, written = top / "job" / source.name[:_NAME], top / "out", top / _ITEMS
            self.job.mkdir(parents=True)
            has_arrays = runtime == SCIENCE or _ARRAYS_OF.search(source.text) is not None
            with written.open("w", encoding="ascii") as file:
                self._count = 0
                for line in _lines(items):
                    file.write(line)
                    self._count += 1
                    has_arrays = has_arrays or values.has_arrays(line)
            self.inputs: tuple[Path, ...] = (written,)
            if written.stat().st_size <= MAX_CARRIED_BYTES:
                written.rename(self.job / _ITEMS)
                self.inputs = ()
            asked = f'RUNTIME = "{SCIENCE}"\n' if has_arrays else ""
            files = {
                "job": _JOB.format(
                    runtime=asked, function=_FUNCTION, name=source.name, values=MODULE, items=_ITEMS, each=each
                ),
                _FUNCTION: source.text,
                MODULE: _own("p2p.client.values"),
            }
            if has_arrays:
                files[values.ARRAYS] = _own("p2p.client.arrays")
            for name, text in files.items():
                (self.job / f"{name}.py").write_text(text, encoding="utf-8")
        except BaseException:
            self.remove()
            raise

    def values(self, answer: JobAnswer) -> list[Any]:
        """What the function returned for each item, in their order. Raises JobError if that is not what came back."""
        found: dict[int, Any] = {}
        try:
            for path in answer.saved:
                with open(path, encoding="ascii") as file:
                    for line in file:
                        number, _, text = line.rstrip("\n").partition("\t")
                        found[int(number)] = self._read(text)
            return Rows(found.pop(number) for number in range(self._count))
        except ImportError as error:
            raise ConfigError(
                f"The function returned arrays, and {error.name} is not installed here. Do that."
            ) from error
        except (ValueError, KeyError) as error:
            raise JobError(
                f"What came back is not what the function returned ({error}): a volunteer is at fault."
            ) from error

    def remove(self) -> None:
        """Removes the files. Whatever happens, they are removed at the end of the program."""
        self._remove()


def _outcome(text: str) -> Any:
    """What a call returned, or the JobError for what it raised."""
    found = values.decode(text[1:])
    if text[:1] == "=":
        return found
    if text[:1] != "!" or not isinstance(found, str):
        raise values.Unreadable(f"{text[:60]!r} is neither a value nor an error")
    return JobError(shortened(printable_lines(found), _MAX_TRACE).rstrip())


def _own(module: str) -> str:
    """The text of a module that goes along, without importing it."""
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text(encoding="utf-8")


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not in a process that was forked
        shutil.rmtree(folder, ignore_errors=True)


def _lines(items: Iterable[Any]) -> Iterator[str]:
    for number, item in enumerate(items):
        try:
            yield f"{number}\t{item if isinstance(item, Encoded) else values.encode(item)}\n"
        except values.Untransferable as error:
            raise ConfigError(f"Item {number} cannot be sent: {error}.") from error
