"""Which beginnings of a stream are a whole ClientHello, or part of one."""

import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from p2p.wire.client_hello import MAX_BYTES, is_whole


def hello(size: int = 200) -> bytes:
    """The headers of a record and of a ClientHello in it, and what fills them."""
    record = bytes((22, 3, 1)) + (size - 5).to_bytes(2)
    return record + bytes((1,)) + (size - 9).to_bytes(3) + bytes(size - 9)


def of_this_python() -> bytes:
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="a.example").do_handshake()
    return said.read()


@pytest.mark.parametrize("whole", [hello(), hello(10), hello(MAX_BYTES), of_this_python()], ids=len)
def test_each_beginning_of_one_is_a_part_of_it(whole: bytes) -> None:
    assert not any(is_whole(whole[:size]) for size in range(min(len(whole), 300)))
    assert not is_whole(whole[:-1])
    assert is_whole(whole)
    assert is_whole(whole + b"more")


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 6, 7, 8])
def test_another_first_word_is_refused(at: int) -> None:
    wrong = bytearray(hello())
    wrong[at] ^= 0xFF
    with pytest.raises(MalformedMessage):
        is_whole(bytes(wrong))


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"\0", hello(9), hello(MAX_BYTES + 1)], ids=len)
def test_what_is_none_is_refused(said: bytes) -> None:
    with pytest.raises(MalformedMessage):
        is_whole(said)


@given(st.binary(max_size=64))
def test_random_bytes_are_refused_or_a_part(said: bytes) -> None:
    with suppress(MalformedMessage):
        is_whole(said)
