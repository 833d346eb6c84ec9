"""Connections: frames over a `ByteStream`, between two peers that have proven who they are.

Only one task may receive; any number may send, one frame at a time. The receive buffer holds a header and what arrived
with the header; the body of a large data frame is received directly into the buffer of its chunk instead.
"""

import secrets
from dataclasses import dataclass
from typing import TypeVar

import trio

from p2p.errors import PeerGone, ProtocolViolation
from p2p.identity import Identity
from p2p.ids import PeerId, short
from p2p.net.attention import Attention
from p2p.net.tls import ByteStream
from p2p.net.use import Use
from p2p.wire import frames, handshake, messages
from p2p.wire.address import Address
from p2p.wire.frames import ControlHeader, DataHeader
from p2p.wire.messages import AnyMessage, Hello, Unknown

HANDSHAKE_TIMEOUT_S = 10.0
WORN_OUT_BYTES = 256 * 1024**3
"""How much a connection sends before it ends, well before AES-GCM needs a new key; another is dialled at once."""

_BUFFER_BYTES = 64 * 1024
HANDSHAKE_BUFFER_BYTES = 4 * 1024
"""The buffer of a connection that is not proven yet, of which strangers may have hundreds."""
_SMALL_FRAME_BYTES = 16 * 1024
"""A data frame of at most so many bytes is held back, to be sent with others."""
_CORK_BYTES = 64 * 1024
"""How many bytes of small frames are held back before they are sent."""
_TURN_BYTES = 1024 * 1024
_STEP_BYTES = 16 * 1024
_MESSAGE_COST = _FRAME_COST = 4096
"""A frame takes as long as so many bytes, however few it has."""

M = TypeVar("M", bound=messages.Message)


@dataclass(frozen=True)
class Ends:
    """The two peers of a connection, as proved by the handshake, and which of them dialled."""

    own_id: PeerId
    peer_id: PeerId
    hello: Hello
    remote_host: str
    dialed: bool
    """Whether this side dialled."""

    @property
    def dialer(self) -> PeerId:
        return self.own_id if self.dialed else self.peer_id

    @property
    def claimed_address(self) -> Address | None:
        """The host that the peer came from, with the port on which it says it listens; unproven until dialled."""
        return Address(self.remote_host, self.hello.port) if self.hello.port else None

    def __str__(self) -> str:
        return f"{short(self.peer_id)}@{self.remote_host}"


class Connection:
    """Sends frames to another peer, and receives frames from it. The handshake sets `ends`."""

    ends: Ends

    def __init__(self, stream: ByteStream, attention: Attention | None = None) -> None:
        """`attention` is what this peer gives to the messages of all its connections."""
        self._stream = stream
        self._attention = attention or Attention()
        self._buffer = memoryview(bytearray(HANDSHAKE_BUFFER_BYTES))
        self._start = self._end = 0
        self._corked = bytearray()
        self._sending = trio.Lock()
        self._turn = 0
        self._max_control = frames.MAX_HANDSHAKE_BYTES
        self.bytes_in = 0
        """Bytes received. Grows even while a long message is still arriving, so a slow peer does not look silent."""
        self.bytes_out = 0
        self.message_bytes = 0
        """The size of the last message received, other than chunks."""
        self.use = Use()

    @property
    def arrived(self) -> tuple[int, int]:
        """A value that is different once more bytes have come, even if they are only a part of a frame."""
        return self.bytes_in, self._stream.arriving

    async def receive(self) -> AnyMessage | Unknown | DataHeader:
        """Receives the next message, or the header of a data frame; call `receive_body` next for that frame's bytes.

        Raises PeerGone, MalformedMessage, ProtocolViolation.
        """
        if self._turn >= _TURN_BYTES:
            # If the peer sends faster than this side reads, the socket is never empty: other tasks get a turn here.
            self._turn = 0
            await trio.lowlevel.checkpoint()
        while True:
            header = frames.parse_header(self._buffer, self._start, self._end - self._start, self._max_control)
            if header is not None:
                break
            await self._fill()
        if isinstance(header, ControlHeader):
            self._start += frames.HEADER.size
            body = memoryview(bytearray(header.size))
            for at in range(0, header.size, _STEP_BYTES):
                await self.receive_body(body[at : at + _STEP_BYTES])
            self._turn += _MESSAGE_COST
            self.message_bytes = header.size
            return messages.decode(body)
        if self._start + frames.DATA_HEADER.size + header.size > self._end and header.size <= _SMALL_FRAME_BYTES:
            # Small frames come many at a time: with more of them in the buffer, they are handled together.
            self._compact(self._buffer)
            self._end += self._stream.receive_ready_into(self._buffer[self._end :])
        self._start += frames.DATA_HEADER.size
        self._turn += _FRAME_COST
        return header

    def take(self, chunk: int, size: int) -> memoryview | None:
        """The bytes of a whole chunk of `size` bytes, if its frame is the next one and all of it waits in the buffer.

        They stay where they are until the next `receive`.
        """
        header = frames.data_header(chunk, 0, size)
        start = self._start + len(header)
        if start + size > self._end or self._buffer[self._start : start] != header:
            return None
        self._start = start + size
        self._turn += _FRAME_COST + size
        self.bytes_in += size
        return self._buffer[start : self._start]

    async def receive_body(self, view: memoryview) -> None:
        """Fills the view with the data frame's bytes."""
        size = len(view)
        ready = min(size, self._end - self._start)
        if ready:
            view[:ready] = self._buffer[self._start : self._start + ready]
            self._start += ready
        if ready < size:
            await self._stream.receive_exactly_into(view[ready:])
        self._turn += size
        self.bytes_in += size

    async def send(self, *said: AnyMessage) -> None:
        """Sends messages in order, with nothing in between. Raises PeerGone."""
        await self._send(b"".join(map(frames.control_frame, said)))

    async def send_data(self, chunk: int, offset: int, *pieces: bytes | memoryview) -> None:
        """Sends a data frame made of these pieces. Small ones are held back until `flush`, or until they are many.
        Raises PeerGone.
        """
        size = sum(map(len, pieces))
        header = frames.data_header(chunk, offset, size)
        if size <= _SMALL_FRAME_BYTES:
            self._corked += header
            for piece in pieces:
                self._corked += piece
            if len(self._corked) >= _CORK_BYTES:
                await self.flush()
            return
        # The header is a TLS record of its own, so that only the header goes into the receiver's buffer.
        await self._send(header, *pieces)

    async def flush(self) -> None:
        """Sends the small data frames held back. Raises PeerGone."""
        if self._corked:
            await self._send()

    async def attend(self, units: float, least_s: float) -> None:
        """Counts the work that the peer's messages have caused. Waits until its next may be handled, and for at least
        `least_s`; other tasks have a turn.
        """
        now, host = trio.current_time(), self.ends.remote_host
        wait_s = max(least_s, self._attention.take(host, units, now))
        await trio.sleep(wait_s)
        woke_at = trio.current_time()
        self._attention.woke(woke_at - now - wait_s, woke_at)

    def bound_unsent(self, size: int) -> None:
        """Has at most about `size` bytes wait in the system to be sent: for what is of no use if it is late."""
        self._stream.bound_unsent(size)

    def close(self) -> None:
        """Ends the connection at once."""
        self._stream.close()

    async def _send(self, *pieces: bytes | bytearray | memoryview) -> None:
        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            if self._corked:
                pieces = self._corked, *pieces
                self._corked = bytearray()
            self.bytes_out += sum(map(len, pieces))
            await self._stream.send_all(*pieces)
        except BaseException:
            # Part of a frame may have been sent, so nothing can follow it.
            self.close()
            raise
        finally:
            self._sending.release()
        if self.bytes_out > WORN_OUT_BYTES:
            raise PeerGone("the connection has carried enough; a new one follows")

    async def _fill(self) -> None:
        """Receives more bytes behind those in the buffer."""
        if self._start:
            self._compact(self._buffer)
        self._end += await self._stream.receive_some_into(self._buffer[self._end :])

    def _compact(self, buffer: memoryview) -> None:
        """Moves the bytes that wait in the buffer to the beginning of this one."""
        rest = bytes(self._buffer[self._start : self._end])
        buffer[: len(rest)] = rest
        self._buffer, self._start, self._end = buffer, 0, len(rest)

    # The handshake, inside TLS.

    async def greet_listener(
        self, identity: Identity, network: str, listener: PeerId, remote_host: str, hello: Hello
    ) -> None:
        """Does the dialer's part of the handshake, with the listener whose identity TLS has proven."""
        challenge = await self._expect(messages.Challenge)
        await self.send(handshake.prove(identity, network, challenge, listener), hello)
        self._greeted(Ends(identity.peer_id, listener, await self._expect(Hello), remote_host, True))

    async def greet_dialer(self, identity: Identity, network: str, remote_host: str, hello: Hello) -> None:
        """Does the listener's part of the handshake."""
        challenge = messages.Challenge(nonce=secrets.token_bytes(32))
        await self.send(challenge)
        proof = await self._expect(messages.Proof)
        dialer = handshake.check_proof(proof, network, challenge, identity.peer_id)
        await self.send(hello)
        self._greeted(Ends(identity.peer_id, dialer, await self._expect(Hello), remote_host, False))

    def _greeted(self, ends: Ends) -> None:
        self.ends = ends
        self._max_control = frames.MAX_CONTROL_BYTES
        self._compact(memoryview(bytearray(_BUFFER_BYTES)))

    async def _expect(self, kind: type[M]) -> M:
        message = await self.receive()
        if not isinstance(message, kind):
            raise ProtocolViolation(f"a {type(message).__name__} in the handshake, where {kind.__name__} belongs")
        return message
