"""Rates are held for each address, and cost little memory."""

import pytest

from p2p.net.http_server.refusals import TooMuch, subject
from tracker.limits import Rates


def test_a_burst_then_the_rate() -> None:
    rates = Rates(rate=0.5, burst=2)
    rates.take("a", 0.0)
    rates.take("a", 0.0)
    with pytest.raises(TooMuch) as raised:
        rates.take("a", 0.0)
    assert raised.value.retry_s == 2
    rates.take("b", 0.0)
    rates.take("a", 2.0)
    with pytest.raises(TooMuch):
        rates.take("a", 2.1)


def test_what_costs_more_than_a_burst_takes_all_of_it() -> None:
    rates = Rates(rate=1, burst=5)
    rates.take("a", 0.0, 100)
    with pytest.raises(TooMuch):
        rates.take("a", 1.0, 2)


def test_only_the_latest_are_remembered() -> None:
    rates = Rates(rate=0.001, burst=1, most=2)
    for name in ("a", "b"):
        rates.take(name, 0.0)
    for name in ("a", "b"):
        with pytest.raises(TooMuch):
            rates.take(name, 0.0)
    rates.take("c", 0.0)  # the place of `a`
    rates.take("a", 0.0)


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_an_ipv4_address_or_an_ipv6_64(host: str, counted: str) -> None:
    assert subject(host) == counted


def test_who_owes_waits_until_it_is_made_up_for() -> None:
    rates = Rates(rate=10, burst=100)
    rates.admit("a", 0.0)
    rates.owe("a", 0.0, 300)
    with pytest.raises(TooMuch) as raised:
        rates.admit("a", 5.0)
    assert raised.value.retry_s == 15
    rates.admit("b", 5.0)
    rates.admit("a", 20.0)
