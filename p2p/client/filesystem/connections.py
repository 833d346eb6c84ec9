"""HTTP with the peer of a home, on its control socket. A connection is used by one thread at a time, and kept."""

import errno
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from p2p.client import forks
from p2p.client.call import connect
from p2p.client.session import Session
from p2p.control.handover import Handover
from p2p.control.reply import NotTaken

MAX_IDLE = 8
SLACK_S = 30.0
"""How much longer than the peer itself a request waits: the peer then says why nothing came."""


class Answer(NamedTuple):
    """What the peer answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Connections:
    """Requests to the peer of a home, which is started if none runs. Any thread may ask.

    A process that was forked begins with new connections.
    """

    def __init__(self, home: Path, wait_s: float) -> None:
        """`wait_s` is how long the peer may wait for others that have what is asked for."""
        self._session = Session(home, {})
        self._home = home
        self._wait_s = wait_s
        self._idle: list[_Connection] = []
        self._changing = threading.Lock()
        forks.inherited.add(self)

    def ask(self, method: str, target: str, headers: dict[str, str]) -> Answer:
        """Asks for something. Raises ConnectionError if the peer ends midway, TimeoutError if it says nothing, and the
        ShoalErrors of a peer that cannot be started.
        """
        headers = {"Prefer": f"wait={round(self._wait_s)}", **headers}
        while True:
            with self._connection() as connection:
                was_used = connection.is_used
                try:
                    connection.is_used = True
                    connection.request(method, target, headers=headers)
                    response = connection.getresponse()
                except ConnectionError as error:
                    connection.close()
                    if was_used:  # it was closed since: the peer has other things to do, or is another one by now
                        continue
                    raise _broken_off() from error
                except TimeoutError as error:
                    text = f"The peer said nothing for {connection.timeout:.0f} seconds. Look whether it still runs."
                    raise TimeoutError(errno.ETIMEDOUT, text) from error
                try:
                    return Answer(response.status, response.headers, response.read())
                except (ConnectionError, http.client.IncompleteRead) as error:
                    raise _broken_off() from error

    @contextmanager
    def _connection(self) -> Iterator["_Connection"]:
        with self._changing:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connected()
        try:
            yield connection
        except BaseException:
            connection.close()  # an answer may be half read
            raise
        with self._changing:
            if connection.sock is not None and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self) -> "_Connection":
        handover = Handover(time.monotonic())
        while True:
            self._session.reach()
            connection = _Connection(self._home, self._wait_s + SLACK_S)
            try:
                connection.connect()
            except NotTaken as error:  # it stopped in between
                time.sleep(handover.wait_s(error, time.monotonic()))
            else:
                return connection

    def close(self) -> None:
        """Closes what is idle, and lets the peer go. The next request connects again."""
        with self._changing:
            session, self._session = self._session, Session(self._home, {})
        self._close_idle()
        session.close()

    def end(self) -> None:
        """Closes for good."""
        self._close_idle()
        self._session.close()

    def _close_idle(self) -> None:
        with self._changing:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def forked(self) -> None:
        """Drops the connections, which belong to the process that forked this one."""
        self._changing = threading.Lock()
        for connection in self._idle:
            connection.close()
        self._idle = []
        forks.inherited.add(self)


class _Connection(http.client.HTTPConnection):
    """A connection to the control socket of a home."""

    timeout: float

    def __init__(self, home: Path, timeout_s: float) -> None:
        super().__init__("shoal", timeout=timeout_s)
        self._home = home
        self.is_used = False

    def connect(self) -> None:
        self.sock = connect(self._home)
        self.sock.settimeout(self.timeout)


def _broken_off() -> ConnectionError:
    return ConnectionResetError(
        errno.ECONNRESET,
        "The peer ended the answer midway: it was stopped, or others no longer have the share. Read again.",
    )
