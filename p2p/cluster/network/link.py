"""Packets with one other member, over a connection of their own."""

import trio

from p2p.cluster.network.tun import TURN_PACKETS, Tun
from p2p.concurrency.throttle import Throttle
from p2p.core.cluster.backlog import Backlog
from p2p.core.cluster.batches import packed, unpacked
from p2p.core.cluster.line import Line
from p2p.core.cluster.membership import WORD_INTERVAL_S
from p2p.core.cluster.switch import Switch
from p2p.errors import ProtocolViolation
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.wire.cluster import StillThere
from p2p.wire.frames import DataHeader


class Link:
    """The way to one member: `line` has what waits for it."""

    def __init__(self, index: int, connection: Connection, line: Line) -> None:
        self.index = index
        self.connection = connection
        self.line = line
        self.scope = trio.CancelScope()
        """Cancelled, it ends the link: another connection has its place, or the member is gone."""
        self._arrived = connection.arrived
        self._waiting = trio.Event()
        self._backlog = Backlog()
        """Beside the line, as the system's buffer of megabytes would be another, of which nothing could be dropped."""

    def ring(self) -> None:
        """Packets wait in the line."""
        self._waiting.set()

    def has_spoken(self) -> bool:
        """Whether anything has come since this was asked before, be it a part of a frame."""
        before, self._arrived = self._arrived, self.connection.arrived
        return before != self._arrived

    async def run(self, switch: Switch, tun: Tun, upload: Throttle, download: Throttle) -> None:
        """Carries packets both ways, until cancelled. Raises PeerError."""
        self.connection.bound_unsent(self._backlog.bytes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, upload)
            nursery.start_soon(self._say_words)
            await self._receive(switch, tun, download)

    async def _send(self, upload: Throttle) -> None:
        while True:
            packets = self.line.take(trio.current_time())
            if packets:
                size = sum(map(len, packets))
                await upload.spend(size)
                await self.connection.send_data(0, 0, *packed(packets))
                if self.line.bytes and self._backlog.sent(size, trio.current_time()):
                    self.connection.bound_unsent(self._backlog.bytes)
            else:
                self._backlog.idle()
                await self.connection.flush()
                self._waiting = trio.Event()
                if not self.line.bytes:
                    await self._waiting.wait()

    async def _receive(self, switch: Switch, tun: Tun, download: Throttle) -> None:
        connection, index = self.connection, self.index
        pace = Pace(connection)
        buffer = memoryview(bytearray(0))
        handled = 0
        while True:
            message = await connection.receive()
            if isinstance(message, StillThere):
                await pace.spend(message)
                continue
            if not isinstance(message, DataHeader):
                raise ProtocolViolation(f"a {type(message).__name__} among packets")
            if message.size > len(buffer):
                buffer = memoryview(bytearray(message.size))
            body = buffer[: message.size]
            await connection.receive_body(body)
            for packet in unpacked(body):
                if switch.takes(index, packet):
                    tun.write(packet)
                handled += 1
                if handled % TURN_PACKETS == 0:
                    await trio.lowlevel.checkpoint()
            await download.spend(message.size)

    async def _say_words(self) -> None:
        sent = -1
        while True:
            if self.connection.bytes_out == sent:
                await self.connection.send(StillThere())
            sent = self.connection.bytes_out
            self.connection.use.worked(WORD_INTERVAL_S)
            await trio.sleep(WORD_INTERVAL_S)
