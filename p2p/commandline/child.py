"""A peer that a program in Python started, as a process of its own: `python -m p2p.commandline.child HOME SETTINGS`.

SETTINGS are those of flags, as JSON. Its stdin is a pipe that the program holds open: it ends when the program closes
that, or is killed; but as long as other programs or commands use it, it goes on for them. On stdout, as events of the
control socket, it says what its user should know, then that it is ready, or why it is not; and after the end of the
pipe, if it is, that it goes on.
"""

import gc
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from p2p import config, log
from p2p.commandline import running, terminal
from p2p.concurrency.activity import Activity
from p2p.config import Settings
from p2p.control import protocol
from p2p.control.protocol import Answer, Event, Failure, Note
from p2p.errors import ShoalError

HANGING_UP_S = 0.5
"""How long requests that the program gave up with its pipe may take to end, before they count as those of others."""


def main() -> None:
    """Runs the peer of the home that the arguments name."""
    gc.set_threshold(200_000, 20, 20)  # as in `start`
    home, settings = sys.argv[1:]
    log.set_up(verbose=False)
    sys.exit(running.run(partial(_serve, Path(home), msgspec.json.decode(settings, type=Settings))))


async def _serve(home: Path, settings: Settings) -> int:
    interrupted = terminal.on_signal()
    try:
        _check(settings)
        loaded = config.load(home, os.environ, settings)
        async with running.node_opener()(home, loaded.config, foreground=True) as node:
            for note in node.notes:
                _say(Note(note))
            _say(Answer(None))
            await terminal.first_of(partial(_used, node.activity), interrupted.wait)
    except ShoalError as error:
        _say(Failure(type(error).__name__, str(error)))
        return log.FAILED
    return running.DONE


def _check(settings: Settings) -> None:
    """Raises ConfigError for trackers that are none, as the command line does."""
    if trackers := settings.get("network", {}).get("trackers"):
        from p2p.net.http import check_url

        settings["network"]["trackers"] = [check_url(url) for url in trackers]


async def _used(activity: Activity) -> None:
    """Waits for the end of the pipe, and then until nobody uses the peer."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as pipe:
        while await pipe.receive_some():
            pass
    with trio.move_on_after(HANGING_UP_S):
        await activity.idle()
    if activity.is_busy:
        _say(Note("Others use this peer: it ends once they have."))
        # What reads the streams of the program that has ended would wait for their end as well.
        with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: ASYNC230 - it never blocks
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nothing.fileno(), stream.fileno())
    await activity.idle()


def _say(event: Event) -> None:
    with suppress(BrokenPipeError):  # the program was killed
        os.write(sys.stdout.fileno(), protocol.encode(event))


if __name__ == "__main__":
    main()
