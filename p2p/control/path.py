"""Where the control socket of a home is, and who may use it.

It is a Unix socket in the home, for the home's user only: the folder's mode is 0700, the socket's is 0600, and each end
asks the kernel which user the other end belongs to. No web page can reach it: browsers open no Unix sockets.
"""

import hashlib
import os
import socket
import struct
from pathlib import Path
from typing import Protocol

SOCKET_FILE = "control.sock"
MAX_PATH_BYTES = 100
_CREDENTIALS = struct.Struct("3i")


def socket_path(home: Path) -> Path:
    """Returns the path of a home's socket: in the home, or in the runtime folder if the path would be too long for a
    socket.
    """
    path = home.absolute() / SOCKET_FILE
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        return path
    import tempfile  # late: such paths are rare

    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or Path(tempfile.gettempdir()) / f"shoal-{os.getuid()}")
    return runtime / f"shoal-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


class Connected(Protocol):
    """A connected socket, of the standard library or of trio."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


def may_ask(connected: Connected) -> bool:
    """Whether this user may use the peer at the other end.

    That is a peer of this user or of root; root may use every user's, such as one that runs as a service.
    """
    return os.getuid() == 0 or is_own_user(connected)


def is_own_user(connected: Connected) -> bool:
    """Whether the process at the other end belongs to this user or to root."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode must be protection enough
    packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(packed)
    return user in {os.getuid(), 0}
