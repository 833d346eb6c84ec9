"""Reachability: what the evidence says, of which kind of address, and for how long."""

import pytest
import trio

from p2p.reach.reachability import MAX_TRACKERS, REMEMBERED_S, Reach, Reachability
from p2p.wire.address import Address, Scope

PUBLIC, PUBLIC_V6, PRIVATE, OWN = "8.8.8.8", "2001:4860::1", "192.168.1.5", "127.0.0.1"
ADDRESSES = tuple(Address(host, 7474) for host in (PUBLIC, PUBLIC_V6, PRIVATE, OWN))


def verdict(reachability: Reachability) -> tuple[Reach, int | None]:
    return reachability.state, reachability.scope


async def test_without_evidence_nothing_is_known_and_all_is_told() -> None:
    reachability = Reachability()
    assert verdict(reachability) == (Reach.UNKNOWN, None)
    assert reachability.advertised(ADDRESSES) == ADDRESSES


@pytest.mark.parametrize(
    ("host", "scope"), [(PUBLIC, Scope.GLOBAL), (PUBLIC_V6, Scope.GLOBAL), (PRIVATE, Scope.PRIVATE), (OWN, 0)]
)
async def test_who_dialled_here_proves_it_for_its_kind_of_address(host: str, scope: int) -> None:
    reachability = Reachability()
    reachability.dialled_from(host)
    assert verdict(reachability) == (Reach.DIALABLE, scope)


async def test_the_widest_kind_of_address_decides() -> None:
    reachability = Reachability()
    reachability.dialled_from(PRIVATE)
    reachability.tracker_says("one", False, PUBLIC)
    assert verdict(reachability) == (Reach.NOT_DIALABLE, Scope.GLOBAL)
    reachability.dialled_from(PUBLIC_V6)
    assert verdict(reachability) == (Reach.DIALABLE, Scope.GLOBAL)
    assert [address.host for address in reachability.advertised(ADDRESSES)] == [PUBLIC_V6, PRIVATE, OWN]


async def test_one_success_outweighs_any_number_of_failures_and_a_tracker_may_change_its_mind() -> None:
    reachability = Reachability()
    for url in ("one", "two", "three"):
        reachability.tracker_says(url, False, PUBLIC)
    assert verdict(reachability)[0] is Reach.NOT_DIALABLE
    reachability.tracker_says("two", True, PUBLIC)
    assert verdict(reachability)[0] is Reach.DIALABLE
    reachability.tracker_says("two", False, PUBLIC)
    assert verdict(reachability)[0] is Reach.NOT_DIALABLE
    reachability.dialled_from(PUBLIC)
    assert verdict(reachability)[0] is Reach.DIALABLE
    reachability.forget()
    assert verdict(reachability)[0] is Reach.UNKNOWN


async def test_evidence_grows_old(autojump_clock: trio.testing.MockClock) -> None:
    reachability = Reachability()
    reachability.dialled_from(PUBLIC)
    await trio.sleep(REMEMBERED_S / 2)
    reachability.tracker_says("one", False, PUBLIC)
    assert verdict(reachability)[0] is Reach.DIALABLE
    await trio.sleep(REMEMBERED_S / 2 + 1)
    assert verdict(reachability)[0] is Reach.NOT_DIALABLE
    await trio.sleep(REMEMBERED_S)
    assert verdict(reachability)[0] is Reach.UNKNOWN


async def test_the_word_of_the_user_is_the_last() -> None:
    reachability = Reachability(never=True)
    reachability.dialled_from(PUBLIC)
    reachability.tracker_says("one", True, PUBLIC)
    assert verdict(reachability) == (Reach.NOT_DIALABLE, Scope.GLOBAL)
    assert reachability.advertised(ADDRESSES) == ()


async def test_trackers_are_remembered_up_to_a_bound_the_newest_of_them() -> None:
    reachability = Reachability()
    reachability.tracker_says("oldest", True, PUBLIC)
    for number in range(MAX_TRACKERS):
        reachability.tracker_says(f"tracker {number}", False, PUBLIC)
    assert verdict(reachability)[0] is Reach.NOT_DIALABLE


@pytest.mark.parametrize("host", ["", "not an address", "fe80::1%eth0", "::", "8.8.8.8\x1b[2J"])
async def test_any_host_that_a_tracker_names_is_taken(host: str) -> None:
    reachability = Reachability()
    reachability.tracker_says("one", False, host)
    assert reachability.state in set(Reach)
