"""Where packets go, and which do not."""

from p2p.core.cluster.membership import AWAY_AFTER_S, GONE_AFTER_S, Membership
from p2p.core.cluster.packets import VNET, address_of, is_sound
from p2p.core.cluster.switch import Switch
from tests.support.clusters.packets import tcp_packet, udp_packet, vnet


def test_packets_wait_for_the_member_whose_address_they_are_for() -> None:
    members = Membership([1, 2])
    switch = Switch(0, members)
    one, two = switch.open(1), switch.open(2)
    packet = tcp_packet(0, 2, b"data")
    assert switch.dispatch(packet, 0.0) is two
    assert (one.take(0.0), two.take(0.0)) == ([], [packet])


def test_what_only_this_kernel_knows_is_not_passed_on() -> None:
    switch = Switch(0, Membership([1]))
    line = switch.open(1)
    packet = udp_packet(0, 1, b"data")
    switch.dispatch(vnet(2) + packet[VNET.size :], 0.0)
    assert line.take(0.0) == [vnet() + packet[VNET.size :]]


def test_a_member_that_is_away_is_waited_for_and_one_that_is_gone_is_refused() -> None:
    members = Membership([1])
    switch = Switch(0, members)
    packet = tcp_packet(0, 1, b"data")
    refused = switch.dispatch(packet, 0.0)
    assert isinstance(refused, bytes), "it has never come, so nothing waits for an answer of it"
    members.begin(1, 0, 0.0)
    line = switch.open(1)
    switch.close(1, line)
    assert switch.dispatch(packet, 0.0) is None
    members.tick(AWAY_AFTER_S)
    assert switch.dispatch(packet, 0.0) is None
    members.tick(AWAY_AFTER_S + GONE_AFTER_S)
    assert switch.dispatch(packet, 0.0) == refused
    assert is_sound(refused, address_of(1), address_of(0))


def test_an_address_that_nobody_has_is_refused() -> None:
    assert isinstance(Switch(0, Membership([1])).dispatch(tcp_packet(0, 99), 0.0), bytes)


def test_a_connection_that_replaces_another_keeps_its_line() -> None:
    switch = Switch(0, Membership([1]))
    first = switch.open(1)
    switch.dispatch(tcp_packet(0, 1), 0.0)
    second = switch.open(1)
    switch.close(1, first)
    assert first.bytes == 0
    assert switch.dispatch(tcp_packet(0, 1), 0.0) is second


def test_a_member_speaks_for_itself_only() -> None:
    switch = Switch(0, Membership([1, 2]))
    line = switch.open(2)
    assert switch.takes(1, tcp_packet(1, 0))
    assert not switch.takes(1, tcp_packet(2, 0)), "a forged source"
    assert not switch.takes(1, tcp_packet(1, 2)), "for somebody else"
    assert switch.unsound == 2
    assert switch.dispatch(tcp_packet(1, 2), 0.0) is None, "nothing is passed on in another's name"
    assert line.bytes == 0


def test_what_is_no_ipv4_is_dropped() -> None:
    switch = Switch(0, Membership([1]))
    switch.open(1)
    for packet in (b"", vnet(), vnet() + b"\x60" + bytes(60), bytes(70_000)):
        assert switch.dispatch(packet, 0.0) is None
