"""Finds a peer for a command: the one running in this home, or a new one in the foreground while the command runs.

Exit codes are those of docs/cli.md.
"""

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio

from p2p import config
from p2p.commandline import terminal
from p2p.commandline.terminal import Seen, ignored
from p2p.concurrency.ending import ending_signals
from p2p.concurrency.walls import Wall
from p2p.config import Config, Loaded, Settings
from p2p.control import client
from p2p.control.client import NotTaken
from p2p.control.handover import Handover
from p2p.control.protocol import AnyRequest
from p2p.errors import HomeInUse, NotFound, ShoalError
from p2p.log import FAILED, explain

if TYPE_CHECKING:
    from p2p.node import Node

PROGRAM = Wall("command line")

DONE, INTERRUPTED = 0, terminal.INTERRUPTED


class OpenNode(Protocol):
    """The type of `p2p.node.open_node`, which runs a peer while a context lasts."""

    def __call__(self, home: Path, config: Config, *, foreground: bool) -> "AbstractAsyncContextManager[Node]": ...


def run(
    command: Callable[[], Awaitable[int]], *, interrupted: str | Callable[[], str] = "", nobody: int = FAILED
) -> int:
    """Runs an async command; returns its exit code, which is `nobody` for a NotFound.

    `interrupted` is what to say after Ctrl-C.
    """
    # Until the command handles it, Ctrl-C simply ends the process, without a stack trace.
    for number in ending_signals():
        signal.signal(number, signal.SIG_DFL)
    # What was imported is never garbage, and a peer makes few cycles: looking for them took 4 % of a transfer's time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    hung_up = False
    try:
        with PROGRAM.around():
            try:
                code = trio.run(command)
            except* BrokenPipeError:  # in a group if it comes from inside a peer
                hung_up = True
        if hung_up:
            raise BrokenPipeError
    except NotFound as error:
        return explain(error, nobody)
    except ShoalError as error:
        return explain(error)
    if code == INTERRUPTED:
        said = interrupted if isinstance(interrupted, str) else interrupted()
        print(f"Interrupted. {said}".rstrip(), file=sys.stderr)
    return code


def node_opener() -> "OpenNode":
    """Returns `open_node`, imported only now: commands that ask a running peer start faster without it."""
    gc.disable()
    from p2p.node import open_node

    gc.freeze()  # what this import made, as above
    gc.enable()
    return open_node


async def perform(
    home: Path,
    request: AnyRequest,
    settings: Settings | None,
    show: Callable[[Any], int | None],
    *,
    stay: bool,
    seen: Seen = ignored,
) -> int:
    """Performs the request on the peer running in the home, or if there is none, on a peer run in the foreground.

    `seen` is told of all progress. If `settings` is None, no peer is started, and it raises ShoalError if none is
    running.
    """
    loaded = config.load(home, os.environ, settings or {})
    interrupted = terminal.on_signal()
    handover = Handover(trio.current_time())
    while True:
        try:
            if await client.is_running(home):
                if settings:
                    terminal.note(
                        "a peer is running in this home: "
                        "it keeps its own network options, and those given here are ignored"
                    )
                return await terminal.until_answered(partial(client.ask, home, request), show, interrupted, seen)
            if settings is None:
                raise ShoalError(f"No peer is running in {home}. Start one with `shoal node`.")
            return await _in_foreground(home, request, loaded, show, interrupted, stay=stay, seen=seen)
        except (HomeInUse, NotTaken) as error:
            # The peer of another command is about to listen, or has just stopped.
            if interrupted.is_set():
                raise
            await trio.sleep(handover.wait_s(error, trio.current_time()))


async def _in_foreground(
    home: Path,
    request: AnyRequest,
    loaded: Loaded,
    show: Callable[[Any], int | None],
    interrupted: trio.Event,
    *,
    stay: bool,
    seen: Seen,
) -> int:
    async with node_opener()(home, loaded.config, foreground=True) as running:
        for note in running.notes:
            terminal.note(note)
        here = partial(running.operations.perform, request, keep_serving=False)
        failure: ShoalError | None = None
        try:
            code = await terminal.until_answered(here, show, interrupted, seen)
        except ShoalError as error:
            failure, code = error, FAILED
            if running.activity.is_busy:
                terminal.note(f"{error} Other commands use this peer: it ends once they have.")
        if stay and failure is None and code != INTERRUPTED:
            terminal.note(f"Serving the share from {running.addresses[0]} until Ctrl-C.")
            await interrupted.wait()
        # Other commands may be using this peer by now.
        await terminal.first_of(running.activity.idle, interrupted.wait)
    if failure is not None:
        raise failure
    return code
