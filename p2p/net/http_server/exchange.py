"""A request and its answer, as ASGI has them: what an application receives and sends, over a stream.

Nothing is read before the application asks for it. Once the body has ended, an application that asks for more waits
until the client has gone, or until the answer is complete; what the client says meanwhile is kept for the next request.
"""

from collections.abc import Callable
from urllib.parse import unquote

import h11
import trio
from starlette.types import Message, Scope

from p2p.net.http_server import framing
from p2p.net.http_server.framing import Answer, Asked
from p2p.net.http_server.stream import SLICE_BYTES, Stream

EXCHANGE = "shoal.exchange"
"""The key, in a request's state, of its Exchange."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class Exchange:
    """A request that `reader` has just read, and its answer. `is_last` says whether the connection ends after it."""

    def __init__(self, stream: Stream, reader: h11.Connection, asked: Asked, is_last: Callable[[], bool]) -> None:
        self._stream = stream
        self._reader = reader
        self._asked = asked
        self._is_last = is_last
        self._waits_for_continue = reader.they_are_waiting_for_100_continue
        self._is_read = not asked.has_body and isinstance(reader.next_event(), h11.EndOfMessage)
        """Whether the body has been read to its end."""
        self._is_broken = False
        """Whether the body will never end, since it is no body."""
        self._was_received = False
        """Whether the application knows that the body has ended."""
        self._ahead = 0
        self._answer: Answer | None = None
        self._held = b""
        self._is_gone = False
        self._is_complete = False
        self._watching: trio.CancelScope | None = None

    async def receive(self) -> Message:
        """What the application hears next. Cancelled, it loses nothing."""
        while not (self._is_read or self._is_broken or self._is_gone):
            if piece := await self._piece():
                return {"type": "http.request", "body": piece, "more_body": True}
        if self._is_read and not self._was_received:
            self._was_received = True
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._until_gone()
        return {"type": "http.disconnect"}

    async def _piece(self) -> bytes:
        """The next of the body, if it has come. Notes its end."""
        try:
            event = self._reader.next_event()
            if isinstance(event, h11.Data):
                await trio.lowlevel.checkpoint()
                return bytes(event.data)
            if event is h11.NEED_DATA:
                if self._waits_for_continue:
                    self._waits_for_continue = False
                    await self._say(CONTINUE)
                self._reader.receive_data(await self._stream.receive_some())
            else:
                self._is_read = True
        except h11.RemoteProtocolError:
            self._is_broken = True
        except _BROKEN:
            self._is_gone = True
        return b""

    async def _until_gone(self) -> None:
        """Waits until the client has gone, or the answer is complete."""
        await trio.lowlevel.checkpoint()
        with trio.CancelScope() as self._watching:
            while not (self._is_gone or self._is_complete or self._is_broken):
                if self._ahead > framing.HEAD_BYTES:
                    await trio.sleep_forever()
                try:
                    data = await self._stream.receive_some()
                except _BROKEN:
                    data = b""
                if data:
                    self._ahead += len(data)
                    self._reader.receive_data(data)
                else:
                    self._is_gone = True

    async def send(self, message: Message) -> None:
        """Sends what the application says next; does nothing if nobody hears it any more."""
        match message["type"]:
            case "http.response.start":
                await self._begin(message["status"], message.get("headers", ()))
            case "http.response.body":
                await self._go_on(message.get("body", b""), more=message.get("more_body", False))
            case other:
                raise ValueError(f"no part of an answer: {other}")

    async def send_piece(self, piece: memoryview, took: Callable[[int], None]) -> None:
        """Sends the next piece of a body of known length; `took` hears each time how much more of it has gone.

        So it may be cancelled and go on later, from there. Raises BrokenResourceError if the client has gone.
        """
        answer, head = self._answer, self._held
        if answer is None or not answer.left or self._is_gone:
            raise trio.BrokenResourceError if self._is_gone else ValueError("no piece of a body is due")

        def count(sent: int) -> None:
            of_head = min(sent, len(self._held))
            self._held = self._held[of_head:]
            if sent > of_head:
                answer.count(sent - of_head, more=sent - of_head < (answer.left or 0))
                took(sent - of_head)

        try:
            if head:
                await self._stream.send_all(head + piece[:SLICE_BYTES], count)
                piece = piece[SLICE_BYTES:]
            if piece:
                await self._stream.send_all(piece, count)
        except _BROKEN as error:
            self._is_gone = True
            raise trio.BrokenResourceError from error
        if not answer.left:
            self._complete()

    async def until_taken(self) -> None:
        """Waits until the client takes some of what was sent before. Raises BrokenResourceError if it has gone."""
        try:
            await self._stream.until_taken()
        except _BROKEN as error:
            self._is_gone = True
            raise trio.BrokenResourceError from error

    async def _begin(self, status: int, headers: framing.Headers) -> None:
        if self._answer is not None:
            raise ValueError("an answer began twice")
        is_last = self._is_last() or not self._is_read
        self._answer = Answer(self._asked, status, [*headers], is_last=is_last)
        if self._answer.is_stream:
            await self._say(self._answer.head)
        else:
            self._held = self._answer.head  # it goes with the first of the body

    async def _go_on(self, piece: bytes, *, more: bool) -> None:
        if self._answer is None or self._is_complete:
            raise ValueError("the body of an answer that has not begun, or has ended")
        held, self._held = self._held, b""
        await self._say(held, *self._answer.framed(piece, more=more))
        if not more:
            self._complete()

    def _complete(self) -> None:
        self._is_complete = True
        if self._watching is not None:
            self._watching.cancel()

    async def _say(self, *pieces: bytes) -> None:
        if self._is_gone or not any(pieces):
            await trio.lowlevel.checkpoint()
            return
        if sum(map(len, pieces)) <= SLICE_BYTES:
            pieces = (b"".join(pieces),)
        try:
            for piece in filter(None, pieces):
                await self._stream.send_all(piece)
        except _BROKEN:
            self._is_gone = True
            if self._watching is not None:
                self._watching.cancel()  # it may have stopped to listen: the client has said too much
            await trio.lowlevel.checkpoint()

    async def finish(self) -> h11.Connection | None:
        """Ends the exchange once its application has. Returns what reads the next request, if there may be one."""
        if self._answer is None:
            await self._begin(400 if self._is_broken else 500, [(b"content-length", b"0"), (b"connection", b"close")])
            await self._go_on(b"", more=False)
        if self._answer is None or self._answer.is_last or not self._is_complete or not self._is_read or self._is_gone:
            return None
        said, has_ended = self._reader.trailing_data
        reader = framing.reader()
        if said:
            reader.receive_data(said)
        if has_ended:
            reader.receive_data(b"")
        return reader


def scope_of(request: h11.Request) -> Scope:
    """A request as ASGI has it, without where it comes from."""
    path, _, query = request.target.partition(b"?")
    text = path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii").upper(),
        "scheme": "http",
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "extensions": {},
    }
