"""Attention: nobody waits while there is enough; a flood from few networks delays neither others nor the loop."""

import pytest

from p2p.net.attention import (
    BURST,
    LATE_S,
    LEAST_UNITS_PER_S,
    LOOK_INTERVAL_S,
    MAX_NETWORKS,
    PART_BURST,
    UNITS_PER_S,
    Attention,
)

STEP_UNITS = 20.0
CROWD = [f"127.1.1.{n}" for n in range(1, 65)] + [f"127.{net}.1.{n}" for net in (2, 3, 4, 5) for n in range(1, 9)]


class Flood:
    """Hosts that each send as much as they are let; time goes on in small steps."""

    def __init__(self, hosts: list[str]) -> None:
        self.attention = Attention()
        self.now = 1000.0
        self.taken = dict.fromkeys(hosts, 0.0)
        self._next_at = dict.fromkeys(hosts, self.now)

    def rate(self, seconds: float) -> float:
        """Units per second that all get together, from now on."""
        before = sum(self.taken.values())
        self.go_on(seconds)
        return (sum(self.taken.values()) - before) / seconds

    def go_on(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            for host, at in self._next_at.items():
                if at <= self.now:
                    self.taken[host] += STEP_UNITS
                    self._next_at[host] = self.now + self.attention.take(host, STEP_UNITS, self.now)
            self.now += 0.001


def test_nobody_waits_while_all_want_less_than_there_is() -> None:
    attention, now = Attention(), 0.0
    for number in range(5000):
        now += 1.1 * STEP_UNITS / UNITS_PER_S
        assert attention.take(CROWD[number % len(CROWD)], STEP_UNITS, now) == 0


@pytest.mark.parametrize("hosts", [CROWD, CROWD[:1], CROWD[:64], [f"11.{n}.1.1" for n in range(200)]], ids=len)
def test_a_flood_gets_what_there_is_and_no_more(hosts: list[str]) -> None:
    flood = Flood(hosts)
    flood.go_on(1.0)
    assert 0.9 * UNITS_PER_S < flood.rate(5.0) < 1.1 * UNITS_PER_S


def test_another_network_does_not_wait_for_a_flood() -> None:
    flood = Flood(CROWD)
    flood.go_on(2.0)
    for _ in range(100):
        assert flood.attention.take("127.9.1.1", STEP_UNITS, flood.now) == 0
        flood.go_on(0.01)


def test_whoever_joins_the_flood_gets_the_part_of_its_network() -> None:
    flood = Flood([*CROWD, "127.9.1.1"])
    flood.go_on(1.0)
    before = flood.taken["127.9.1.1"]
    flood.go_on(5.0)
    assert (flood.taken["127.9.1.1"] - before) / 5 > 0.9 * UNITS_PER_S / 6


def test_a_small_question_of_a_crowded_network_waits_little() -> None:
    flood = Flood(CROWD)
    flood.go_on(2.0)
    for _ in range(20):
        assert flood.attention.take("127.1.1.200", 3, flood.now) < 1
        flood.go_on(0.1)


def test_what_was_used_while_there_was_enough_is_not_owed_later() -> None:
    attention, now = Attention(), 0.0
    for _ in range(10_000):  # one network alone, with most of what there is, for long
        now += 1.1 * STEP_UNITS / UNITS_PER_S
        attention.take("127.1.1.1", STEP_UNITS, now)
    attention.take("127.2.1.1", BURST, now)
    assert attention.take("127.1.1.1", STEP_UNITS, now) == 0


def test_what_one_host_wants_at_once_is_owed() -> None:
    attention = Attention()
    assert attention.take("127.1.1.1", BURST, 0.0) == pytest.approx((BURST - PART_BURST) / UNITS_PER_S)


def test_while_tasks_wake_late_there_is_less_and_afterwards_as_much_as_before() -> None:
    flood = Flood(CROWD)
    for _ in range(30):
        flood.go_on(LOOK_INTERVAL_S)
        flood.attention.woke(2 * LATE_S, flood.now)
        flood.attention.woke(0, flood.now)
    assert 0.9 * LEAST_UNITS_PER_S < flood.rate(2.0) < 1.2 * LEAST_UNITS_PER_S
    assert flood.attention.take("127.9.1.1", STEP_UNITS, flood.now) == 0
    for _ in range(60):
        flood.go_on(LOOK_INTERVAL_S)
        flood.attention.woke(LATE_S / 2, flood.now)
    assert 0.9 * UNITS_PER_S < flood.rate(2.0) < 1.1 * UNITS_PER_S


def test_few_networks_are_remembered() -> None:
    attention = Attention()
    for number in range(3 * MAX_NETWORKS):
        attention.take(f"{11 + number // 65536}.{number // 256 % 256}.{number % 256}.1", 100, 0.0)
    assert len(attention._parts) <= MAX_NETWORKS
