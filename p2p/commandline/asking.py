"""Has a peer perform a command's request, and prints the answer to stdout."""

import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from p2p.commandline.options import Global

if TYPE_CHECKING:
    from p2p.commandline.terminal import Seen
    from p2p.config import Settings
    from p2p.control.protocol import AnyRequest

DONE, FAILED, NOBODY, INCOMPLETE = 0, 1, 3, 4


def perform(
    request: "AnyRequest",
    settings: "Settings | None",
    show: Callable[[Any], int | None],
    *,
    stay: bool = False,
    interrupted: "str | Callable[[], str]" = "",
    nobody: int = FAILED,
    seen: "Seen | None" = None,
) -> NoReturn:
    """Has the peer in this home perform the request, shows the answer, and exits with the code that `show` returns.

    `seen` is told of all progress.
    """
    from p2p.commandline import running as command

    performed = partial(command.perform, Global.home, request, settings, show, stay=stay)
    if seen is not None:
        performed = partial(performed, seen=seen)
    sys.exit(command.run(performed, interrupted=interrupted, nobody=nobody))


def either(as_json: bool, table: Callable[[Any], None]) -> Callable[[Any], None]:
    """Returns what shows an answer: as JSON if that was asked for, otherwise with `table`."""
    return (lambda answer: print_answer(as_text(answer))) if as_json else table


def for_people(link: str) -> str:
    """The link or, on a terminal, the command that fetches what it leads to."""
    return shlex.join(("shoal", "get", link)) if sys.stdout.isatty() else link


def as_text(answer: object, **more: object) -> str:
    """An answer as JSON text, with `more` fields that the command adds."""
    import msgspec

    plain = msgspec.to_builtins(answer)
    return json.dumps({**plain, **more} if more else plain)


def print_answer(text: str) -> None:
    """Prints the text and flushes stdout, as another program may be waiting for it."""
    print(text, flush=True)
