"""Who is admitted when more queries come than may be checked: whoever has used less than its network's share."""

from collections.abc import Callable
from random import Random

import pytest

from p2p.core.dht import admission
from p2p.core.dht.admission import QueryRates

FLOOD_PER_S, SOURCES = 2700, 300

FLOODS: dict[str, Callable[[int, Random], str]] = {
    "of as many /16s": lambda number, random: f"{20 + number % 150}.{number // 150}.1.1",
    "of as many /24s of one /16": lambda number, random: f"20.1.{number % 250}.{number // 250}",
    "of the /16 of whoever asks": lambda number, random: f"81.2.{number % 250}.{number // 250}",
    "of the /24 of whoever asks": lambda number, random: f"81.2.69.{number % 250}",
    "of one /48": lambda number, random: f"2001:db8:1:{number:x}::1",
    "of as many /48s of one /32": lambda number, random: f"2001:db8:{number:x}::1",
}


def answered(
    rates: QueryRates, honest: str, flood: Callable[[int, Random], str], per_s: int = 1, seconds: int = 10
) -> float:
    """The part of honest queries, `per_s` in each second, that is admitted in a flood that began before."""
    random = Random(1)
    admitted = asked = 0
    for tick in range(seconds * FLOOD_PER_S):
        now = 1000 + tick / FLOOD_PER_S
        rates.admits(flood(tick % SOURCES, random), now)
        if tick > 2 * FLOOD_PER_S and tick % (FLOOD_PER_S // per_s) == 1234 // per_s:
            admitted += rates.admits(honest, now)
            asked += 1
    return admitted / asked


@pytest.mark.parametrize("name", FLOODS)
def test_honest_queries_are_answered_in_a_flood_from_300_sources(name: str) -> None:
    honest = "2001:db9::1" if "48" in name else "81.2.69.253"
    assert answered(QueryRates(1000), honest, FLOODS[name]) >= 6 / 7


def test_a_stranger_is_answered_in_a_flood_from_hosts_that_have_proven_where_they_are() -> None:
    rates = QueryRates(1000)
    for number in range(SOURCES):
        rates.proven(FLOODS["of as many /16s"](number, Random(1)))
    assert answered(rates, "81.2.69.253", FLOODS["of as many /16s"]) >= 6 / 7


def test_a_busy_network_has_its_share_of_a_flood_too() -> None:
    """Three queries in each second, from among 300 /16s that send nine."""
    assert answered(QueryRates(1000), "81.2.69.253", FLOODS["of as many /16s"], 3) >= 6 / 7


def test_forged_senders_of_all_networks_leave_room_for_hosts_that_have_proven_where_they_are() -> None:
    rates = QueryRates(1000)
    rates.proven("81.2.69.253")

    def forged(number: int, random: Random) -> str:
        return f"{random.randrange(1, 224)}.{random.randrange(256)}.{random.randrange(256)}.1"

    assert answered(rates, "81.2.69.253", forged, 5, seconds=4) == 1
    assert answered(QueryRates(1000), "81.2.69.253", forged, 5, seconds=4) < 6 / 7, "a stranger gets what is left"


def test_without_a_flood_only_a_hosts_own_rate_counts() -> None:
    rates = QueryRates(1000)
    admitted = sum(rates.admits("81.2.69.1", 1000) for _ in range(300))
    assert admitted == admission.QUERY_BURST
    assert sum(rates.admits("81.2.69.2", 1000) for _ in range(300)) == admission.QUERY_BURST
    assert sum(rates.admits("81.2.69.1", 1001) for _ in range(300)) == admission.QUERIES_PER_S
    assert sum(rates.admits(f"2001:db8::{number:x}", 1000) for number in range(300)) == admission.QUERY_BURST


def test_the_rate_of_all_holds_however_many_they_are() -> None:
    rates = QueryRates(1000)
    admitted = sum(
        rates.admits(f"{number % 200}.{number // 200 % 250}.1.1", 1000 + number / 10_000) for number in range(30_000)
    )
    most = admission.ALL_QUERY_BURST + 3 * admission.ALL_QUERIES_PER_S
    assert admission.ALL_QUERY_BURST * 0.5 <= admitted <= most


def test_what_is_remembered_is_bounded() -> None:
    rates = QueryRates(1000)
    for number in range(10_000):
        host = f"{number % 200}.{number // 200 % 250}.1.1"
        rates.proven(host)
        rates.admits(host, 1000 + number / 1000)
    assert len(rates._proven) == admission.MAX_PROVEN
    assert len(rates._sources) == admission.MAX_SOURCES
    assert len(rates._now[False].taken) < 3 * (admission.ALL_QUERY_BURST + admission.ALL_QUERIES_PER_S)
