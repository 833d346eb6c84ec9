"""Addresses as text, the networks they count to, and who may be told of which."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import ConfigError
from p2p.wire import address
from p2p.wire.address import Address, Scope, parse_address

ports = st.integers(1, 65535)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str)
host_names = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True)
HOSTILE = st.text(max_size=30) | st.text("0123456789abcdef.:[]%@-/ \n", max_size=30)


@given(st.builds(Address, v4 | v6 | host_names, ports))
def test_text_and_back(place: Address) -> None:
    assert parse_address(str(place)) == place


@given(HOSTILE)
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    try:
        place = parse_address(text)
    except ConfigError:
        return
    assert parse_address(str(place)) == place
    assert str(place).isprintable()
    assert 1 <= place.port <= 65535


@given(HOSTILE | v4 | v6)
def test_a_host_is_one_word(text: str) -> None:
    if address.is_host(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(" /@[]?#&\\")
        address.prefix(text)
        address.scope(text)
        assert address.canonical(address.canonical(text)) == address.canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:000001",
        "host:٣",
        "::1:80",  # which colon is the port's?
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[host]:80",
        "[127.0.0.1.1]:80",
        "a b:80",
        "a..b:80",
        "-a:80",
        "host\n:80",
        "http://host:80",
        "[fe80::1%]:80",
        "[fe80::1%eth0\x1b[2J]:80",
        "[fe80::1%a@b]:80",
        f"{'a' * 64}:80",
        f"{'a.' * 127}a:80",
    ],
)
def test_not_an_address(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_port_zero_where_any_port_will_do() -> None:
    assert parse_address("[::]:0", any_port=True) == Address("::", 0)
    with pytest.raises(ConfigError):
        parse_address("[::]:65536", any_port=True)


def test_an_address_of_a_zone() -> None:
    assert parse_address("[fe80::1%eth0]:80") == Address("fe80::1%eth0", 80)
    assert address.prefix("fe80::1%eth0") == "fe80::/48"
    assert address.scope("fe80::1%eth0") == Scope.PRIVATE


def test_the_zone_does_not_divide_a_prefix() -> None:
    assert address.prefix("fe80::1%eth0") == address.prefix("fe80::2%eth1") == address.prefix("fe80::3")


@given(st.ip_addresses(v=4))
def test_a_v4_address_mapped_into_v6_is_the_v4_address(host: ipaddress.IPv4Address) -> None:
    mapped = f"::ffff:{host}"
    assert address.canonical(mapped) == str(host)
    assert address.prefix(mapped) == address.prefix(str(host))
    assert address.scope(mapped) == address.scope(str(host))


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:0DB8:0001::", "2001:db8:1::/48"),
        ("peer.example", "peer.example"),
    ],
)
def test_prefix(host: str, prefix: str) -> None:
    assert address.prefix(host) == prefix


@given(st.ip_addresses(v=4), st.integers(0, 255), st.ip_addresses(v=6), st.integers(0, 2**80 - 1))
def test_neighbours_count_to_one_prefix(
    a: ipaddress.IPv4Address, low: int, b: ipaddress.IPv6Address, rest: int
) -> None:
    neighbour = ipaddress.IPv4Address(int(a) & ~255 | low)
    assert address.prefix(str(a)) == address.prefix(str(neighbour))
    if b.ipv4_mapped is None:
        near = ipaddress.IPv6Address(int(b) & ~(2**80 - 1) | rest)
        if near.ipv4_mapped is None:
            assert address.prefix(str(b)) == address.prefix(str(near))


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.MACHINE),
        ("127.255.0.1", Scope.MACHINE),
        ("::1", Scope.MACHINE),
        ("::ffff:127.0.0.1", Scope.MACHINE),
        ("10.1.2.3", Scope.PRIVATE),
        ("192.168.0.1", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("169.254.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("0.0.0.0", Scope.PRIVATE),
        ("fe80::1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2606:4700::1", Scope.GLOBAL),
        ("peer.example", Scope.GLOBAL),
        ("fec0::1", Scope.PRIVATE),
        # 6to4
        ("2002:7f00:1::1", Scope.MACHINE),
        ("2002:c0a8:101::1", Scope.PRIVATE),
        ("2002:808:808::1", Scope.GLOBAL),
        # NAT64, well-known and of a network's own
        ("64:ff9b::127.0.0.1", Scope.MACHINE),
        ("64:ff9b::10.0.0.1", Scope.PRIVATE),
        ("64:ff9b::8.8.8.8", Scope.GLOBAL),
        ("64:ff9b:1::127.0.0.1", Scope.MACHINE),
        ("64:ff9b:1:7f00:0:100::", Scope.MACHINE),
        ("64:ff9b:1::8.8.8.8", Scope.PRIVATE),
        ("64:ff9b:1:808:8:800::", Scope.PRIVATE),
        # Teredo: its server 65.54.227.120, its client, inverted, 192.0.2.45, 8.8.8.8, 127.0.0.1
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Scope.PRIVATE),
        ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", Scope.GLOBAL),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", Scope.MACHINE),
        ("2001:0:7f00:1:8000:63bf:f7f7:f7f7", Scope.MACHINE),
        # IPv4-compatible
        ("::127.0.0.1", Scope.MACHINE),
        ("::192.168.1.1", Scope.PRIVATE),
        ("::8.8.8.8", Scope.GLOBAL),
    ],
)
def test_scope(host: str, scope: int) -> None:
    assert address.scope(host) == scope


def test_a_peer_is_told_nothing_narrower_than_its_own_address() -> None:
    machine, private, everywhere = "127.0.0.1", "10.0.0.1", "8.8.8.8"
    allowed = [(about, to) for about in (machine, private, everywhere) for to in (machine, private, everywhere)]
    allowed = [(about, to) for about, to in allowed if address.may_tell(about, to)]
    assert allowed == [
        (machine, machine),
        (private, machine),
        (private, private),
        (everywhere, machine),
        (everywhere, private),
        (everywhere, everywhere),
    ]


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "::8.8.8.8",  # IPv4-compatible, given up long ago
        "ff02::1",
        "ff0e::1",
        "100::1",
        "4000::1",
        "2002:e000:1::1",
        "2002::1",
        "2002:ffff:ffff::1",
        "64:ff9b::224.0.0.1",
        "64:ff9b::255.255.255.255",
        "64:ff9b::0.0.0.0",
        "64:ff9b:1::224.0.0.1",
        "2001:0:4136:e378:8000:63bf:1fff:fffe",
        "",
        "a b",
        "fe80::1%",
        "-x",
    ],
)
def test_nobody_sits_there(host: str) -> None:
    assert not address.is_dialable_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "8.8.8.8",
        "::1",
        "::ffff:8.8.8.8",
        "fe80::1%eth0",
        "fd00::1",
        "2606:4700::1",
        "2002:808:808::1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:808:8:800::",
        "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
        "peer.example",
    ],
)
def test_a_peer_may_sit_there(host: str) -> None:
    assert address.is_dialable_host(host)


@given(st.ip_addresses())
def test_any_address_has_a_scope(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert address.scope(str(host)) in (Scope.MACHINE, Scope.PRIVATE, Scope.GLOBAL)
    assert address.is_dialable_host(str(host)) in (True, False)
