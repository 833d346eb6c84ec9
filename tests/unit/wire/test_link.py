"""Links: what is written is read again, and hostile ones do no more than fail."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire import link
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, PointerLink, parse_any_link, parse_link, parse_peer
from tests.unit.wire.test_address import host_names, ports, v4, v6

keys = st.binary(min_size=32, max_size=32)
addresses = st.builds(Address, v4 | v6 | host_names, ports)
hints = st.builds(PeerHint, addresses, st.none() | keys.map(PeerId))
links = st.builds(
    Link,
    keys.map(ShareId),
    st.none() | st.text(max_size=40),
    st.none() | st.integers(0, 2**53 - 1),
    st.lists(hints, max_size=4).map(tuple),
    st.lists(st.text(max_size=20), max_size=4).map(tuple),
)
SHARE = ShareId(bytes(range(32)))
PEER = PeerId(bytes(range(32, 64)))
XT = f"magnet:?xt=urn:shoal:{ids.to_text(SHARE)}"


@given(links)
def test_text_and_back(value: Link) -> None:
    text = str(value)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert parse_link(text) == value
    assert parse_link(f" {text}\n") == value


@given(hints)
def test_a_peer_and_back(hint: PeerHint) -> None:
    assert parse_peer(str(hint)) == hint


@given(keys.map(ShareId))
def test_a_bare_id_is_a_link(share: ShareId) -> None:
    assert parse_link(ids.to_text(share)) == Link(share)
    assert parse_link(ids.to_text(share).upper()) == Link(share)


parameters = st.lists(
    st.tuples(
        st.sampled_from(["xt", "dn", "xl", "x.pe", "tr", "x.k", "xt.1", "", "a"]),
        st.text(max_size=20) | st.text("%0123456789abcdef:@[]+&=", max_size=20) | hints.map(str) | st.just(XT[11:]),
    ),
    max_size=6,
).map(lambda pairs: "magnet:?" + "&".join(f"{key}={value}" for key, value in pairs))


@given(st.text(st.characters(), max_size=80) | parameters | parameters.map(lambda text: f"{text}&{XT[8:]}"))
def test_any_text_is_a_link_or_a_config_error(text: str) -> None:
    try:
        value = parse_link(text)
    except ConfigError as error:
        str(error).encode()
        return
    assert parse_link(str(value)) == value


@given(links.map(str), st.data())
def test_a_bent_link_is_a_link_or_a_config_error(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    bent = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    try:
        value = parse_link(bent)
    except ConfigError:
        return
    assert parse_link(str(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a link"),
        ("magnet:?", "names no Shoal share"),
        ("magnet:?xt=urn:btih:" + "a" * 40, "names no Shoal share"),
        ("magnet:?xt=urn:shoal:", "not a link"),
        ("magnet:?xt=urn:shoal:" + "a" * 51, "not a link"),
        (XT + "&x.k=secret", "encrypted"),
        ("shoal:peer/name", "magnet link or the id of a share is needed"),
        ("https://example.org", "not a link"),
        (XT + "&tr=" + "x" * link.MAX_LINK_CHARS, "longer than"),
        (XT + "&a=" * 200, "too many parameters"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_link(text)


@pytest.mark.parametrize(
    "hint",
    [
        "xl=-1",
        "xl=1e9",
        "xl=",
        "xl=٣",
        "xl=" + "9" * 19,
        "x.pe=host",
        "x.pe=host:0",
        "x.pe=@host:1",
        "x.pe=abc@host:1",
        "x.pe=" + quote("[::1%\x1b[2J]:5"),
        "unknown=1",
        "xt=urn:btih:abc",
        "=",
        "&&&",
    ],
)
def test_a_hint_that_makes_no_sense_is_dropped(hint: str) -> None:
    assert parse_link(f"{XT}&{hint}") == Link(SHARE)


def test_hints_are_bounded() -> None:
    value = parse_link(XT + "&x.pe=a:1" * 60 + "&tr=b" * 60 + "&dn=" + "n" * 400)
    assert len(value.peers) == len(value.trackers) == link.MAX_HINTS
    assert value.name == "n" * 255


def test_names_are_percent_encoded() -> None:
    assert str(Link(SHARE, "a b&c=d/é")) == XT + "&dn=a%20b%26c%3Dd%2F%C3%A9"
    assert parse_link(XT + "&dn=a+b%20c").name == "a b c"


def test_stray_bytes_of_an_argument() -> None:
    """A command line that is not UTF-8 comes with lone surrogates in it, which no link can be written with."""
    value = parse_link(f"{XT}&dn=a\udcffb&tr=\udcfe")
    assert parse_link(str(value)) == value


def test_a_wrong_peer_id_is_named() -> None:
    with pytest.raises(ConfigError, match="'abc' is not a peer id"):
        parse_peer("abc@host:1")


def test_a_mutable_link_reads_back() -> None:
    for name in ("photos", "a b/ü", "100 %"):
        pointer = PointerLink(PEER, name)
        assert parse_any_link(f" {pointer}\n") == pointer


def test_any_link_may_be_of_the_other_kind() -> None:
    assert parse_any_link(XT) == parse_link(XT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shoal:", "empty"),
        ("shoal:abc/name", "52 letters"),
        (f"shoal:{ids.to_text(PEER)}", "empty"),
        (f"shoal:{ids.to_text(PEER)}/", "empty"),
        (f"shoal:{ids.to_text(PEER)}/{'x' * 121}", "at most 120"),
        (f"shoal:{ids.to_text(PEER)}/a%00b", "printable characters"),
        (f"shoal:{ids.to_text(PEER)}/a%0Ab", "printable characters"),
        (f"shoal:{ids.to_text(PEER)}/%20a", "printable characters"),
    ],
)
def test_what_is_wrong_with_a_mutable_link_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_any_link(text)
