"""The line at a busy volunteer: places are few and bounded, and turns go round among those who have the same claim."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.core.compute.waiting_queue import MAX_PER_OWNER, MAX_WAITING, QueuePlace, WaitingQueue
from p2p.ids import PeerId


def owner(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def joined(waiting: WaitingQueue, *places: QueuePlace) -> list[QueuePlace]:
    assert all(map(waiting.join, places))
    return list(places)


def served(waiting: WaitingQueue) -> list[QueuePlace]:
    """All, in the order of their turns."""
    order = []
    while waiting:
        order.append(waiting.order(())[0])
        waiting.serve(order[-1])
    return order


def test_first_come_first_served() -> None:
    waiting = WaitingQueue()
    places = joined(waiting, *(QueuePlace(owner(n), "net") for n in range(5)))
    assert waiting.order(()) == places
    waiting.leave(places[1])
    del places[1]
    assert waiting.order(()) == places
    assert served(waiting) == places


def test_an_owner_with_many_jobs_has_one_turn_like_others() -> None:
    waiting = WaitingQueue()
    many = joined(waiting, *(QueuePlace(owner(0), "net") for _ in range(3)))
    others = joined(waiting, *(QueuePlace(owner(n), "net") for n in (1, 2)))
    assert served(waiting) == [many[0], *others, *many[1:]]


def test_who_has_nothing_at_work_comes_before_who_has() -> None:
    waiting = WaitingQueue()
    first, second = joined(waiting, QueuePlace(owner(0), "net"), QueuePlace(owner(1), "net"))
    assert waiting.order({owner(0)}) == [second, first]
    assert waiting.order({owner(0), owner(1)}) == [first, second]


def test_who_comes_back_for_its_own_job_is_first_whatever_there_is() -> None:
    waiting = WaitingQueue()
    joined(waiting, *(QueuePlace(owner(n), f"{n % 2}") for n in range(MAX_WAITING)))
    (back,) = joined(waiting, QueuePlace(owner(0), "0", returns=True))
    assert waiting.order({owner(0)})[0] is back


def test_a_full_line() -> None:
    waiting = WaitingQueue()
    crowd = joined(waiting, *(QueuePlace(owner(n), "crowd") for n in range(MAX_WAITING)))
    refused = QueuePlace(owner(1000), "crowd")
    assert not waiting.join(refused)
    assert refused not in waiting.order(())
    waiting.leave(refused)
    greedy = joined(waiting, *(QueuePlace(owner(2000), "net") for _ in range(MAX_PER_OWNER)))
    assert not waiting.join(QueuePlace(owner(2000), "net"))
    assert [waiting.holds(place) for place in crowd] == [True] * 28 + [False] * 4, "the last to come make room"
    for n in range(12):
        joined(waiting, QueuePlace(owner(3000 + n), "net"))
    assert not waiting.join(QueuePlace(owner(4000), "net"))
    assert all(map(waiting.holds, greedy))
    assert len(waiting) == MAX_WAITING
    (returning,) = joined(waiting, QueuePlace(owner(5000), "net", returns=True))
    assert waiting.order(())[0] is returning
    assert len(waiting) == MAX_WAITING + 1


@given(st.integers(1, MAX_WAITING - 1), st.integers(0, 3))
def test_a_crowd_of_one_network_holds_nobody_up_for_long(crowd: int, had: int) -> None:
    """However many of them there are, and however many turns they had: one more, and it is the turn of another."""
    waiting = WaitingQueue()
    joined(waiting, *(QueuePlace(owner(n), "crowd") for n in range(crowd)))
    for n in range(min(had, crowd - 1)):
        waiting.serve(waiting.order(())[0])
        joined(waiting, QueuePlace(owner(100 + n), "crowd"))
    (lone,) = joined(waiting, QueuePlace(owner(1000), "elsewhere"))
    assert waiting.order(()).index(lone) == 1
    waiting.serve(waiting.order(())[0])
    assert waiting.order(())[0] is lone


class Coming(RuleBasedStateMachine):
    """Owners that come, go, and have their turns, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.line = WaitingQueue()
        self.waiting: list[QueuePlace] = []
        """In the order in which they came."""

    @rule(number=st.integers(0, 30), network=st.integers(0, 2), returns=st.sampled_from([False] * 9 + [True]))
    def join(self, number: int, network: int, returns: bool) -> None:
        place = QueuePlace(owner(number), f"{network}", returns)
        seated = [other for other in self.waiting if not other.returns]
        held = Counter(other.host for other in seated)
        of_owner = sum(other.owner == place.owner for other in self.waiting)
        most = max(held.values(), default=0)
        is_full = len(seated) >= MAX_WAITING
        room = of_owner < MAX_PER_OWNER and (not is_full or most > held[place.host] + 1)
        assert self.line.join(place) == (room or returns)
        if room or returns:
            self.waiting.append(place)
        if room and is_full and not returns:
            (displaced,) = [other for other in self.waiting if not self.line.holds(other)]
            assert held[displaced.host] == most
            self.waiting.remove(displaced)

    @rule(data=st.data())
    @precondition(lambda self: self.waiting)
    def leave(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.waiting))
        self.line.leave(place)
        self.line.leave(place)
        self.waiting.remove(place)

    @rule(busy=st.sets(st.integers(0, 30)))
    @precondition(lambda self: self.waiting)
    def serve(self, busy: set[int]) -> None:
        at_work = set(map(owner, busy))
        first = self.line.order(at_work)[0]
        equals = [place for place in self.waiting if claim(place, at_work) == claim(first, at_work)]
        assert claim(first, at_work) == min(claim(place, at_work) for place in self.waiting)
        # Of one owner who came first is first.
        assert first is next(place for place in equals if place.owner == first.owner and place.host == first.host)
        self.line.serve(first)
        self.waiting.remove(first)

    @invariant()
    def everybody_is_in_line_once(self) -> None:
        order = self.line.order(())
        assert len(order) == len(self.line) == len(self.waiting)
        assert set(order) == set(self.waiting)


def claim(place: QueuePlace, at_work: set[PeerId]) -> tuple[bool, bool]:
    return not place.returns, place.owner in at_work


TestComing = Coming.TestCase
