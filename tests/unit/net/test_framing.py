"""Where requests end, and what answers look like on their connection."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.net.http_server import framing
from p2p.net.http_server.framing import Answer, Asked, asked_by

LENGTH = (b"content-length", b"5")


def read(words: bytes) -> Asked:
    reader = framing.reader()
    reader.receive_data(words)
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    return asked_by(event)


def sent(
    asked: Asked, *pieces: bytes, status: int = 200, headers: framing.Headers = (), is_last: bool = False
) -> bytes:
    """A whole answer without its date."""
    answer = Answer(asked, status, headers, is_last=is_last)
    framed = [part for piece in pieces for part in answer.framed(piece, more=True)] + answer.framed(b"", more=False)
    head, _, rest = (answer.head + b"".join(framed)).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]
    assert len(lines) == head.count(b"\r\n")
    return b"\r\n".join([*lines, b"", rest])


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ("GET / HTTP/1.1\r\nhost: x", Asked(takes_chunks=True, is_last=False)),
        ("HEAD / HTTP/1.1\r\nhost: x", Asked(is_head=True, takes_chunks=True, is_last=False)),
        ("GET / HTTP/1.1\r\nhost: x\r\nconnection: te, Close", Asked(takes_chunks=True, is_last=True)),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3", Asked(has_body=True, takes_chunks=True, is_last=False)),
        ("GET / HTTP/1.0", Asked(is_last=True)),
        ("GET / HTTP/1.0\r\nconnection: Keep-Alive", Asked(says_so_if_kept=True, is_last=False)),
        ("GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade", Asked(takes_chunks=True, is_last=False)),
    ],
)
def test_what_decides_how_an_answer_is_framed(lines: str, asked: Asked) -> None:
    assert read(f"{lines}\r\n\r\n".encode()) == asked


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 6", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +5", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x5", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked", 501),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", 501),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding:\x0bchunked", 400),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\nhost: y", 400),
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/2.0\r\nhost: x", 505),
        ("GET / HTTP/0.9\r\nhost: x", 505),
        ("GET /\0 HTTP/1.1\r\nhost: x", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\na: \0", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\na : b", 400),
        ("GET / HTTP/1.1\r\n a: b\r\nhost: x", 400),
        ("G(T / HTTP/1.1\r\nhost: x", 400),
        ("GET  / HTTP/1.1\r\nhost: x", 400),
    ],
)
def test_a_request_that_others_may_read_otherwise_is_refused(lines: str, status: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as refused:
        read(f"{lines}\r\n\r\n".encode())
    assert refused.value.error_status_hint == status


def test_a_folded_line_is_one_line() -> None:
    reader = framing.reader()
    reader.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n content-length: 5\r\n\r\n")
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    assert dict(event.headers)[b"a"] == b"b content-length: 5"
    assert not asked_by(event).has_body


def test_a_head_without_end_is_refused() -> None:
    reader = framing.reader()
    reader.receive_data(b"GET / HTTP/1.1\r\n" + b"a" * framing.HEAD_BYTES)
    with pytest.raises(h11.RemoteProtocolError) as refused:
        reader.next_event()
    assert refused.value.error_status_hint == 431


def test_an_answer_is_framed_as_its_client_can_read_it() -> None:
    new, old = Asked(takes_chunks=True, is_last=False), Asked(says_so_if_kept=True, is_last=False)
    assert sent(new, b"hello", headers=[LENGTH]) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    assert sent(new, b"hel", b"", b"lo") == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    )
    assert sent(new, b"hello", headers=[LENGTH], is_last=True).endswith(b"connection: close\r\n\r\nhello")
    assert sent(old, b"hello", headers=[LENGTH]).endswith(b"connection: keep-alive\r\n\r\nhello")
    assert sent(old, b"hello") == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
    head = new._replace(is_head=True)
    assert sent(head, b"hello", headers=[LENGTH]) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    assert sent(head) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert sent(new, status=304, headers=[(b"etag", b'"a"')]) == b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n'
    closing = sent(new, b"hello", headers=[LENGTH, (b"Connection", b"close")])
    assert closing.lower().count(b"connection: close") == 1


@pytest.mark.parametrize("pieces", [(b"hello!",), (b"hell",), ()])
def test_an_answer_of_another_length_than_it_says_is_our_error(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="length"):
        sent(Asked(), *pieces, headers=[LENGTH])


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0"])
def test_no_header_of_an_answer_becomes_two(value: bytes) -> None:
    for header in ((b"a", value), (value, b"a")):
        with pytest.raises(ValueError, match="line"):
            Answer(Asked(), 200, [header], is_last=False)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_whatever_is_said_is_a_request_or_refused_alike_however_it_comes(words: bytes, cuts: list[int]) -> None:
    words = b"GET / HTTP/1.1\r\nhost: x\r\n" + words

    def outcome(pieces: list[bytes]) -> object:
        reader = framing.reader()
        try:
            for piece in pieces:
                if piece:
                    reader.receive_data(piece)
                if isinstance(event := reader.next_event(), h11.Request):
                    return asked_by(event)
        except h11.RemoteProtocolError:
            return "refused"
        return None

    ends = sorted({0, *(cut for cut in cuts if cut < len(words)), len(words)})
    whole = outcome([words])
    in_pieces = outcome([words[begin:end] for begin, end in pairwise(ends)])
    assert in_pieces == whole
