"""TLS 1.3 on a non-blocking `ssl.SSLSocket`, awaited with trio.

Of the ways to use TLS that were measured with scripts/bench/transfer.py, this is the fastest. A TLS record of 16 KiB
takes only one read, directly into a slice of the target buffer; trio is called only when the socket is empty or full.
The code that uses a connection sees a `ByteStream`, so that tests can use in-memory pipes.
"""

import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import trio

from p2p import causes
from p2p.errors import PeerGone
from p2p.identity import KEY_FILE, Identity, key_of_certificate, write_certificate
from p2p.ids import PeerId
from p2p.wire import handshake
from p2p.wire.address import canonical

STALL_TIMEOUT_S = 60.0
MIN_READ_BYTES = 8 * 1024
"""A peer that reads less than this in STALL_TIMEOUT_S, while bytes wait for it, counts as gone."""
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ACKED = slice(120, 128)
"""Where the kernel's `struct tcp_info` has `tcpi_bytes_acked`."""

_USER_TIMEOUT_MS = 90_000


class ByteStream(Protocol):
    """A secure two-way stream of bytes. Its methods raise PeerGone when the other end is gone."""

    arriving: int
    """How many bytes had come when `receive_exactly_into` last had to wait for more."""

    async def receive_some_into(self, view: memoryview) -> int:
        """Receives at least one byte, and at most as many as the view has. Returns how many."""

    async def receive_exactly_into(self, view: memoryview) -> None:
        """Fills the whole view."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of the data. If it is cancelled, the stream is useless: close it."""

    def close(self) -> None:
        """Closes the stream at once, without a closing message; a task that waits on the stream gets PeerGone."""


class TlsStream:
    """A `ByteStream` over TCP with TLS 1.3."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, *, server: bool) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        self.remote_host = canonical(connected.getpeername()[0])
        self.arriving = 0
        self._room_found = 0
        self._stalled: tuple[float, int] | None = None
        """Since when the peer has read less than it must, and how much it had read by then."""
        self._ssl = context.wrap_socket(connected, server_side=server, do_handshake_on_connect=False)

    async def handshake(self, network: str) -> PeerId | None:
        """Performs the TLS handshake. On the dialer's side, returns the id that the listener proved."""
        while True:
            try:
                self._ssl.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()
            except OSError as error:
                raise PeerGone(f"the TLS handshake failed: {_why(error)}") from error
        handshake.check_alpn(self._ssl.selected_alpn_protocol(), network)
        certificate = None if self._ssl.server_side else self._ssl.getpeercert(binary_form=True)
        return key_of_certificate(certificate) if certificate else None

    async def receive_some_into(self, view: memoryview) -> int:
        while True:
            try:
                count = self._ssl.recv_into(view)
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()
            except OSError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error
            else:
                if not count:
                    raise PeerGone("the peer closed the connection")
                return count

    async def receive_exactly_into(self, view: memoryview) -> None:
        at, end = 0, len(view)
        # `recv_into` is only a wrapper around this, and it would be called 65,536 times per GiB.
        receive = cast("Callable[[int, memoryview], int]", self._ssl.read)
        while at < end:
            try:
                while at < end:
                    count = receive(end - at, view[at:])
                    if not count:
                        raise PeerGone("the peer closed the connection")
                    at += count
            except ssl.SSLWantReadError:
                self.arriving = at
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()
            except OSError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error
            except ValueError as error:
                # `read`, unlike `recv_into`, raises this if another task has just closed the stream.
                raise PeerGone("the connection was closed") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        at, end = 0, len(view)
        send = self._ssl.send
        while at < end:
            try:
                while at < end:
                    at += send(view[at:])
            except ssl.SSLWantWriteError:
                await self._room()
            except ssl.SSLWantReadError:
                await self._readable()
            except OSError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error

    def close(self) -> None:
        if self._ssl.fileno() != -1:
            trio.lowlevel.notify_closing(self._ssl)
            self._ssl.close()

    async def _readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._ssl)
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise PeerGone("the connection was closed") from error

    async def _room(self) -> None:
        """Waits for room in the socket's queue, of which the system tells only once a good part of it is empty."""
        while True:
            now, read = trio.current_time(), self._received_by_peer()
            if self._stalled is None or read >= self._stalled[1] + MIN_READ_BYTES:
                self._stalled = now, read
            elif now >= self._stalled[0] + STALL_TIMEOUT_S:
                raise PeerGone(f"the peer read almost nothing for {STALL_TIMEOUT_S:.0f} seconds")
            with trio.move_on_at(self._stalled[0] + STALL_TIMEOUT_S):
                await self._writable()
                self._room_found += MIN_READ_BYTES
                return

    def _received_by_peer(self) -> int:
        """How many bytes the peer's system has received. If this one cannot tell, room in the queue counts as many."""
        if _TCP_INFO is None or self._ssl.fileno() == -1:
            return self._room_found
        try:
            told = self._ssl.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.stop)
        except OSError:
            return self._room_found
        return int.from_bytes(told[_ACKED], sys.byteorder) if len(told) == _ACKED.stop else self._room_found

    async def _writable(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._ssl)
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise PeerGone("the connection was closed") from error


class Contexts:
    """The `ssl` contexts of a peer, to dial and to listen: TLS 1.3 only, without session tickets (trio issue 819)."""

    def __init__(self, identity: Identity, home: Path, network: str) -> None:
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, network)
        self.server.load_cert_chain(write_certificate(identity, home), home / KEY_FILE)
        self.server.num_tickets = 0
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, network)
        # The listener is identified by its key, checked after the handshake; no certificate authority is involved.
        self.client.check_hostname = False
        self.client.verify_mode = ssl.CERT_NONE


def _context(protocol: int, network: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.set_alpn_protocols(handshake.alpn(network))
    return context


def _why(error: OSError) -> str:
    return getattr(error, "reason", None) or causes.what(error)
