"""Links with a path behind them: where the link ends."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire.link import Link, PointerLink
from p2p.wire.within import is_within, parse_within
from tests.unit.wire.test_link import links

SHARE, PEER = ShareId(bytes(range(32))), PeerId(bytes(range(32, 64)))
TRACKERS = ("http://127.0.0.1:7475", "https://tracker.example.org", "http://[::1]:80/shoal", "https://a.example/x")
PATHS = ("", "*.parquet", "year=2024/**/*.csv", "n*.csv", "t.csv", "a b/c", "x%23y%3F.csv", "[ab].json")


def with_real_trackers(link: Link) -> Link:
    return msgspec.structs.replace(link, trackers=TRACKERS[: len(link.trackers)])


@given(links.map(with_real_trackers), st.sampled_from(PATHS))
def test_the_path_is_what_follows_the_hints(link: Link, path: str) -> None:
    for between in ("/", "//") if path else ("",):
        found = parse_within(f"{link}{between}{path}")
        assert (found.link.share_id if isinstance(found.link, Link) else None) == link.share_id
        assert found.path == path


def test_every_form_of_a_link_may_have_a_path() -> None:
    share, peer = ids.to_text(SHARE), ids.to_text(PEER)
    for text in (f"shoal://{share}/a/*.csv", f"magnet:?xt=urn:shoal:{share}&dn=x/a/*.csv"):
        found = parse_within(text)
        assert isinstance(found.link, Link)
        assert (found.link.share_id, found.path) == (SHARE, "a/*.csv")
    mutable = PointerLink(PEER, "a b")
    for text in (f"shoal://a%20b@{peer}/x.csv", f"{mutable}/x.csv", f"shoal:{peer}/a%20b/x.csv", f"{mutable}//x.csv"):
        assert parse_within(text) == (mutable, "x.csv")
    assert parse_within(f"{Link(SHARE)}//n.txt") == (Link(SHARE), "n.txt")
    assert parse_within(f"{Link(SHARE)}/n.name/n.txt*") == (Link(SHARE, "name"), "n.txt*")


@pytest.mark.parametrize(
    "text", ["shoal:", "shoal:s/abc/*.csv", "shoal://abc/x", "magnet:", "magnet:?dn=x/y", "SHOAL:m/x/y/z"]
)
def test_a_wrong_link_is_told(text: str) -> None:
    assert is_within(text)
    with pytest.raises(ConfigError):
        parse_within(text)


def test_other_texts_are_no_links() -> None:
    assert not any(map(is_within, ("", "data/x.csv", "s3://x", "shoals", "magnets/x.csv")))
