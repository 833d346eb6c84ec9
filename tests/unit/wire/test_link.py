"""Links: what is written is read again, and hostile ones do no more than fail."""

import re
import shlex
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire import link
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, PointerLink, is_link, parse_any_link, parse_link, parse_peer, parse_url
from p2p.wire.pasted import TRAILING
from tests.unit.wire.test_address import host_names, ports, v4, v6

keys = st.binary(min_size=32, max_size=32)
addresses = st.builds(Address, v4 | v6 | host_names, ports)
hints = st.builds(PeerHint, addresses, st.none() | keys.map(PeerId))
web = st.builds("{}://{}".format, st.sampled_from(["http", "https"]), st.text(min_size=1, max_size=20))
links = st.builds(
    Link,
    keys.map(ShareId),
    st.none() | st.text(min_size=1, max_size=40),
    st.none() | st.integers(0, 2**53 - 1),
    st.lists(hints, max_size=4).map(tuple),
    st.lists(st.text(min_size=1, max_size=20) | web, max_size=4).map(tuple),
)
pointers = st.builds(
    PointerLink,
    keys.map(PeerId),
    st.text(min_size=1, max_size=30).filter(lambda name: name.isprintable() and name == name.strip()),
    st.lists(st.builds(PeerHint, addresses, keys.map(PeerId)), max_size=4).map(tuple),
    st.lists(web, max_size=4).map(tuple),
)
SHARE = ShareId(bytes(range(32)))
PEER = PeerId(bytes(range(32, 64)))
XT = f"magnet:?xt=urn:shoal:{ids.to_text(SHARE)}"


@given(links)
def test_text_and_back(value: Link) -> None:
    text = str(value)
    assert parse_link(text) == value
    assert parse_link(f" {text}\n") == value


@given(pointers)
def test_a_mutable_link_and_back(value: PointerLink) -> None:
    text = str(value)
    assert parse_any_link(text) == value
    loud = parse_any_link(text.upper())
    assert isinstance(loud, PointerLink)
    assert (loud.publisher, loud.name) == (value.publisher, value.name)


@given(links | pointers)
def test_no_program_on_the_way_changes_a_link(value: Link | PointerLink) -> None:
    text = str(value)
    assert shlex.quote(text) == text
    assert re.fullmatch("shoal:[sm]/[A-Za-z0-9:/.,@_-]+", text)
    assert text[-1] not in TRAILING


@given(links | pointers, st.data())
def test_a_mistyped_id_is_told_as_such(value: Link | PointerLink, data: st.DataObject) -> None:
    text = str(value)
    at = data.draw(st.integers(8, 65))
    other = data.draw(st.sampled_from([one for one in "abcdefghijklmnopqrstuvwxyz234567" if one != text[at]]))
    with pytest.raises(ConfigError, match="was mistyped: the checksum"):
        parse_any_link(text[:at] + other + text[at + 1 :])
    with pytest.raises(ConfigError, match="not whole"):
        parse_any_link(text[:at])


def test_the_id_of_a_share_is_not_that_of_a_peer() -> None:
    text = str(Link(SHARE))
    with pytest.raises(ConfigError, match="mistyped"):
        parse_any_link(text.replace(":s/", ":m/") + "/name")
    assert parse_link(text[8:]) == Link(SHARE)


def test_a_link_of_a_later_version() -> None:
    assert parse_link(f"{Link(SHARE)}/z.5/new/n./b.x/p./t./n.name") == Link(SHARE, "name")
    with pytest.raises(ConfigError, match="encrypted"):
        parse_link(f"{Link(SHARE)}/k.secret")


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
        ("", "is empty"),
        (" ", "is empty"),
        ("magnet:?", "names no Shoal share"),
        ("magnet:?xt=urn:btih:" + "a" * 40, "names no Shoal share"),
        ("magnet:?xt=urn:shoal:", "names no Shoal share"),
        ("magnet:?xt=urn:shoal:" + "a" * 51, "not a link"),
        (XT + "&x.k=secret", "encrypted"),
        (str(PointerLink(PEER, "news")), "not a mutable link"),
        ("shoal:peer/name", "not a link"),
        ("shoal:s/abc", "not whole: 3 characters"),
        (str(PointerLink(PEER, "news"))[8:66], "id of a peer"),
        ("https://example.org", "neither a link"),
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


def test_names_are_escaped() -> None:
    assert str(Link(SHARE, "a b&c=d/é")) == f"{Link(SHARE)}/n.a,20b,26c,3dd,2f,c3,a9"
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


def test_an_address_is_a_link_too() -> None:
    share, peer = ids.to_text(SHARE), ids.to_text(PEER)
    with_checksum = str(Link(SHARE)).removeprefix("shoal:s/")
    for text in (
        f"shoal://{share}",
        f"shoal://{share.upper()}/",
        f"shoal://{with_checksum}",
        f"<shoal://{share}/>, see",
    ):
        assert parse_any_link(text) == Link(SHARE)
        assert is_link(text)
    for text in (f"shoal://a%20b@{peer}/", f"'shoal://a%20b@{peer}'"):
        assert parse_any_link(text) == PointerLink(PEER, "a b")
    assert parse_url(f"shoal://{share}/a%20b/*.csv") == (Link(SHARE), "a%20b/*.csv")
    assert parse_url(f"shoal://x@{peer}/a//b/") == (PointerLink(PEER, "x"), "a//b/")
    assert (
        parse_url(str(Link(SHARE))) is parse_url(f"shoal:{peer}/x") is parse_url(f"shoal://s/{with_checksum}") is None
    )
    with pytest.raises(ConfigError, match="something in a share"):
        parse_any_link(f"shoal://{share}/a")
    with pytest.raises(ConfigError, match="the name is empty"):
        parse_any_link(f"shoal://@{peer}/")
    with pytest.raises(ConfigError, match="id of a peer"):
        parse_any_link(f"shoal://{str(PointerLink(PEER, 'x')).split('/')[1]}")


def test_any_link_may_be_of_the_other_kind() -> None:
    assert parse_any_link(XT) == parse_link(XT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shoal:", "not a link"),
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
