"""Frames: the same whatever pieces the stream comes in, bounds checked on the header."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage, ProtocolViolation
from p2p.wire import frames, messages
from p2p.wire.frames import ControlHeader, DataHeader, parse_header

Frame = tuple[int, int, bytes] | messages.AnyMessage | messages.Unknown


class Stream:
    """The frames of a byte stream that comes in pieces, read as a connection reads them."""

    def __init__(self, max_control: int = frames.MAX_CONTROL_BYTES) -> None:
        self._buffer = bytearray()
        self._max_control = max_control

    def feed(self, piece: bytes) -> list[Frame]:
        self._buffer += piece
        found: list[Frame] = []
        while (header := parse_header(self._buffer, 0, len(self._buffer), self._max_control)) is not None:
            data = isinstance(header, DataHeader)
            start = frames.DATA_HEADER.size if data else frames.HEADER.size
            if len(self._buffer) < start + header.size:
                break
            body = bytes(self._buffer[start : start + header.size])
            del self._buffer[: start + header.size]
            found.append(
                (header.chunk, header.offset, body) if isinstance(header, DataHeader) else messages.decode(body)
            )
        return found


some_messages = st.one_of(
    st.builds(messages.Want, first=st.integers(0, 2**53 - 1), count=st.integers(1, 2**53 - 1)),
    st.builds(messages.Have, bits=st.binary(max_size=40)),
    st.builds(messages.Choked, position=st.integers(0, 9)),
    st.builds(messages.Failed, reason=st.text(max_size=20)),
)
some_data = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=60))
some_frames = st.lists(some_messages | some_data, max_size=6)


def encoded(frame: Frame) -> bytes:
    if isinstance(frame, tuple):
        chunk, offset, body = frame
        return frames.data_header(chunk, offset, len(body)) + body
    assert not isinstance(frame, messages.Unknown)
    return frames.control_frame(frame)


@given(some_frames, st.data())
def test_any_chunking_gives_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encoded, sent))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    reader = Stream()
    got: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:end])
    assert got == sent


@given(some_frames)
def test_byte_by_byte(sent: list[Frame]) -> None:
    reader = Stream()
    got = [frame for byte in b"".join(map(encoded, sent)) for frame in reader.feed(bytes([byte]))]
    assert got == sent


headers = st.builds(
    struct.Struct(">IBH").pack, st.integers(0, 40), st.integers(0, 2), st.sampled_from([0, 0, 0, 1, 0xFFFF])
)


@given(st.lists(st.binary(max_size=60) | st.tuples(headers, st.binary(max_size=60)).map(b"".join), max_size=4))
def test_any_bytes_are_frames_or_a_peer_error(pieces: list[bytes]) -> None:
    reader = Stream(frames.MAX_HANDSHAKE_BYTES)
    try:
        for piece in pieces:
            reader.feed(piece)
    except (ProtocolViolation, MalformedMessage):
        pass


def header(length: int, kind: int, channel: int = 0) -> bytes:
    return frames.HEADER.pack(length, kind, channel)


PREFIX = frames.DATA_HEADER.size - frames.HEADER.size


@pytest.mark.parametrize(
    "bad",
    [
        header(frames.MAX_CONTROL_BYTES + 1, frames.CONTROL),
        header(2**32 - 1, frames.CONTROL),
        header(PREFIX + frames.MAX_DATA_BYTES + 1, frames.DATA),
        header(2**32 - 1, frames.DATA),
        header(PREFIX, frames.DATA),  # no bytes in it: it would cost nothing to send for ever
        header(0, frames.DATA),
        header(0, 2),
        header(0, 255),
        header(0, frames.CONTROL, 1),
        header(PREFIX + 1, frames.DATA, 0x100),
    ],
)
def test_bounds_are_checked_before_the_body_comes(bad: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_header(bad, 0, len(bad), frames.MAX_CONTROL_BYTES)


def test_the_largest_frames_pass() -> None:
    control = header(frames.MAX_CONTROL_BYTES, frames.CONTROL)
    assert parse_header(control, 0, len(control), frames.MAX_CONTROL_BYTES) == ControlHeader(frames.MAX_CONTROL_BYTES)
    data = frames.data_header(2**64 - 1, 2**32 - 1, frames.MAX_DATA_BYTES)
    assert parse_header(data, 0, len(data), 0) == DataHeader(2**64 - 1, 2**32 - 1, frames.MAX_DATA_BYTES)


def test_control_frames_are_smaller_during_the_handshake() -> None:
    body = header(frames.MAX_HANDSHAKE_BYTES + 1, frames.CONTROL)
    with pytest.raises(ProtocolViolation):
        parse_header(body, 0, len(body), frames.MAX_HANDSHAKE_BYTES)


@given(some_messages | some_data, st.binary(max_size=20), st.binary(max_size=20))
def test_a_header_anywhere_in_a_buffer(frame: Frame, before: bytes, after: bytes) -> None:
    body = encoded(frame)
    whole = parse_header(body, 0, len(body), frames.MAX_CONTROL_BYTES)
    buffer = before + body + after
    for view in (buffer, bytearray(buffer), memoryview(buffer)):
        assert parse_header(view, len(before), len(body), frames.MAX_CONTROL_BYTES) == whole


def test_bytes_beyond_those_available_are_not_looked_at() -> None:
    body = frames.data_header(1, 2, 3) + b"abc"
    for available in range(frames.DATA_HEADER.size):
        assert parse_header(body, 0, available, 0) is None


def test_our_largest_messages_fit_a_frame() -> None:
    most = 2**53 - 1
    ranges = ((most, most),) * messages.MAX_RANGES
    text = "\U0001f41f" * 255
    key = bytes(32)
    largest: list[messages.AnyMessage] = [
        messages.Root(body=bytes(messages.MAX_ROOT_BYTES)),
        messages.Part(index=most, body=bytes(messages.MAX_PART_BYTES)),
        messages.Have(ranges=ranges, first=most, bits=bytes(messages.MAX_MAP_BYTES)),
        messages.Gone(ranges=ranges),
        messages.Peers(peers=((key, text, 65535),) * messages.MAX_PEERS),
        messages.Listed(shares=(messages.Listing(key, text, most, most),) * 256, cursor=text),
    ]
    for message in largest:
        assert Stream().feed(frames.control_frame(message)) == [message]
    hello = messages.Hello(software=text[:64], features=(text[:32],) * 64, port=1, seen_host=text[:64])
    assert Stream(frames.MAX_HANDSHAKE_BYTES).feed(frames.control_frame(hello)) == [hello]
