"""One request to a running peer, over a connection of its own. It blocks until the peer has answered."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from p2p.client import forks, hearing
from p2p.control import protocol
from p2p.control.path import may_ask, socket_path
from p2p.control.protocol import AnyRequest, Note, Piece, Update
from p2p.control.reply import NotTaken, Reply, nobody
from p2p.errors import ConfigError, PeerGone, ShoalError

ENDING_S = 2.0
"""How long an interrupted call waits for the peer to end what it asked for."""
_AGAIN = "Call this again, which starts one if need be"
_GO_ON = "`Peer.jobs` lists the job, `Peer.resume` goes on with it"

Told = Callable[[Update | Note], None]
"""Receives the events that come before the answer."""


class Call:
    """A request that one thread performs, and any other may end by `hang_up`. Raises ConfigError for a wrong request.

    Hanging up ends the request in the peer too; so does an exception, such as KeyboardInterrupt, in `perform`.
    """

    def __init__(self, request: AnyRequest) -> None:
        self._request = request
        self._line = protocol.encode(_checked(request))
        self._changing = threading.Lock()
        self._connected: socket.socket | None = None
        self._is_over = False
        forks.inherited.add(self)

    def perform(self, home: Path, told: Told) -> Any:
        """Asks the peer that runs in the home. Returns the answer.

        Raises the ShoalError that the peer raised; NotTaken if no peer runs, or not long enough to read the request;
        PeerGone if it stops before it has answered, or no longer works, or this call is hung up.
        """
        with connect(home) as connected:
            with self._changing:
                self._connected = connected
                if self._is_over:
                    connected.shutdown(socket.SHUT_WR)
            try:
                return self._answer(connected, home, told)
            except ShoalError:
                raise
            except BaseException:
                _await_end(connected)
                raise
            finally:
                with self._changing:
                    self._connected = None

    def _answer(self, connected: socket.socket, home: Path, told: Told) -> Any:
        reply, reset = Reply(self._request), None
        try:
            hearing.say(connected, self._line, home)
            while data := hearing.heard(connected, home):
                for event in reply.feed(data):
                    if not isinstance(event, Piece):  # no call reads a file
                        told(event)
                if reply.is_whole:
                    return reply.answer()
        except ConnectionError as error:
            reset = error
        if self._is_over:
            raise PeerGone("This call was cancelled.") from reset
        raise reply.broken_off(reset=reset is not None, again=_AGAIN, go_on=_GO_ON) from reset

    def hang_up(self) -> None:
        """Ends the request. `perform` still tells what the peer had said until then."""
        with self._changing:
            self._is_over = True
            if self._connected is not None:
                with suppress(OSError):  # the peer was quicker
                    self._connected.shutdown(socket.SHUT_WR)

    def forked(self) -> None:
        """Closes this process's copy of the connection."""
        if self._connected is not None:
            self._connected.close()


class Hold:
    """Keeps the peer of a home running while it lasts. Raises NotTaken if none runs there, PeerGone if it says nothing,
    and Refused if too many hold it.
    """

    def __init__(self, home: Path) -> None:
        reply, held = Reply(protocol.HoldRequest()), False
        self._connected = connect(home)
        try:
            with suppress(ConnectionError):
                hearing.say(self._connected, protocol.encode(protocol.HoldRequest()), home)
                while not held and not reply.is_whole and (data := hearing.heard(self._connected, home)):
                    held = any(True for _ in reply.feed(data))
            if reply.is_whole:
                reply.answer()
            if not held:
                raise NotTaken("The running peer is stopping. Try again.")
            self._connected.setblocking(False)
        except BaseException:
            self._connected.close()
            raise
        forks.inherited.add(self)

    def lasts(self) -> bool:
        """Whether the peer is still there."""
        try:
            return bool(self._connected.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def end(self) -> None:
        """Lets the peer go."""
        with suppress(OSError):
            self._connected.shutdown(socket.SHUT_RDWR)
        self._connected.close()

    def forked(self) -> None:
        """Closes this process's copy of the connection, by which the process that forked it goes on."""
        self._connected.close()


def connect(home: Path) -> socket.socket:
    """Connects to the peer of a home. Raises NotTaken if none is running there that this user may use."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(str(socket_path(home)))
        if may_ask(connected):
            return connected
    except OSError as error:
        connected.close()
        raise nobody(home) from error
    except BaseException:
        connected.close()
        raise
    connected.close()
    raise nobody(home)


def _await_end(connected: socket.socket) -> None:
    """Hangs up, and waits until the peer has ended what it was asked for, which may be asked for again at once."""
    with suppress(OSError):
        connected.shutdown(socket.SHUT_WR)
        connected.settimeout(ENDING_S)
        while connected.recv(hearing.PIECE_BYTES):
            pass


def _checked(request: AnyRequest) -> AnyRequest:
    """The request, if the types of its fields are right, as nothing else has looked at them."""
    try:
        return msgspec.convert(msgspec.to_builtins(request), type(request))
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"{request.__struct_config__.tag}: {error}.") from error
