"""What the objects of one `Peer` have in common: the peer of the home, which is held while they are in use."""

import threading
import time
from pathlib import Path
from typing import Any

from p2p.client import forks
from p2p.client.call import Call, Hold, Told
from p2p.control.reply import NotTaken
from p2p.errors import ConfigError

TURN_TIMEOUT_S = 60.0
"""How long to wait for a peer of the home that is starting or stopping."""
TURN_POLL_S = 0.05


class Session:
    """The use of the peer that runs in a home, by any number of threads, until it is closed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._changing = threading.Lock()
        self._hold: Hold | None = None
        self._is_closed = False
        forks.inherited.add(self)

    def reach(self) -> None:
        """Sees to it that a peer runs in the home and is held. Raises NotTaken if none does; ConfigError if closed."""
        with self._changing:
            if self._is_closed:
                raise ConfigError("This Peer is closed. Make another one.")
            if self._hold is None or not self._hold.lasts():
                self._let_go()
                self._hold = Hold(self.home)

    def perform(self, call: Call, told: Told) -> Any:
        """Has the peer perform a call. Returns the answer. Raises as `Call.perform` and `reach` do.

        A peer that stops before it has read the request is none: the one that follows it is asked.
        """
        until = time.monotonic() + TURN_TIMEOUT_S
        while True:
            self.reach()
            try:
                return call.perform(self.home, told)
            except NotTaken:
                if time.monotonic() > until:
                    raise
                time.sleep(TURN_POLL_S)

    def close(self) -> None:
        """Lets the peer go. Closing once more does nothing."""
        with self._changing:
            self._is_closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.end()
            self._hold = None

    def forked(self) -> None:
        """Begins again: the hold was that of the process that forked this one."""
        self._changing = threading.Lock()
        self._hold = None
        forks.inherited.add(self)
