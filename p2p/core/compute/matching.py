"""How much work each volunteer gets, and which job may use which volunteer's slots.

A volunteer is sent enough units in advance for a short time at its measured rate (its window), so that its slots never
wait for the network and little is lost if it leaves. Towards the end of a stage, it is sent fewer units at a time
(guided self-scheduling, Polychronopoulos and Kuck 1987), so that all volunteers finish together. This module only
decides; the owner's driver carries the decisions out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from p2p.ids import PeerId

AHEAD_S = 0.1
MIN_AHEAD, MAX_AHEAD = 2, 1024
"""The fewest and most units sent to a volunteer in advance, per slot."""
SAMPLE_S = 0.05
STRANGER_SHARE = 3
"""While others are idle, a stranger gets at most a fraction of a stage's units: one divided by this number."""


class UnitPace:
    """How fast a volunteer returns the units of one stage."""

    __slots__ = ("_count", "_since", "least", "rate")

    def __init__(self, now: float) -> None:
        self.rate = 0.0
        """Units per second; 0 until measured."""
        self.least = float("inf")
        """The shortest time from sending a unit to having its result, in seconds."""
        self.begin(now)

    def begin(self, now: float) -> None:
        """Records that the volunteer had nothing to do until now."""
        self._since, self._count = now, 0

    def returned(self, sent: float, now: float) -> None:
        """Records the result of a unit that was sent at `sent`."""
        self.least = min(self.least, now - sent)
        self._count += 1
        elapsed = now - self._since
        if elapsed >= SAMPLE_S:
            sample = self._count / elapsed
            self.rate = 0.5 * (self.rate + sample) if self.rate else sample
            self.begin(now)

    def window(self, slots: int) -> int:
        """How many units the volunteer may have been sent in advance."""
        if not self.rate:
            return MIN_AHEAD * slots
        # Units in transit do not count as sent in advance: without `least`, a distant peer would stay slow for ever.
        return min(max(int(self.rate * (AHEAD_S + self.least)), MIN_AHEAD * slots), MAX_AHEAD * slots)


def portion(room: int, waiting: int, slots: int, all_slots: int, idle: int) -> int:
    """How many of the waiting units a volunteer gets at once.

    The volunteer has `slots` of all slots, `idle` of them without a unit, and room for `room` more units.
    """
    ahead = waiting * slots // (2 * max(all_slots, 1))
    at_once = min(idle, -(-waiting * slots // max(all_slots, 1)))
    return min(room, waiting, max(ahead, at_once, 1))


def stranger_room(units: int, taken: int) -> int:
    """How many more of a stage's units a stranger may have while others are idle."""
    return max(-(-units // STRANGER_SHARE) - taken, 0)


class VolunteerOffer(NamedTuple):
    """What a volunteer offers: slots, memory in bytes per slot, names of its runtimes."""

    slots: int
    memory: int
    runtimes: frozenset[str]


class Need(NamedTuple):
    """What a job needs: a runtime, memory in bytes per unit, and how many units could run at once."""

    runtime: str
    memory: int
    units: int


def suits(need: Need, offer: VolunteerOffer) -> bool:
    """Whether the volunteer can run the job's units."""
    return need.runtime in offer.runtimes and need.memory <= offer.memory and offer.slots > 0


def allot(
    needs: Sequence[Need], offers: Mapping[PeerId, VolunteerOffer], held: Sequence[Mapping[PeerId, int]]
) -> list[dict[PeerId, int]]:
    """How many slots of each volunteer each job may use, in the order of `needs`, as evenly as these allow.

    `held` has what each job uses now: if it makes no difference, a job keeps its volunteers, whose guests know it.
    The shares are max-min fair: each slot goes to the job with the fewest slots.
    """
    given: list[dict[PeerId, int]] = [{} for _ in needs]
    totals = [0] * len(needs)
    # Volunteers that few jobs can use go first, so that jobs with special needs are not left without.
    suitors = {peer: [job for job, need in enumerate(needs) if suits(need, offer)] for peer, offer in offers.items()}
    for peer in sorted(offers, key=lambda peer: (len(suitors[peer]), peer)):
        free = offers[peer].slots
        while free:
            hungry = [job for job in suitors[peer] if totals[job] < needs[job].units]
            if not hungry:
                break
            # Jobs with equally many slots take turns; one that already uses this volunteer goes first.
            job = min(hungry, key=lambda job: (totals[job], given[job].get(peer, 0) >= held[job].get(peer, 0), job))
            # Give as many slots at once as leave it with no more than the next job: thousands take few steps.
            level = [totals[other] - totals[job] for other in hungry if totals[other] > totals[job]]
            tied = len(hungry) - len(level)
            step = min(free, needs[job].units - totals[job], max(min([free // tied, *level]), 1))
            given[job][peer] = given[job].get(peer, 0) + step
            totals[job] += step
            free -= step
    return given


def topped_up(slots: Sequence[int], wanted: Sequence[int], spare: int) -> list[int]:
    """How many slots each of a volunteer's jobs has after spare slots are given out, each to the job with the fewest.

    No job ends up with more than it wants, or with fewer than it has.
    """
    now = list(slots)
    for _ in range(spare):
        hungry = [job for job, count in enumerate(now) if count < wanted[job]]
        if not hungry:
            break
        now[min(hungry, key=lambda job: now[job])] += 1
    return now
