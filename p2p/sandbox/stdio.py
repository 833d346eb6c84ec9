"""The guest's side of the conversation with the peer: its three standard streams.

`Frames` is for a resident guest, which reads requests and writes one answer to each; the length of each request and
answer comes before it, in 4 bytes. `Command` is for WASI commands, run one after another: a request is a command's
standard input, and the answer is what the command has written when it ends. A single read may give a guest all requests
that have arrived, so a request starts when the previous request is answered: from then on the new request's limits
apply, and clock and randomness are reset. The host decides when that is, so no guest can delay it.
"""

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from p2p.sandbox import messages
from p2p.sandbox.limits import EndKind

_READ_AHEAD_BYTES = 64 * 1024
_LENGTH = 4
_CUT = b"\n[what it printed beyond its limit is not kept]\n"


class GuestExit(Exception):
    """Raised to end the guest."""

    def __init__(self, kind: EndKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Finished(Exception):
    """Raised to end a command that succeeded."""


class GuestRequest(NamedTuple):
    """The header of a request: the length of its frame, the seed, and the limits (packed as `messages.REQUEST`)."""

    frame_bytes: int
    seed: bytes
    memory_bytes: int
    output_bytes: int
    log_bytes: int


class Line:
    """The guest's end of the socket to the peer. The guest's process exits when the peer is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._ahead = memoryview(b"")
        self._log_left = 0

    def next_request(self) -> GuestRequest:
        """Waits for the next request; `read` then reads its frame."""
        head = bytearray(messages.REQUEST.size)
        self.read_all(memoryview(head))
        return GuestRequest(*messages.REQUEST.unpack(head))

    def request_here(self, most: int) -> GuestRequest | None:
        """The next request, if all of it has come and its frame has at most `most` bytes: `read` then never waits."""
        frame = len(self._ahead) - messages.REQUEST.size
        if frame < 0:
            return None
        request = GuestRequest(*messages.REQUEST.unpack_from(self._ahead))
        if request.frame_bytes > min(frame, most):
            return None
        self._ahead = self._ahead[messages.REQUEST.size :]
        return request

    def begin(self, request: GuestRequest) -> None:
        """Counts what the guest prints from now on as part of this request."""
        self._log_left = request.log_bytes

    def read(self, into: memoryview) -> int:
        """Reads some bytes of the frame, at least one; if many are wanted, directly into the guest's memory."""
        if not self._ahead:
            if len(into) >= _READ_AHEAD_BYTES:
                return self._or_leave(self._socket.recv_into(into))
            self._ahead = memoryview(self._socket.recv(_READ_AHEAD_BYTES))
            self._or_leave(len(self._ahead))
        count = min(len(into), len(self._ahead))
        into[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def read_all(self, into: memoryview) -> None:
        """Reads until the view is full."""
        done = 0
        while done < len(into):
            done += self.read(into[done:])

    @staticmethod
    def _or_leave(count: int) -> int:
        if count == 0:
            os._exit(0)
        return count

    def log(self, piece: memoryview) -> None:
        """Passes on what the guest printed, up to the limit of the request."""
        if not self._log_left:
            return
        kept = piece[: self._log_left]
        self._log_left -= len(kept)
        for start in range(0, len(kept), messages.LOG_PIECE_BYTES):
            self._send(messages.LOG, bytes(kept[start : start + messages.LOG_PIECE_BYTES]))
        if len(kept) < len(piece):
            self._log_left = 0
            self._send(messages.LOG, _CUT)

    def reply(self, frame: bytes | bytearray | memoryview) -> None:
        """Sends the answer. What the guest prints before the next request belongs to no request and is dropped."""
        self._log_left = 0
        self._send(messages.REPLY, frame)

    def ended(self, kind: EndKind, text: str) -> None:
        """Sends how the guest ended, if the peer is still there."""
        with contextlib.suppress(OSError):
            self._send(messages.ENDED, messages.text(f"{kind}\n{text}"))

    def _send(self, kind: int, payload: bytes | bytearray | memoryview) -> None:
        head = messages.ANSWER.pack(kind, len(payload))
        if len(payload) <= messages.LOG_PIECE_BYTES:
            self._socket.sendall(head + payload)
        else:
            self._socket.sendall(head)
            self._socket.sendall(payload)


class Frames:
    """The standard streams of a resident guest.

    The guest first reads the frame `ahead`, if there is one. At the next read, `connected` waits until this process has
    a peer to serve; `begin` is called with each request once all earlier requests are answered.
    """

    def __init__(
        self, connected: Callable[[], Line], begin: Callable[[GuestRequest], None], ahead: bytes = b""
    ) -> None:
        self._ahead = memoryview(len(ahead).to_bytes(_LENGTH, "big") + ahead if ahead else b"")
        self._connected = connected
        self._begin = begin
        self.line: Line | None = None
        self._unanswered: deque[GuestRequest] = deque()
        """The requests that the guest has been given. It works on the first; only the last may have bytes left to read.
        """
        self._length = b""
        self._left = 0
        self._answer = bytearray()
        self.starting = b""
        """What was printed while Python started, before there was a peer."""

    def read(self, into: memoryview) -> int:
        if self._ahead:
            piece, self._ahead = self._ahead[: len(into)], self._ahead[len(into) :]
            into[: len(piece)] = piece
            return len(piece)
        if self.line is None:
            self.line = self._connected()
        if not self._length and not self._left:
            if self._unanswered:
                raise GuestExit("broken", "It read beyond the end of a request.")
            self._give(self.line.next_request())
        count = self._read(self.line, into)
        while not self._length and not self._left:
            more = self.line.request_here(len(into) - count - _LENGTH)
            if more is None:
                break
            self._give(more)
            count += self._read(self.line, into[count:])
        return count

    def _read(self, line: Line, into: memoryview) -> int:
        count = min(len(into), len(self._length))
        into[:count] = self._length[:count]
        self._length = self._length[count:]
        wanted = min(len(into) - count, self._left)
        if wanted:
            got = line.read(into[count : count + wanted])
            self._left -= got
            count += got
        return count

    def _give(self, request: GuestRequest) -> None:
        self._unanswered.append(request)
        if len(self._unanswered) == 1:
            self._begin_first()
        self._length = request.frame_bytes.to_bytes(_LENGTH, "big")
        self._left = request.frame_bytes

    def _begin_first(self) -> None:
        assert self.line is not None
        self.line.begin(self._unanswered[0])
        self._begin(self._unanswered[0])

    def write(self, piece: memoryview) -> None:
        if not self._unanswered or self.line is None:
            raise GuestExit("broken", "It wrote an answer that nobody had asked for.")
        request = self._unanswered[0]
        if len(self._answer) < _LENGTH:
            head = _LENGTH - len(self._answer)
            self._answer += piece[:head]
            piece = piece[head:]
            if len(self._answer) < _LENGTH:
                return
        size = int.from_bytes(self._answer[:_LENGTH], "big")
        if size > request.output_bytes:
            raise GuestExit("output", f"Its answer of {size} bytes is more than the {request.output_bytes} allowed.")
        if len(self._answer) + len(piece) > _LENGTH + size:
            raise GuestExit("broken", "It wrote beyond the end of its answer.")
        self._answer += piece
        if len(self._answer) == _LENGTH + size:
            if len(self._unanswered) == 1 and (self._length or self._left):
                raise GuestExit("broken", "It answered a request before reading it.")
            self.line.reply(memoryview(self._answer)[_LENGTH:])
            self._answer = bytearray()
            self._unanswered.popleft()
            if self._unanswered:
                self._begin_first()

    def log(self, piece: memoryview) -> None:
        if self.line is None:
            self.starting += piece[: messages.MAX_TEXT_BYTES - len(self.starting)]
        else:
            self.line.log(piece)

    def exit(self, code: int) -> NoReturn:
        raise GuestExit("exit", f"It ended by itself, with code {code}.")


class Command:
    """The standard streams of WASI commands, one after another: each command runs from `begin` to `finish`."""

    def __init__(self) -> None:
        self.line: Line | None = None
        self._stdin = memoryview(b"")
        self._output_bytes = 0
        self._output = bytearray()

    def begin(self, stdin: memoryview, output_bytes: int) -> None:
        """Starts a command with this standard input."""
        self._stdin, self._output_bytes, self._output = stdin, output_bytes, bytearray()

    def finish(self) -> None:
        """Sends the answer of a command that ended normally, and keeps nothing of the command."""
        assert self.line is not None
        self.line.reply(self._output)
        self.begin(memoryview(b""), 0)

    def read(self, into: memoryview) -> int:
        piece = self._stdin[: len(into)]
        into[: len(piece)] = piece
        self._stdin = self._stdin[len(piece) :]
        return len(piece)

    def write(self, piece: memoryview) -> None:
        if len(self._output) + len(piece) > self._output_bytes:
            raise GuestExit("output", f"It wrote more than the {self._output_bytes} bytes allowed.")
        self._output += piece

    def log(self, piece: memoryview) -> None:
        if self.line is not None:
            self.line.log(piece)

    def exit(self, code: int) -> NoReturn:
        if code == 0:
            raise Finished
        raise GuestExit("failed", f"It ended with code {code}.")
