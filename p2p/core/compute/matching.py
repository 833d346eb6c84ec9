"""Who gets how much work: windows, portions, and whose slots which job may use.

A volunteer has units ahead of it for a short time of its measured rate, so that its slots never wait for the network
and little is lost with it. Towards the end of a stage portions shrink (guided self-scheduling, Polychronopoulos and
Kuck 1987), so that all end together. Pure decisions, upon which others act.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from p2p.ids import PeerId

AHEAD_S = 0.1
MIN_AHEAD, MAX_AHEAD = 2, 1024
"""Units a slot."""
SAMPLE_S = 0.05
STRANGER_SHARE = 3
"""A stranger gets at most one part in so many of a stage while others idle."""


class UnitPace:
    """How fast a volunteer returns the units of one stage."""

    __slots__ = ("_count", "_since", "least", "rate")

    def __init__(self, now: float) -> None:
        self.rate = 0.0
        """Units a second; 0 until measured."""
        self.least = float("inf")
        """Seconds from sending a unit to having its result, at best."""
        self.begin(now)

    def begin(self, now: float) -> None:
        """The volunteer had nothing to do until now."""
        self._since, self._count = now, 0

    def returned(self, sent: float, now: float) -> None:
        """A result came of a unit that was sent then."""
        self.least = min(self.least, now - sent)
        self._count += 1
        elapsed = now - self._since
        if elapsed >= SAMPLE_S:
            sample = self._count / elapsed
            self.rate = 0.5 * (self.rate + sample) if self.rate else sample
            self.begin(now)

    def window(self, slots: int) -> int:
        """How many units may be ahead of the volunteer."""
        if not self.rate:
            return MIN_AHEAD * slots
        # What is on its way to and fro is not ahead of it: without this, one far away would stay slow for ever.
        return min(max(int(self.rate * (AHEAD_S + self.least)), MIN_AHEAD * slots), MAX_AHEAD * slots)


def portion(room: int, waiting: int, slots: int, all_slots: int, idle: int) -> int:
    """How many of the waiting units a volunteer gets at once.

    It has `slots` of all slots, of which `idle` have no unit, and room for so many.
    """
    ahead = waiting * slots // (2 * max(all_slots, 1))
    at_once = min(idle, -(-waiting * slots // max(all_slots, 1)))
    return min(room, waiting, max(ahead, at_once, 1))


def stranger_room(units: int, taken: int) -> int:
    """How many more of a stage's units a stranger may have while others idle."""
    return max(-(-units // STRANGER_SHARE) - taken, 0)


class VolunteerOffer(NamedTuple):
    """What a volunteer offers: slots, memory in bytes for each, names of its runtimes."""

    slots: int
    memory: int
    runtimes: frozenset[str]


class Need(NamedTuple):
    """What a job needs: a runtime, memory in bytes for a unit, and how many units could run at once."""

    runtime: str
    memory: int
    units: int


def suits(need: Need, offer: VolunteerOffer) -> bool:
    """Whether the volunteer can run the job's units."""
    return need.runtime in offer.runtimes and need.memory <= offer.memory and offer.slots > 0


def allot(
    needs: Sequence[Need], offers: Mapping[PeerId, VolunteerOffer], held: Sequence[Mapping[PeerId, int]]
) -> list[dict[PeerId, int]]:
    """The slots of each volunteer that each job may use, in the order of `needs`: as even as what they need allows.

    `held` has what each job uses now: where it makes no difference a job keeps its volunteers, whose guests know it.
    Max-min fair: a slot goes to the job with the fewest.
    """
    given: list[dict[PeerId, int]] = [{} for _ in needs]
    totals = [0] * len(needs)
    # Volunteers that few jobs can use go first, so that the choosy are not left without.
    suitors = {peer: [job for job, need in enumerate(needs) if suits(need, offer)] for peer, offer in offers.items()}
    for peer in sorted(offers, key=lambda peer: (len(suitors[peer]), peer)):
        free = offers[peer].slots
        while free:
            hungry = [job for job in suitors[peer] if totals[job] < needs[job].units]
            if not hungry:
                break
            # Those who have the same take turns; who is here already goes first.
            job = min(hungry, key=lambda job: (totals[job], given[job].get(peer, 0) >= held[job].get(peer, 0), job))
            # As many at once as leave it no richer than the next: thousands of slots take few steps.
            level = [totals[other] - totals[job] for other in hungry if totals[other] > totals[job]]
            tied = len(hungry) - len(level)
            step = min(free, needs[job].units - totals[job], max(min([free // tied, *level]), 1))
            given[job][peer] = given[job].get(peer, 0) + step
            totals[job] += step
            free -= step
    return given


def topped_up(slots: Sequence[int], wanted: Sequence[int], spare: int) -> list[int]:
    """How many slots each job of a volunteer has with those that are spare: who has the fewest gets the next.

    None has more than it wants, nor fewer than it has.
    """
    now = list(slots)
    for _ in range(spare):
        hungry = [job for job, count in enumerate(now) if count < wanted[job]]
        if not hungry:
            break
        now[min(hungry, key=lambda job: now[job])] += 1
    return now
