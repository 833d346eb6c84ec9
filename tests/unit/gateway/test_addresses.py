"""Addresses: every path of a share has one, and everything else is refused."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from p2p import ids
from p2p.core.shares import names
from p2p.errors import MalformedMessage, NotFound
from p2p.gateway.addresses import Place, address, parse_named, parse_place, relative
from p2p.ids import PeerId, ShareId

SHARE = ShareId(bytes(range(32)))
ID = ids.to_text(SHARE).encode()
PATHS = st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)


@settings(max_examples=40)
@given(PATHS, st.booleans())
def test_a_path_survives_its_address(path: tuple[str, ...], with_slash: bool) -> None:
    assume(not path or names.path_refusal(path) is None)
    place = Place(SHARE, path, with_slash)
    written = address(place)
    assert written.isascii()
    assert written.isprintable()
    assert not written.startswith("//")
    assert parse_place(written.encode()) == place


@pytest.mark.parametrize(
    "name", ["javascript:alert(1)", "//example.net", "?x", "#x", "a b", "\u202e", '"><b>', "%2e%2e"]
)
def test_a_name_is_never_taken_as_another_kind_of_address(name: str) -> None:
    written = relative(name, is_folder=False)
    assert written.startswith("./")
    assert set(written[2:]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%")


@pytest.mark.parametrize(
    "path", [b"..", b".", b"%2e%2e", b"%2E.", b"a/../b", b"a%2Fb", b"a//b", b"a%00b", b"%2f", b"a/./b", b"..//", b"//"]
)
def test_what_no_share_has_is_not_found(path: bytes) -> None:
    with pytest.raises(NotFound):
        parse_place(b"/s/" + ID + b"/" + path)


@pytest.mark.parametrize("raw", [b"", b"/", b"x", b"..", ID[:-1], ID + b"a", b"%ff", ID + b"/%ff", ID + b"/%c0%ae"])
def test_what_makes_no_sense_is_refused(raw: bytes) -> None:
    with pytest.raises((MalformedMessage, NotFound)):
        parse_place(b"/s/" + raw)


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_place_or_refused(raw: bytes) -> None:
    for parse in (parse_place, parse_named):
        start = b"/s/" if parse is parse_place else b"/n/"
        for inside in (raw, ID + b"/" + raw):
            try:
                found = parse(start + inside)
            except (MalformedMessage, NotFound):
                continue
            assert not {"", ".", ".."} & set(found.path)
            assert not any("/" in part or "\0" in part for part in found.path)


def test_a_mutable_link_is_a_peer_a_name_and_a_path() -> None:
    found = parse_named(b"/n/" + ID + b"/news/a%20b/")
    assert found == (PeerId(SHARE), "news", ("a b",), True)
    for wrong in (b"", ID, b"x/news", ID + b"/" + b"n" * 300):
        with pytest.raises((MalformedMessage, NotFound)):
            parse_named(b"/n/" + wrong)
