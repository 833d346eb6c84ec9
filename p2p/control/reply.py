"""The reply to a request, made of the bytes that come over the control socket; and what to say if none comes.

It does no IO, so that the command line, which runs on trio, and `p2p.client`, which blocks, both read replies with it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2p.control import protocol
from p2p.control.protocol import Answer, AnyRequest, Failure, Note, Piece, Update
from p2p.errors import PeerGone
from p2p.log import printable_lines


class NotTaken(PeerGone):
    """The peer stopped before it had read the request, so another may be asked."""


class Reply:
    """The reply to one request, as it arrives."""

    def __init__(self, request: AnyRequest) -> None:
        self._request = request
        self._pieces: list[bytes | bytearray] = []
        """The beginning of a line whose end has not come yet."""
        self._last: Answer | Failure | None = None
        self._began = False

    @property
    def is_whole(self) -> bool:
        """Whether the last line has come."""
        return self._last is not None

    def feed(self, data: bytes | bytearray) -> Iterator[Update | Note | Piece]:
        """Takes the next bytes; yields the events in them but for the last one. Raises ConfigError for what is none."""
        self._began = True
        *ends, rest = data.split(b"\n")
        for end in ends:
            line = b"".join((*self._pieces, end))
            self._pieces.clear()
            event = protocol.decode_event(line)
            if isinstance(event, Answer | Failure):
                self._last = event
                return
            yield event
        self._pieces.append(rest)

    def answer(self) -> Any:
        """The answer of a whole reply, as the type that the request has for it. Raises the ShoalError of the peer.

        Its text may repeat what others said, as jobs do, so it has control characters escaped.
        """
        match self._last:
            case Answer(value):
                return protocol.read_answer(self._request, value)
            case Failure(kind, text):
                raise Failure(kind, printable_lines(text)).error()
            case None:
                raise AssertionError("the reply is not whole")

    def broken_off(self, *, reset: bool, again: str, go_on: str) -> PeerGone:
        """The error for a reply that ended too soon; `reset` if the kernel reset the connection.

        `again` says how to ask for the same once more, and `go_on` how to go on with a job.
        """
        # The kernel resets a connection if the other side never read what was sent; otherwise it just ends.
        if reset and not self._began:
            return NotTaken("The running peer stopped before it had read the request. Try again.")
        is_job = isinstance(self._request, protocol.RunRequest | protocol.ResumeRequest)
        return PeerGone(f"The running peer stopped before it had answered. {go_on if is_job else again}.")


def nobody(home: Path) -> NotTaken:
    """The error for a home in which no peer runs that this user may use."""
    return NotTaken(f"No peer is running in {home}. Start one with `shoal node`.")
