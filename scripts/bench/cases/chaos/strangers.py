"""What strangers send to the node under test: garbage over TCP and UDP and into the control socket, and connections
that say nothing, or half of something.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random

from scripts.bench.cases.chaos.crew import Crew

CONNECTIONS = 40
DATAGRAMS = 300
SILENT = 150
HANDSHAKE = bytes.fromhex("1603010200010001fc0303")
"""The beginning of a TLS handshake."""
TIMEOUT_S = 1.0


@contextmanager
def garbage(crew: Crew, chance: Random) -> Iterator[str]:
    """Random bytes over TCP, some after the beginning of a handshake."""
    for _ in range(CONNECTIONS):
        beginning = chance.choice((b"", HANDSHAKE))
        said = beginning + chance.randbytes(chance.randrange(1, 1 << 16))
        with suppress(OSError), socket.create_connection(crew.node.address, TIMEOUT_S) as stream:
            stream.sendall(said)
            if chance.random() < 0.5:
                stream.shutdown(socket.SHUT_WR)
    yield f"{CONNECTIONS} connections"


@contextmanager
def datagrams(crew: Crew, chance: Random) -> Iterator[str]:
    """Random bytes over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(DATAGRAMS):
            said = chance.randbytes(chance.randrange(1500))
            with suppress(OSError):
                sender.sendto(said, crew.node.address)
        yield f"{DATAGRAMS} datagrams"


@contextmanager
def half_open(crew: Crew, chance: Random) -> Iterator[str]:
    """Connections that stay open and say nothing, or the beginning of a handshake and no more."""
    with ExitStack() as stack:
        for _ in range(SILENT):
            said = HANDSHAKE[: chance.randrange(len(HANDSHAKE))]
            with suppress(OSError):
                stream = stack.enter_context(socket.create_connection(crew.node.address, TIMEOUT_S))
                stream.sendall(said)
        yield f"{SILENT} connections"


@contextmanager
def control_garbage(crew: Crew, chance: Random) -> Iterator[str]:
    """Random bytes into the control socket, and connections to it that say nothing."""
    with ExitStack() as stack:
        for _ in range(CONNECTIONS // 4):
            said = chance.randbytes(chance.randrange(1, 1 << 12))
            stream = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            stream.settimeout(TIMEOUT_S)
            with suppress(OSError):
                stream.connect(str(crew.node.home / "control.sock"))
                if chance.random() < 0.7:
                    stream.sendall(said)
        yield f"{CONNECTIONS // 4} connections"
