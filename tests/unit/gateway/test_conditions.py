"""Conditions of requests: which of them save the sending of a file, and which a range of it."""

from datetime import UTC, datetime

import pytest

from p2p.core.shares.manifest import Entry, EntryKind, TimedEntry
from p2p.gateway import conditions
from p2p.gateway.conditions import Tags, range_of, refused_by, time_of
from p2p.gateway.ranges import Span
from p2p.ids import ShareId
from tests.support.constants import Shorten

SHARE = ShareId(bytes(32))
TAG, OTHER = '"abc"', '"abd"'
TIME, EARLIER, LATER = (f"Tue, 0{day} Jun 2021 10:00:00 GMT" for day in (8, 7, 9))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": f"W/{TAG}"}, 304),
        ({"if-none-match": f"{OTHER}, {TAG}"}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": OTHER}, None),
        ({"if-none-match": "abc"}, None),
        ({"if-none-match": OTHER, "if-modified-since": TIME}, None),  # the tag counts, and the time does not
        ({"if-modified-since": TIME}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, None),
        ({"if-modified-since": "yesterday"}, None),
        ({"if-modified-since": "Tue, 08 Jun 99999 10:00:00 GMT"}, None),
        ({"if-match": TAG}, None),
        ({"if-match": "*"}, None),
        ({"if-match": OTHER}, 412),
        ({"if-match": f"W/{TAG}"}, 412),
    ],
)
def test_a_condition_decides_what_is_sent(headers: dict[str, str], status: int | None) -> None:
    assert refused_by(headers, TAG, TIME) == status


def test_a_share_without_times_has_none_to_compare() -> None:
    assert refused_by({"if-modified-since": LATER}, TAG, None) is None


@pytest.mark.parametrize(
    ("unless", "is_sent"), [(TAG, True), (TIME, True), (OTHER, False), (f"W/{TAG}", False), (LATER, False)]
)
def test_a_range_is_sent_only_of_the_file_that_is_meant(unless: str, is_sent: bool) -> None:
    found = range_of({"range": "bytes=1-2", "if-range": unless}, 9, TAG, TIME)
    assert found == (Span(1, 3) if is_sent else None)


def test_a_file_has_the_time_that_its_share_says_unless_that_is_to_come() -> None:
    now = datetime(2021, 6, 8, 10, tzinfo=UTC).timestamp()
    plain = Entry(EntryKind.FILE, ("a",))
    assert time_of(plain, now) is None
    for seconds, time in ((now, TIME), (now + 1, None), (-1.5, "Wed, 31 Dec 1969 23:59:58 GMT")):
        file = TimedEntry(EntryKind.FILE, ("a",), modified_ns=int(seconds * 10**9))
        assert time_of(file, now) == time
        tags = Tags()
        assert tags.of(SHARE, file) == tags.of(SHARE, plain) == tags.of(SHARE, file)


def test_the_tags_of_other_files_differ_however_many_are_remembered(shorten: Shorten) -> None:
    shorten(conditions, "MAX_TAGS", 2)
    tags = Tags()
    files = [Entry(EntryKind.FILE, (f"{number}",), size=number) for number in range(4)]
    first = [tags.of(SHARE, file) for file in files]
    assert len(set(first)) == len(files)
    assert [tags.of(SHARE, file) for file in files] == first
