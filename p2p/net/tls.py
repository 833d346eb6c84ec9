"""TLS 1.3 over two memory BIOs and a non-blocking socket, awaited with trio.

OpenSSL asks a socket twice for every record of 16 KiB: for 5 bytes of header, then for the body. So this module asks
for much more at once, into one buffer that all streams of the process share, and hands it to OpenSSL, which decrypts
each record straight into a slice of the target buffer. trio is called only when the socket is empty or full. Of the
ways to use TLS that were measured with scripts/bench/transfer.py, this is the fastest.
The code that uses a connection sees a `ByteStream`, so that tests can use in-memory pipes.
"""

import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

import trio

from p2p import causes
from p2p.errors import PeerGone
from p2p.homes import KEY_FILE
from p2p.identity import Identity, key_of_certificate, write_certificate
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

_LEAST_READ_BYTES = 32 * 1024
_MOST_READ_BYTES = 1024 * 1024
_LARGE_BYTES = 64 * 1024
"""A stream asks its socket for so much at once: the least at first, and twice as much whenever a caller that wants more
than _LARGE_BYTES gets that. What a memory BIO has held once it keeps, so that only streams which bring much, and fast,
and were asked for it, take much memory: a flood of small messages does not.
"""
_SENT_AT_ONCE_BYTES = 64 * 1024
"""So much is encrypted before it is sent: a peer that does not read has this side keep it, twice."""
_arriving = memoryview(bytearray(_MOST_READ_BYTES))
"""Shared by all streams: what arrives is in their BIO before another task has its turn."""


class ByteStream(Protocol):
    """A secure two-way stream of bytes. Its methods raise PeerGone when the other end is gone."""

    arriving: int
    """How many bytes of the present `receive_exactly_into` had come when it last had to wait for more."""

    def receive_ready_into(self, view: memoryview) -> int:
        """Receives what has come already, at most as many bytes as the view has. Returns how many."""

    async def receive_some_into(self, view: memoryview) -> int:
        """Receives what one TLS record has, or as much of it as the view has room for. Returns how many bytes.

        So the header of a large frame comes alone, and its bytes need no copy on the way to their place.
        """

    async def receive_exactly_into(self, view: memoryview) -> None:
        """Fills the whole view."""

    async def send_all(self, *pieces: bytes | bytearray | memoryview) -> None:
        """Sends the pieces, each in TLS records of its own. If it is cancelled, the stream is useless: close it."""

    def bound_unsent(self, size: int) -> None:
        """Has the system, whose buffer has megabytes, take at most about so many bytes that it has not sent yet."""

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
        self._socket = connected
        self._read_bytes = _LEAST_READ_BYTES
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)
        self._read = cast("Callable[[int, memoryview], int]", self._tls.read)
        """Decrypts what has come of one record into the start of a view, at most so many bytes; returns how many."""

    async def handshake(self, network: str) -> PeerId | None:
        """Performs the TLS handshake. On the dialer's side, returns the id that the listener proved."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._send_encrypted()
                await self._arrive(_LEAST_READ_BYTES)
            except ssl.SSLError as error:
                with suppress(PeerGone):
                    await self._send_encrypted()  # the alert that tells the other end why
                raise PeerGone(f"the TLS handshake failed: {_why(error)}") from error
        await self._send_encrypted()
        handshake.check_alpn(self._tls.selected_alpn_protocol(), network)
        certificate = None if self._tls.server_side else self._tls.getpeercert(binary_form=True)
        return key_of_certificate(certificate) if certificate else None

    def receive_ready_into(self, view: memoryview) -> int:
        at, end, read = 0, len(view), self._read
        try:
            while at < end:
                try:
                    count = read(end - at, view[at:])
                except ssl.SSLWantReadError:
                    # Whoever brings little has brought it all at once: the socket is not asked a second time.
                    if (at and self._read_bytes == _LEAST_READ_BYTES) or not self._has_arrived(end):
                        break
                else:
                    if not count:
                        raise PeerGone("the peer closed the connection")
                    at += count
        except ssl.SSLError as error:
            if not at:
                raise PeerGone(f"the connection broke: {_why(error)}") from error
        except PeerGone:
            if not at:
                raise
        return at

    async def receive_some_into(self, view: memoryview) -> int:
        size = len(view)
        while True:
            try:
                count = self._read(size, view)
            except ssl.SSLWantReadError:
                await self._arrive(size)
            except ssl.SSLError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error
            else:
                if not count:
                    raise PeerGone("the peer closed the connection")
                return count

    async def receive_exactly_into(self, view: memoryview) -> None:
        at, end = 0, len(view)
        read = self._read
        while at < end:
            try:
                while at < end:
                    count = read(end - at, view[at:])
                    if not count:
                        raise PeerGone("the peer closed the connection")
                    at += count
            except ssl.SSLWantReadError:
                self.arriving = at
                await self._arrive(end)
            except ssl.SSLError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error
        self.arriving = 0

    async def send_all(self, *pieces: bytes | bytearray | memoryview) -> None:
        for piece in pieces:
            view = memoryview(piece)
            at, end = 0, len(view)
            while at < end:
                try:
                    at += self._tls.write(view[at : at + _SENT_AT_ONCE_BYTES])
                except ssl.SSLError as error:
                    raise PeerGone(f"the connection broke: {_why(error)}") from error
                if self._outgoing.pending >= _SENT_AT_ONCE_BYTES:
                    await self._send_encrypted()
        if self._outgoing.pending:
            await self._send_encrypted()

    def bound_unsent(self, size: int) -> None:
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and self._socket.fileno() != -1:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def close(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def _arrive(self, size: int) -> None:
        """Gives OpenSSL what has come, for a caller that wants `size` bytes; waits if nothing has."""
        while not self._has_arrived(size):
            await self._readable()

    def _has_arrived(self, size: int) -> bool:
        """Gives OpenSSL what has come, for a caller that wants `size` bytes. Returns False if nothing has."""
        most = self._read_bytes
        try:
            count = self._socket.recv_into(_arriving, most)
        except BlockingIOError:
            return False
        except OSError as error:
            raise PeerGone(f"the connection broke: {_why(error)}") from error
        if not count:
            raise PeerGone("the peer closed the connection")
        self._incoming.write(_arriving[:count])
        if size > _LARGE_BYTES and count == most < _MOST_READ_BYTES:
            self._read_bytes *= 2
        return True

    async def _send_encrypted(self) -> None:
        """Sends what OpenSSL has made ready. One task at a time may call this."""
        view = memoryview(self._outgoing.read())
        at, end = 0, len(view)
        while at < end:
            try:
                at += self._socket.send(view[at:])
            except BlockingIOError:
                await self._room()
            except OSError as error:
                raise PeerGone(f"the connection broke: {_why(error)}") from error

    async def _readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
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
        if _TCP_INFO is None or self._socket.fileno() == -1:
            return self._room_found
        try:
            told = self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.stop)
        except OSError:
            return self._room_found
        return int.from_bytes(told[_ACKED], sys.byteorder) if len(told) == _ACKED.stop else self._room_found

    async def _writable(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._socket)
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
