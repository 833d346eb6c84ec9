"""Ranges of bytes: what RFC 9110 says of each header, and nothing but spans within the file from any text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.gateway.ranges import Span, Unsatisfiable, parse_range

SIZE = 10
NUMBERS = st.integers(0, 3 * SIZE)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=9-99999999999999999999999", (9, 10)),
        ("Bytes = 0-3 ", (0, 4)),
        ("bytes=0-3,5-6", None),  # several, and what makes no sense: the whole file
        ("bytes=" + "0-1," * 5000 + "2-3", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=--3", None),
        ("bytes=1-2-3", None),
        ("bytes=\u0661-\u0662", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_a_header_has_its_span(header: str, span: tuple[int, int] | None) -> None:
    assert parse_range(header, SIZE) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_a_range_without_a_byte_of_the_file_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, SIZE)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 0)


@given(NUMBERS, NUMBERS, st.integers(0, 2 * SIZE))
def test_a_span_has_the_bytes_that_a_slice_has(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    if last < first:
        assert parse_range(f"bytes={first}-{last}", size) is None
        return
    try:
        span = parse_range(f"bytes={first}-{last}", size)
    except Unsatisfiable:
        assert not data[first : last + 1]
    else:
        assert span is not None
        assert data[span.begin : span.end] == data[first : last + 1]


@given(st.text(st.sampled_from("bytes=-,0123456789 \t\r\n+.x")) | st.text(), st.integers(0, 2**63))
@example("bytes=00000000000000000000000000-", 1)
def test_any_text_gives_a_span_within_the_file_or_none(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except Unsatisfiable:
        return
    assert span is None or (span == Span(*span) and 0 <= span.begin < span.end <= size)
