"""A peer that this program starts, because none runs in the home: a process of its own, which ends with the program.

It also ends if the program is killed, as a pipe then breaks. If others use it by then, it goes on for them.
"""

import logging
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from p2p import config
from p2p.client import forks
from p2p.control import protocol
from p2p.control.reply import Reply
from p2p.errors import StorageError
from p2p.log import printable

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 60.0
"""How long `close` waits for a peer that is saving what it has."""
_COMMAND = ("-P", "-m", "p2p.commandline.child")
_PIECE_BYTES = 65536


class Child:
    """A peer as a child process. It is ready when this is made, and is told to end by `close`.

    Raises HomeInUse if another peer has the home by now, and whatever else keeps it from starting.
    """

    def __init__(self, home: Path, settings: config.Settings) -> None:
        command = [sys.executable, *_COMMAND, str(home), msgspec.json.encode(settings).decode()]
        # In a session of its own, as Ctrl-C in the terminal is for the program alone.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/", start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe, self._said = self._process.stdin, self._process.stdout
        forks.inherited.add(self)
        try:
            self._await_start(home)
        except BaseException:
            self.close()
            raise

    def _await_start(self, home: Path) -> None:
        reply = Reply(protocol.HoldRequest())
        while data := os.read(self._said.fileno(), _PIECE_BYTES):
            for event in reply.feed(data):
                if isinstance(event, protocol.Note):
                    logger.warning("%s", printable(event.text))
            if reply.is_whole:
                reply.answer()
                return
        raise StorageError(f"The peer that was started in {home} ended at once. What it wrote to stderr says why.")

    def close(self) -> None:
        """Tells the peer to end, and waits until it has; but not if others use it. Closing once more does nothing."""
        if self._said.closed:
            return
        self._pipe.close()
        try:
            poll = select.poll()
            poll.register(self._said, select.POLLIN)
            if poll.poll(CLOSE_TIMEOUT_S * 1000) and not os.read(self._said.fileno(), _PIECE_BYTES):
                self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._said.close()
            if self._process.returncode is None:
                with suppress(RuntimeError):  # the interpreter is about to end
                    threading.Thread(target=self._process.wait, name="shoal-peer", daemon=True).start()

    def forked(self) -> None:
        """Closes this process's copies of the pipes: the peer is a child of the process that forked it."""
        for pipe in (self._pipe, self._said):
            with suppress(OSError):
                pipe.close()
        self._process.returncode = 0  # or Popen would complain that it still runs
