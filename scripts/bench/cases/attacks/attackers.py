"""Attackers of one peer, in a process of their own, with 96 identities in five networks of the loopback interface.

64 are in one /24 and 8 in each of four others, as when one machine has a whole subnet and a few more. Whoever is
dropped comes again a second later. Run with `python -m`; its arguments are the kind of attack, the address and the
share. Prints a line once all have tried.
"""

import itertools
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio

from p2p.errors import ShoalError
from p2p.identity import load_or_create
from p2p.ids import from_text
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer, wrap
from p2p.net.tls import Contexts
from p2p.wire import messages
from p2p.wire.address import Address, parse_address
from p2p.wire.frames import DataHeader

NETWORK = "bench"
HOSTS = [f"127.1.1.{n}" for n in range(1, 65)] + [f"127.{net}.1.{n}" for net in (2, 3, 4, 5) for n in range(1, 9)]
CONNECTIONS_OF_A_HOLDER = 16
SLOW_BYTES_PER_S = 30_000
ASK_INTERVAL_S = 50.0
OPEN_INTERVAL_S = 0.5
COMES_AGAIN_S = 1.0
TRYING_S = 3.0


class Attacker:
    """One identity at one address of the loopback interface."""

    def __init__(self, host: str, home: Path, target: Address, share: bytes) -> None:
        identity = load_or_create(home)
        self._host = host
        self._target = target
        self._dialer = Dialer(identity, Contexts(identity, home, NETWORK), NETWORK)
        self.share = share

    async def dial(self) -> Connection:
        """Connects from its own address. Raises ShoalError, OSError."""
        dialer = self._dialer
        tcp = await trio.open_tcp_stream(self._target.host, self._target.port, local_address=self._host)
        stream = wrap(tcp.socket, dialer.contexts, server=False)
        try:
            listener = await stream.handshake(NETWORK)
            assert listener is not None
            connection = Connection(stream)
            hello = dialer.hello(stream)
            await connection.greet_listener(dialer.identity, NETWORK, listener, stream.remote_host, hello)
        except BaseException:
            stream.close()
            raise
        return connection


async def reads_slowly(attacker: Attacker, connection: Connection) -> None:
    """Asks for everything, and reads 30 kB/s of it."""
    await connection.send(messages.Open(share=attacker.share))
    have = await connection.receive()
    if not isinstance(have, messages.Have):
        return
    most = max((first + count for first, count in have.ranges), default=1024)
    await connection.send(messages.Want(first=0, count=most))
    buffer = memoryview(bytearray(SLOW_BYTES_PER_S // 10))
    while True:
        await connection._stream.receive_exactly_into(buffer)
        await trio.sleep(0.1)


async def holds(attacker: Attacker, connection: Connection) -> None:
    """Asks for one small thing now and then, so as not to be silent."""
    while True:
        await connection.send(messages.GetPointer(publisher=bytes(32), name="x"))
        await connection.receive()
        await trio.sleep(ASK_INTERVAL_S)


async def opens(attacker: Attacker, connection: Connection) -> None:
    """Asks for the share's list of chunks twice a second, and reads it."""
    await connection.send(messages.Open(share=attacker.share))
    await connection.receive()
    await trio.sleep(OPEN_INTERVAL_S)


async def offers_nothing(attacker: Attacker, connection: Connection) -> None:
    """Opens an exchange with a peer that fetches, and has nothing."""
    await connection.send(messages.Open(share=attacker.share))
    if isinstance(await connection.receive(), messages.Failed):
        return
    await connection.send(messages.Have())
    while True:
        await connection.receive()


async def crumbles(attacker: Attacker, connection: Connection) -> None:
    """Claims to have every chunk, and answers with frames of one byte."""
    await connection.send(messages.Open(share=attacker.share))
    if isinstance(await connection.receive(), messages.Failed):
        return
    await connection.send(messages.Have(ranges=((0, 1024),)))
    byte = memoryview(b"x")
    while True:
        message = await connection.receive()
        if isinstance(message, DataHeader):
            await connection.receive_body(memoryview(bytearray(message.size)))
        if isinstance(message, messages.Want):
            for at in range(1 << 18):
                await connection.send_data(message.first, at, byte)


KINDS: dict[str, tuple[Callable[[Attacker, Connection], Awaitable[None]], int, float]] = {
    "slow readers": (reads_slowly, 1, COMES_AGAIN_S),
    "idle connections": (holds, CONNECTIONS_OF_A_HOLDER, COMES_AGAIN_S),
    "opens": (opens, 1, 0.0),
    "idle sources": (offers_nothing, 1, COMES_AGAIN_S / 5),
    "crumbs": (crumbles, 1, COMES_AGAIN_S / 5),
}
"""What the attackers do on a connection, how many connections each has, and after how long it comes again."""


async def attack(kind: str, target: Address, share: bytes) -> None:
    """Attacks until the process is ended."""
    behave, connections, again_s = KINDS[kind]

    async def insist(attacker: Attacker) -> None:
        while True:
            with suppress(ShoalError, OSError):
                connection = await attacker.dial()
                try:
                    await behave(attacker, connection)
                finally:
                    connection.close()
            await trio.sleep(again_s)

    with tempfile.TemporaryDirectory() as homes:
        async with trio.open_nursery() as nursery:
            for host, _ in itertools.product(HOSTS, range(connections)):
                home = Path(homes) / host
                home.mkdir(exist_ok=True)
                nursery.start_soon(insist, Attacker(host, home, target, share))
            await trio.sleep(TRYING_S)
            print("at it", flush=True)


if __name__ == "__main__":
    trio.run(attack, sys.argv[1], parse_address(sys.argv[2]), from_text(sys.argv[3]))
