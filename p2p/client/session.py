"""What the objects of one `Peer` have in common: the peer of the home, which is held while they are in use."""

import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2p.client import forks
from p2p.client.call import Call, Hold, Told
from p2p.config import Settings
from p2p.control.handover import Handover
from p2p.control.reply import NotTaken
from p2p.errors import ConfigError, HomeInUse

if TYPE_CHECKING:
    from p2p.client.child import Child


class Session:
    """The use of the peer that runs in a home, by any number of threads, until it is closed.

    If none runs there, one is started, with these settings.
    """

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home = home
        self._settings = settings
        self._changing = threading.Lock()
        self._hold: Hold | None = None
        self._child: Child | None = None
        self._calls: weakref.WeakSet[Call] = weakref.WeakSet()
        self._is_closed = False
        forks.inherited.add(self)

    @property
    def has_started(self) -> bool:
        """Whether the peer is one that was started for this session."""
        return self._child is not None

    def reach(self) -> None:
        """Sees to it that a peer runs in the home and is held. Raises what keeps it from starting, or ConfigError."""
        with self._changing:
            if self._is_closed:
                raise ConfigError("This Peer is closed. Make another one.")
            if self._hold is None or not self._hold.lasts():
                self._let_go()
                self._hold = self._held()

    def _held(self) -> Hold:
        handover = Handover(time.monotonic())
        while True:
            try:
                return Hold(self.home)
            except NotTaken as error:
                handover.wait_s(error, time.monotonic())
            try:
                self._let_go()
                from p2p.client.child import Child  # late: most programs find a peer that runs

                self._child = Child(self.home, self._settings)
            except HomeInUse as error:
                # The peer of a command or of another program is about to listen, or is stopping.
                time.sleep(handover.wait_s(error, time.monotonic()))

    def perform(self, call: Call, told: Told) -> Any:
        """Has the peer perform a call. Returns the answer. Raises as `Call.perform` and `reach` do.

        A peer that stops before it has read the request is none: the one that follows it is asked.
        """
        handover = Handover(time.monotonic())
        with self._changing:
            self._calls.add(call)
        while True:
            self.reach()
            try:
                return call.perform(self.home, told)
            except NotTaken as error:
                time.sleep(handover.wait_s(error, time.monotonic()))

    def close(self) -> None:
        """Ends the calls that are under way, and lets the peer go. Closing once more does nothing."""
        with self._changing:
            self._is_closed = True
            for call in list(self._calls):
                call.hang_up()
            self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.end()
            self._hold = None
        if self._child is not None:
            self._child.close()
            self._child = None

    def forked(self) -> None:
        """Begins again: what this had was of the process that forked this one."""
        self._changing = threading.Lock()
        self._hold = self._child = None
        self._calls = weakref.WeakSet()
        forks.inherited.add(self)
