"""The places of a fetch's addresses, under the virtual clock: who has one, and who loses it to whom."""

import pytest
import trio
from trio.testing import MockClock

from p2p.errors import PeerGone
from p2p.places import TRIED_S
from p2p.sharing.fetching.dial_places import ASK_INTERVAL_S, PERIOD_S, DialPlaces

MOST = 8
REGULAR = 6


class Address:
    """An address that is dialled, and kept until the end. `given` is what has come from there."""

    def __init__(self, places: DialPlaces, host: str, named_by: str = "finders") -> None:
        self._places = places
        self._host = host
        self._named_by = named_by
        self.given = 0.0
        self.dialled = self.lost = 0

    async def run(self) -> None:
        try:
            async with self._places.hold(self._host, self._named_by, lambda: self.given):
                self.dialled += 1
                await trio.sleep_forever()
        except PeerGone:
            self.lost += 1


async def started(nursery: trio.Nursery, *addresses: Address) -> None:
    for address in addresses:
        nursery.start_soon(address.run)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("named_by", ["finders", "192.0.2.1"])
async def test_an_address_of_another_network_or_namer_is_dialled_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, named_by: str
) -> None:
    places = DialPlaces(MOST)
    crowd = [Address(places, f"10.{n}.0.1" if named_by != "finders" else "10.1.0.1", "192.0.2.1") for n in range(50)]
    await started(nursery, *crowd)
    honest = Address(places, "203.0.113.7", "198.51.100.1")
    await started(nursery, honest)
    assert honest.dialled
    honest.given = 5
    await trio.sleep(30 * ASK_INTERVAL_S)
    assert not honest.lost
    nursery.cancel_scope.cancel()


async def test_addresses_on_trial_take_turns_and_no_faster(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    places = DialPlaces(MOST)
    crowd = [Address(places, "10.1.0.1") for _ in range(30)]
    await started(nursery, *crowd)
    assert [address.dialled for address in crowd] == [1] * MOST + [0] * 22
    await trio.sleep(10 * ASK_INTERVAL_S + TRIED_S)
    assert 8 <= sum(address.lost for address in crowd) <= 11
    assert not any(address.lost for address in crowd[:REGULAR])
    nursery.cancel_scope.cancel()


async def test_whoever_gives_something_stays_and_who_did_not_for_a_period_goes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    places = DialPlaces(MOST)
    crowd = [Address(places, f"10.{number}.0.1") for number in range(120)]
    await started(nursery, *crowd)
    for _ in range(30):
        await trio.sleep(PERIOD_S / 10)
        for address in crowd[:3]:
            address.given += 1
    assert [address.lost for address in crowd[:REGULAR]] == [0] * 3 + [1] * 3
    assert all(address.dialled for address in crowd)
    nursery.cancel_scope.cancel()


async def test_a_place_that_is_left_is_given_to_the_next(nursery: trio.Nursery) -> None:
    places = DialPlaces(1)
    first, second = Address(places, "10.1.0.1"), Address(places, "10.1.0.2")
    async with trio.open_nursery() as of_first:
        await started(of_first, first)
        await started(nursery, second)
        assert not second.dialled
        of_first.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert second.dialled
    nursery.cancel_scope.cancel()
