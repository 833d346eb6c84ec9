"""Requests that are sent ahead, as a guest reads them: whatever arrives when, and however much it reads at once."""

import socket
from itertools import cycle
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.sandbox import messages
from p2p.sandbox.stdio import Frames, GuestExit, Line

OUTPUT_BYTES = 100
Sent = list[tuple[bytes, bytes]]
requests_sent = st.lists(
    st.tuples(st.binary(max_size=300), st.binary(min_size=32, max_size=32)), min_size=1, max_size=12
)
sizes = st.lists(st.integers(1, 2000), min_size=1)


class Trickle:
    """A socket at which bytes arrive in pieces of these sizes."""

    def __init__(self, data: bytes, pieces: list[int]) -> None:
        self._data = data
        self._pieces = cycle(pieces)
        self.told = b""

    def recv(self, most: int) -> bytes:
        size = min(most, next(self._pieces))
        piece, self._data = self._data[:size], self._data[size:]
        assert piece, "the guest would wait for ever"
        return piece

    def recv_into(self, into: memoryview) -> int:
        piece = self.recv(len(into))
        into[: len(piece)] = piece
        return len(piece)

    def sendall(self, data: bytes) -> None:
        self.told += data


def streams_of(requests: Sent, pieces: list[int]) -> tuple[Frames, Trickle, list[bytes]]:
    """A guest's streams, the socket behind them, and the seeds of the requests that have begun."""
    packed = [messages.REQUEST.pack(len(frame), seed, 1, OUTPUT_BYTES, 10) + frame for frame, seed in requests]
    trickle, begun = Trickle(b"".join(packed), pieces), list[bytes]()
    line = Line(cast(socket.socket, trickle))
    return Frames(lambda: line, lambda request: begun.append(request.seed)), trickle, begun


def with_length(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


@given(requests_sent, sizes, sizes)
def test_each_request_begins_when_the_one_before_is_answered(
    requests: Sent, pieces: list[int], reads: list[int]
) -> None:
    streams, trickle, begun = streams_of(requests, pieces)
    wanted, seen = cycle(reads), b""
    for number, (frame, _) in enumerate(requests):
        while not seen.startswith(with_length(frame)):
            into = memoryview(bytearray(next(wanted)))
            seen += into[: streams.read(into)]
        seen = seen[4 + len(frame) :]
        assert begun == [seed for _, seed in requests[: number + 1]]
        streams.write(memoryview(with_length(b"%d" % number)))
    assert not seen
    replies = [b"%d" % number for number in range(len(requests))]
    assert trickle.told == b"".join(messages.ANSWER.pack(messages.REPLY, len(reply)) + reply for reply in replies)


def test_who_reads_on_before_it_answers_or_answers_too_often_goes_no_further() -> None:
    requests = [(b"first", bytes(32)), (b"second", bytes(32))]
    into = memoryview(bytearray(1000))
    streams, _, _ = streams_of(requests, [1000])
    assert streams.read(into) == 4 + 5 + 4 + 6  # both are there
    with pytest.raises(GuestExit, match="beyond the end"):
        streams.read(into)
    streams, _, _ = streams_of(requests, [1000])
    assert streams.read(into[:15]) == 4 + 5  # there is no room for both
    streams.write(memoryview(with_length(b"1")))
    assert streams.read(into[:7]) == 7
    with pytest.raises(GuestExit, match="before reading"):
        streams.write(memoryview(with_length(b"2")))
    streams, _, _ = streams_of(requests, [1000])
    streams.read(into)
    for _ in requests:
        streams.write(memoryview(with_length(b"")))
    with pytest.raises(GuestExit, match="nobody had asked for"):
        streams.write(memoryview(with_length(b"")))
