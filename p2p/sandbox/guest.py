"""The peer's side of one guest: sends frames to it, and receives answers and logs, all within limits.

A hostile guest may control the whole process at the other end. So every length that the process sends is checked before
a byte is kept, and time is measured on this side. A process that sends anything unasked is ended. Processes are always
ended by a signal that they cannot refuse.
"""

import socket
from collections.abc import Callable, Sequence
from typing import get_args

import trio

from p2p.concurrency.turn import Turn
from p2p.sandbox import messages
from p2p.sandbox.allowance import Allowance, CpuTime
from p2p.sandbox.limits import MAX_FRAME_BYTES, SEED_BYTES, EndKind, GuestEnded, GuestLimits

_RECEIVE_BYTES = 256 * 1024
_LARGE_BYTES = 16 * 1024
"""After a read of so much, other tasks have their turn, for there may be no end of it."""
_SEND_AHEAD_BYTES = 64 * 1024
"""How many bytes fit into the socket whatever the guest does, so that sending them needs no task of its own."""
_MANY, _GATHER_S = 8, 0.008
"""While at least this many answers are still to come, the peer waits this long between reads, to read several at once.
"""
_LOG_NOTE_BYTES = 256

Reply = tuple[bytes, bytes]
"""An answer's frame, and what the guest printed while making it."""


class Guest:
    """The peer's side of a process that runs one owner's job. `ended` is called once, when the guest is discarded.

    `cpu_s` is given for an idle guest. The socket is asked directly, and waited for only if it has nothing: trio's own
    would let all other tasks run before it goes on, which takes longer than a small unit.
    """

    def __init__(self, connection: socket.socket, ended: Callable[[], None], cpu_s: CpuTime | None = None) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._ended = ended
        self._cpu_s = cpu_s
        self._gone: GuestEnded | None = None
        self._turn = Turn()
        self._received = bytearray()

    async def call(self, frame: bytes, *, seed: bytes, limits: GuestLimits) -> Reply:
        """Sends one request and returns its answer. Raises GuestEnded. An error or a cancellation ends the guest."""
        replies: list[Reply] = []
        await self.call_many([(frame, seed)], limits, lambda _, reply: replies.append(reply))
        return replies[0]

    async def call_many(
        self, requests: Sequence[tuple[bytes, bytes]], limits: GuestLimits, answered: Callable[[int, Reply], None]
    ) -> None:
        """Sends many frames with their seeds, and calls `answered` with each answer, in order. Limits are per frame.

        Raises GuestEnded; a request that has not been answered may or may not have been carried out.
        """
        encoded = [_encoded(frame, seed, limits) for frame, seed in requests]
        async with self._turn:
            if self._gone is not None:
                raise GuestEnded(self._gone.kind, self._gone.text)
            try:
                await self._exchange(encoded, limits, answered)
            except GuestEnded as error:
                self.discard(error)
                raise
            except BaseException:
                self.discard()
                raise

    async def _exchange(
        self, requests: Sequence[tuple[bytes, bytes]], limits: GuestLimits, answered: Callable[[int, Reply], None]
    ) -> None:
        small = sum(len(head) + len(frame) for head, frame in requests) <= _SEND_AHEAD_BYTES
        if small:
            await self._send([b"".join(part for request in requests for part in request)])
            await self._receive(len(requests), limits, answered)
            return
        failure: GuestEnded | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, [part for request in requests for part in request])
            try:
                await self._receive(len(requests), limits, answered)
            except GuestEnded as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send(self, parts: Sequence[bytes]) -> None:
        try:
            for part in parts:
                with memoryview(part) as rest:
                    sent = 0
                    while sent < len(rest):
                        try:
                            sent += self._socket.send(rest[sent:])
                        except BlockingIOError:
                            await trio.lowlevel.wait_writable(self._socket)
        except (OSError, ValueError, trio.ClosedResourceError):
            return  # the guest has ended: the receiver will see how

    async def _receive(self, count: int, limits: GuestLimits, answered: Callable[[int, Reply], None]) -> None:
        log = bytearray()
        allowance = Allowance(limits, self._cpu_s)
        index, awaited, deadline = 0, -1, allowance.begin()
        while True:
            with trio.move_on_at(deadline) as patience:
                while index < count:
                    if awaited < index and not self._answer_is_here():
                        patience.deadline = allowance.begin()
                        if count - index > _MANY:
                            # Woken for each answer, this process would do little else; the guest has work in hand.
                            await trio.sleep(_GATHER_S)
                    awaited = index
                    kind, payload = await self._next(limits, log)
                    if kind != messages.REPLY:
                        log += payload
                        continue
                    answered(index, (payload, bytes(log)))
                    index += 1
                    log.clear()
                return
            deadline = await allowance.more(bytes(log))

    def _answer_is_here(self) -> bool:
        received = self._received
        if len(received) < messages.ANSWER.size:
            return False
        kind, size = messages.ANSWER.unpack_from(received)
        return bool(kind == messages.REPLY and len(received) >= messages.ANSWER.size + size)

    async def _next(self, limits: GuestLimits, log: bytearray) -> tuple[int, bytes]:
        """Reads the next REPLY or LOG, within the limits."""
        received = self._received
        while len(received) < messages.ANSWER.size:
            await self._more(log)
        kind, size = messages.ANSWER.unpack_from(received)
        most = {
            messages.REPLY: limits.output_bytes,
            messages.LOG: limits.log_bytes + _LOG_NOTE_BYTES - len(log),
            messages.ENDED: messages.MAX_TEXT_BYTES,
        }.get(kind, -1)
        if size > most:
            raise GuestEnded("broken", "It sent a message that no guest sends.", bytes(log))
        end = messages.ANSWER.size + size
        while len(received) < end:
            await self._more(log)
        with memoryview(received) as view:
            payload = bytes(view[messages.ANSWER.size : end])
        del received[:end]
        if kind == messages.ENDED:
            ended, _, text = payload.decode("utf-8", "replace").partition("\n")
            raise GuestEnded(_end_kind(ended), text, bytes(log))
        return kind, payload

    async def _more(self, log: bytearray) -> None:
        try:
            while (piece := self._read()) is None:
                await trio.lowlevel.wait_readable(self._socket)
            if len(piece) >= _LARGE_BYTES:
                await trio.lowlevel.checkpoint()
        except (ValueError, trio.ClosedResourceError):
            raise GuestEnded("broken", "It was discarded.", bytes(log)) from None
        if not piece:
            text = "Its process was killed." if self._gone is None else "It was discarded."
            raise GuestEnded("broken", text, bytes(log))
        self._received += piece

    def _read(self) -> bytes | None:
        """Some of what has come; None if nothing has, and empty at the end."""
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def discard(self, why: GuestEnded | None = None) -> None:
        """Ends the guest; its slot is free once its process is gone. Idempotent."""
        if self._gone is None:
            self._gone = why or GuestEnded("broken", "It was discarded.")
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._ended()


def _encoded(frame: bytes, seed: bytes, limits: GuestLimits) -> tuple[bytes, bytes]:
    if len(frame) > MAX_FRAME_BYTES or len(seed) != SEED_BYTES:
        raise ValueError(f"a frame has at most {MAX_FRAME_BYTES} bytes and a seed {SEED_BYTES}")
    head = messages.REQUEST.pack(len(frame), seed, limits.memory_bytes, limits.output_bytes, limits.log_bytes)
    return head, frame


def _end_kind(word: str) -> EndKind:
    for kind in get_args(EndKind):
        if word == kind and word != "cap":  # that is measured on this side
            return kind  # type: ignore[no-any-return]
    return "broken"
