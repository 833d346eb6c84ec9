"""Waiting for a peer's next word: one that is slow is waited for, one that has stopped working is not."""

import socket
import struct
from contextlib import suppress
from pathlib import Path

from p2p.control import protocol
from p2p.control.path import socket_path
from p2p.errors import PeerGone

SILENCE_S = 5.0
"""After how long a silence the peer is asked on another connection whether it works at all."""
SIGN_TIMEOUT_S = 10.0
"""How long it may take to answer that: no work of a peer keeps it from answering for so long."""
PIECE_BYTES = 65536


def heard(connected: socket.socket, home: Path) -> bytes:
    """The next bytes from the peer of the home; b"" at the end. Raises PeerGone if it has stopped working."""
    connected.settimeout(SILENCE_S)  # also, a Ctrl-C that came just before the call that blocks is seen by then
    while True:
        try:
            return connected.recv(PIECE_BYTES)
        except TimeoutError:
            if not _works(home):
                raise _silent(connected, home) from None


def say(connected: socket.socket, line: bytes, home: Path) -> None:
    """Sends a line to the peer of the home. Raises PeerGone if it takes nothing."""
    connected.settimeout(SILENCE_S + SIGN_TIMEOUT_S)
    try:
        connected.sendall(line)
    except TimeoutError:
        raise _silent(connected, home) from None


def _works(home: Path) -> bool:
    """Whether the peer answers anything, or has ended, which its connections tell."""
    with socket.socket(socket.AF_UNIX) as other, suppress(OSError):
        other.settimeout(SIGN_TIMEOUT_S)
        try:
            other.connect(str(socket_path(home)))
            other.sendall(protocol.encode(protocol.HoldRequest()))
            other.recv(1)
        except TimeoutError:
            return False
    return True


def _silent(connected: socket.socket, home: Path) -> PeerGone:
    process = "PID"
    if hasattr(socket, "SO_PEERCRED"):
        process = str(*struct.unpack("i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)))
    return PeerGone(
        f"The peer of {home} says nothing any more: it was stopped, or its machine is overloaded. To let it go on, "
        f"`kill -CONT {process}`; to end it, `kill -KILL {process}`. Then call this again."
    )
