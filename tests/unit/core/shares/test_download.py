"""What is asked of whom: rules of the choice one by one, and a machine for all that sources may do."""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import takewhile

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from p2p.core.shares import bitmap, download
from p2p.core.shares.download import Ask, AskNoMore, Command, Download, DropSource, Hurry
from p2p.core.shares.layout import Layout
from tests.support.manifests import KIB, MIB, layout_of


def drawn_from(draws: list[int], below: int) -> int:
    """In place of chance: what was laid down, the last one first."""
    assert draws[-1] < below
    return draws.pop()


def lowest_first(_: int) -> int:
    """In place of chance: the first of those that are equal."""
    return 0


class Swarm:
    """A download, and its sources as one sees them who only carries out the commands."""

    def __init__(
        self,
        layout: Layout,
        below: Callable[[int], int] = lowest_first,
        *,
        wanted: int | None = None,
        have: int = 0,
        sequential: bool = False,
    ) -> None:
        self.layout = layout
        self.wanted = layout.everything if wanted is None else wanted
        self.download: Download[str] = Download(layout, self.wanted, have, below, sequential=sequential)
        self.offered: dict[str, int] = {}
        self.asked: dict[str, list[int]] = {}
        """Chunks asked of each source, oldest first."""
        self.arrived: list[tuple[str, int]] = []
        """Chunks that came and are being verified."""
        self.waits: set[str] = set()
        self.dropped: dict[str, str] = {}
        self.cancelled: list[tuple[str, int]] = []
        self.have = have
        self.now = 1000.0

    def obey(self, commands: Iterable[Command[str]]) -> None:
        for command in commands:
            match command:
                case Ask(source, first, count):
                    assert count > 0
                    for chunk in range(first, first + count):
                        assert self.offered[source] >> chunk & 1, "asked of one who does not have it"
                        assert chunk not in self.asked[source], "asked twice of the same source"
                        assert not self.have >> chunk & 1, "asked though it is here"
                        assert self.wanted >> chunk & 1, "asked though nobody wants it"
                        self.asked[source].append(chunk)
                case AskNoMore(source, first, count):
                    for chunk in range(first, first + count):
                        self.asked[source].remove(chunk)
                        self.cancelled.append((source, chunk))
                case Hurry(source, first, count):
                    hurried = range(first, first + count)
                    assert set(hurried) <= set(self.asked[source]), "hurried though it was not asked for"
                    others = [chunk for chunk in self.asked[source] if chunk not in hurried]
                    self.asked[source] = [*hurried, *others]
                case DropSource(source, reason):
                    assert source in self.asked
                    self.dropped[source] = reason

    def join(self, name: str, chunks: int | None = None) -> None:
        self.offered[name], self.asked[name] = 0, []
        self.download.joined(name, self.now)
        self.offer(name, self.layout.everything if chunks is None else chunks)

    def offer(self, name: str, chunks: int) -> None:
        self.offered[name] |= chunks
        self.obey(self.download.offers(name, chunks, self.now))

    def lose(self, name: str, chunks: int) -> None:
        self.offered[name] &= ~chunks
        self.asked[name] = [chunk for chunk in self.asked[name] if not chunks >> chunk & 1]
        self.obey(self.download.lost(name, chunks, self.now))

    def leave(self, name: str) -> None:
        del self.asked[name], self.offered[name]
        self.waits.discard(name)
        self.dropped.pop(name, None)
        self.obey(self.download.gone(name, self.now))

    def want(self, chunks: int) -> None:
        self.wanted |= chunks
        self.obey(self.download.want(chunks, self.now))

    def hurry(self, chunks: int) -> None:
        self.obey(self.download.hurry(chunks, self.now))

    def choke(self, name: str, waits: bool) -> None:
        if waits:
            self.waits.add(name)
        else:
            self.waits.discard(name)
        self.obey(self.download.choked(name, waits, self.now))

    def send(self, name: str, size: int) -> None:
        """Some bytes of a chunk come."""
        self.download.progress(name, size, self.now)

    def deliver(self, name: str, chunk: int | None = None) -> int:
        """A chunk comes, the oldest asked if no other is meant, and is verified and stored at once."""
        chunk = self.asked[name][0] if chunk is None else chunk
        self.send(name, self.layout.size(chunk))
        self.verified(name, chunk)
        return chunk

    def deliver_run(self, name: str, first: int, most: int) -> None:
        """Consecutive chunks come, as far as they are asked of this source, and are verified and stored together."""
        run = [*takewhile(lambda chunk: self.download.needs(name, chunk), range(first, first + most))]
        self.send(name, self.layout.run_bytes(first, len(run)))
        self.verified(name, first, len(run))

    def verified(self, name: str, first: int, count: int = 1) -> None:
        """Consecutive chunks that came from this source, which may be gone since, are verified and stored."""
        chunks = bitmap.span(first, count)
        if self.have & chunks:
            return
        if name in self.asked:
            self.asked[name] = [chunk for chunk in self.asked[name] if not chunks >> chunk & 1]
            self.obey(self.download.received(name, first, count, self.now))
        self.have |= chunks
        self.obey(self.download.stored(first, count))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.obey(self.download.tick(self.now))

    def owners(self, chunk: int) -> list[str]:
        return [name for name, chunks in self.asked.items() if chunk in chunks]

    def measure(self, name: str, rate: float) -> None:
        """Makes it known that a source sends `rate` bytes a second."""
        for _ in range(20):
            self.now += 0.1
            self.send(name, int(rate / 10))

    def finish(self, honest: str, seconds: float = 120) -> None:
        """One source delivers whatever it is asked for; nobody else does anything. Ends when all is here."""
        end = self.now + seconds
        while not self.download.complete:
            assert self.now < end, "the download has stopped"
            while self.asked[honest]:
                self.deliver(honest)
            self.tick(0.25)
            for name in list(self.dropped):
                self.leave(name)


def equal(chunks: int) -> Layout:
    """A share of files of one chunk of 256 KiB each."""
    return layout_of([256 * KIB] * chunks)


# What is chosen.


def test_one_source_delivers_all() -> None:
    swarm = Swarm(layout_of([3 * MIB, 0, 10, 700 * KIB]), random.Random(1).randrange)
    swarm.join("a")
    swarm.finish("a")
    assert swarm.have == swarm.layout.everything
    assert not swarm.cancelled


def test_an_empty_share_is_complete() -> None:
    assert Swarm(layout_of([0, 0])).download.complete


def test_only_what_is_wanted_and_missing_is_asked() -> None:
    swarm = Swarm(equal(8), wanted=0b11110000, have=0b00110011)
    swarm.join("a")
    assert set(swarm.asked["a"]) == {6, 7}
    swarm.finish("a")
    assert swarm.have == 0b11110011


def test_the_rarest_come_first() -> None:
    swarm = Swarm(equal(40))
    swarm.join("full", 0)
    swarm.join("crowd 1", bitmap.span(0, 39))
    swarm.join("crowd 2", bitmap.span(0, 38))
    swarm.offer("full", swarm.layout.everything)
    assert swarm.asked["full"][0] == 39


def test_ties_are_broken_by_chance() -> None:
    firsts = set()
    for seed in range(20):
        swarm = Swarm(equal(100), random.Random(seed).randrange)
        swarm.join("a")
        firsts.add(swarm.asked["a"][0])
    assert len(firsts) > 10


def test_every_rarest_chunk_may_be_drawn() -> None:
    firsts = set()
    for drawn in range(5):
        draws = [0] * 5 + [drawn]
        swarm = Swarm(equal(5), partial(drawn_from, draws))
        swarm.join("a")
        firsts.add(swarm.asked["a"][0])
    assert firsts == set(range(5))


def test_sequential_asks_in_order_whatever_is_rare() -> None:
    swarm = Swarm(equal(40), random.Random(1).randrange, sequential=True)
    swarm.join("a", 0)
    swarm.join("crowd", 0)
    swarm.offer("a", swarm.layout.everything)
    assert swarm.asked["a"] == sorted(swarm.asked["a"])
    swarm.choke("a", waits=True)
    swarm.offer("crowd", bitmap.span(0, 39))
    swarm.leave("crowd")
    swarm.choke("a", waits=False)
    order = []
    while not swarm.download.complete:
        order.append(swarm.deliver("a"))
    assert order == list(range(40))


def test_small_files_are_asked_in_runs() -> None:
    layout = layout_of([100] * 2000)
    download: Download[str] = Download(layout, layout.everything, 0, lowest_first)
    download.joined("a", 0)
    commands = download.offers("a", layout.everything, 0)
    assert commands[0] == Ask("a", 0, 2000)


def test_outstanding_requests_are_bounded() -> None:
    swarm = Swarm(layout_of([1] * 20_000), random.Random(1).randrange)
    swarm.join("a", int("01" * 10_000, 2))
    assert len(swarm.asked["a"]) <= download.MAX_ASKED_CHUNKS


def test_a_hostile_map_of_short_runs_makes_no_giant_answer() -> None:
    """Every second chunk of many: a run takes time in proportion to the share, so few are asked for at one event."""
    layout = layout_of([1] * 20_000)
    state: Download[str] = Download(layout, layout.everything, 0, lowest_first)
    state.joined("a", 0)
    state.offers("a", 0, 0)
    state.progress("a", 1000, 1)
    commands = state.offers("a", int("01" * 10_000, 2), 1)
    assert 0 < len(commands) <= download.MAX_ASKS
    for waits in (True, False):
        assert len(state.choked("a", waits, 2)) <= download.MAX_ASKS


def test_many_short_runs_are_asked_for_in_the_end() -> None:
    swarm = Swarm(layout_of([256 * KIB] * 2000))
    swarm.join("a", 0)
    swarm.measure("a", 400 * MIB)
    swarm.offer("a", int("01" * 1000, 2))
    for _ in range(10):
        swarm.deliver("a")
    assert len(swarm.asked["a"]) > 2 * download.MAX_ASKS


def test_more_is_asked_ahead_of_a_faster_source() -> None:
    ahead = {}
    for rate in (MIB, 8 * MIB, 40 * MIB):
        swarm = Swarm(layout_of([400 * MIB]))
        swarm.join("a")
        swarm.measure("a", rate)
        while len(swarm.asked["a"]) > 1:
            before = len(swarm.asked["a"])
            swarm.deliver("a")
            if len(swarm.asked["a"]) >= before:
                break  # asked for more
        ahead[rate] = sum(map(swarm.layout.size, swarm.asked["a"]))
    assert ahead[MIB] <= download.MIN_AHEAD_BYTES + 256 * KIB
    for rate in (8 * MIB, 40 * MIB):
        assert ahead[rate] == pytest.approx(rate * download.AHEAD_S, rel=0.2)


def test_near_the_end_nobody_gets_more_than_a_fair_part_of_half() -> None:
    """So that a slow source is not left with much when the fast ones are done."""
    swarm = Swarm(equal(16))
    swarm.join("a", 0)
    swarm.join("b", 0)
    swarm.offer("a", swarm.layout.everything)
    assert len(swarm.asked["a"]) <= 4 + 2
    swarm.offer("b", swarm.layout.everything)
    free = 16 - len(swarm.asked["a"]) - len(swarm.asked["b"])
    assert free >= 4


def test_all_sources_end_together() -> None:
    """Two sources, one five times as fast: both are busy until the end."""
    swarm = Swarm(layout_of([64 * MIB]), random.Random(2).randrange)
    period = {"fast": 0.01, "slow": 0.05}  # seconds a chunk
    due = dict.fromkeys(period, swarm.now)
    ended: dict[str, float] = {}
    for name in period:
        swarm.join(name)
    while not swarm.download.complete:
        name = min(due, key=lambda name: due[name])
        swarm.now = max(swarm.now, due[name])
        due[name] = swarm.now + period[name]
        if swarm.asked[name]:
            swarm.deliver(name)
            ended[name] = swarm.now
    assert abs(ended["fast"] - ended["slow"]) < 0.15
    assert swarm.now - 1000 < 256 / (1 / 0.01 + 1 / 0.05) + 0.2


# What is wanted grows.


def test_nothing_is_asked_before_it_is_wanted_and_then_of_those_who_came_before() -> None:
    swarm = Swarm(equal(8), wanted=0, have=0b1)
    swarm.join("a", 0b00001111)
    assert swarm.download.complete
    assert swarm.download.useful == 0
    assert swarm.asked["a"] == []
    swarm.want(0b00010011)
    assert not swarm.download.complete
    assert swarm.download.useful == 1
    assert swarm.asked["a"] == [1]
    swarm.deliver("a")
    assert swarm.asked["a"] == []
    swarm.join("b", 0b00010000)
    assert swarm.asked["b"] == [4]
    swarm.deliver("b")
    assert swarm.download.complete


def test_what_is_wanted_twice_is_asked_once() -> None:
    swarm = Swarm(equal(2), wanted=0)
    swarm.join("a")
    for _ in range(2):
        swarm.want(0b01)
        assert swarm.asked["a"] == [0]
    swarm.deliver("a")
    swarm.want(0b01)
    assert swarm.asked["a"] == []


def test_the_rarest_of_what_became_wanted_come_first() -> None:
    swarm = Swarm(equal(40), wanted=0)
    swarm.join("full")
    swarm.join("crowd", bitmap.span(0, 39))
    swarm.leave("crowd")
    swarm.join("crowd", bitmap.span(0, 39))
    swarm.want(bitmap.span(20, 20))
    assert swarm.asked["full"][0] == 39


# Stragglers.


EXPECTED_S = download.LATENCY_S + 256 * KIB / (10 * MIB)
"""What a chunk of 256 KiB may take while the fast source is the measure."""


def proven(layout: Layout) -> Swarm:
    """A swarm with one source, `fast`, that has delivered the last chunk of the share at 10 MiB/s."""
    swarm = Swarm(layout)
    swarm.join("fast", 1 << layout.chunks - 1)
    swarm.measure("fast", 10 * MIB)
    swarm.deliver("fast")
    return swarm


def straggling(chunks: int = 2) -> Swarm:
    """A slow source with the last chunks, and a fast one that has just nothing left to do."""
    swarm = proven(equal(chunks + 1))
    swarm.join("slow")
    assert len(swarm.asked["slow"]) == chunks
    swarm.offer("fast", swarm.layout.everything)
    return swarm


def test_nothing_is_stolen_before_it_is_late() -> None:
    swarm = straggling()
    swarm.tick(EXPECTED_S)
    assert swarm.asked["fast"] == []


def test_an_idle_source_steals_what_is_three_times_overdue() -> None:
    swarm = straggling(1)
    swarm.tick(2.9 * EXPECTED_S)
    assert swarm.asked["fast"] == []
    swarm.tick(0.2 * EXPECTED_S)
    assert swarm.asked["fast"] == [0]
    assert swarm.owners(0) == ["fast", "slow"]


def test_a_source_with_something_to_do_steals_what_is_ten_times_overdue() -> None:
    swarm = proven(equal(3))
    swarm.join("slow", 0b01)
    swarm.offer("fast", 0b11)
    assert swarm.asked == {"slow": [0], "fast": [1]}
    swarm.tick(9.8 * EXPECTED_S)
    assert swarm.asked["fast"] == [1]
    swarm.tick(0.4 * EXPECTED_S)
    assert swarm.asked["fast"] == [1, 0]


def test_what_is_asked_behind_much_else_is_late_later() -> None:
    """A chunk in a queue of 1 MiB may take as long as 1 MiB takes."""
    swarm = proven(equal(17))
    swarm.join("slow", 0xFFFF)
    queue = len(swarm.asked["slow"])
    assert queue > 2
    swarm.tick(3.1 * EXPECTED_S)
    swarm.offer("fast", sum(1 << chunk for chunk in swarm.asked["slow"]))
    assert swarm.asked["fast"] == swarm.asked["slow"][:1]


def test_the_first_to_finish_wins_and_the_other_is_cancelled() -> None:
    swarm = straggling()
    swarm.tick(5)
    stolen = swarm.asked["fast"][0]
    swarm.deliver("fast")
    assert ("slow", stolen) in swarm.cancelled
    assert not swarm.download.needs("slow", stolen)
    swarm.finish("fast")
    assert swarm.asked["slow"] == []


def test_the_slow_owner_may_win_as_well() -> None:
    swarm = straggling()
    swarm.tick(5)
    stolen = swarm.asked["fast"][0]
    swarm.deliver("slow", stolen)
    assert ("fast", stolen) in swarm.cancelled


def test_nothing_of_a_run_that_has_come_is_stolen() -> None:
    """Each chunk of it was asked of the idle source, and cancelled as the next one was counted."""
    swarm = proven(layout_of([2] * 301))
    swarm.join("slow")
    swarm.offer("fast", swarm.layout.everything)
    swarm.tick(5)
    assert len(swarm.asked["slow"]) == 300
    stolen = len(swarm.asked["fast"])
    assert 0 < stolen < 10
    swarm.deliver_run("slow", 0, 300)
    assert len(swarm.cancelled) == stolen


def test_the_most_overdue_chunk_is_stolen_first() -> None:
    swarm = Swarm(equal(2))
    swarm.join("slow", 0b10)
    swarm.now += 5
    swarm.offer("slow", 0b01)
    swarm.now += 10
    swarm.join("idle")
    assert swarm.asked["idle"][0] == 1


def test_a_third_is_asked_only_when_the_second_is_late_as_well() -> None:
    swarm = straggling(1)
    swarm.tick(5)
    assert swarm.owners(0) == ["fast", "slow"]
    swarm.join("third")
    swarm.tick(2 * EXPECTED_S)
    assert swarm.asked["third"] == []
    swarm.tick(5)
    assert swarm.asked["third"] == [0]
    swarm.deliver("third")
    assert set(swarm.cancelled) == {("slow", 0), ("fast", 0)}


def owned_by_three() -> Swarm:
    swarm = straggling(1)
    swarm.tick(5)
    swarm.join("third")
    swarm.tick(5)
    assert swarm.owners(0) == ["fast", "slow", "third"]
    return swarm


def test_a_chunk_is_free_only_when_the_last_owner_has_left() -> None:
    swarm = owned_by_three()
    swarm.join("fourth", 0)
    for owner in ("slow", "fast", "third"):
        assert swarm.asked["fourth"] == []
        swarm.leave(owner)
        swarm.offer("fourth", 0)
    swarm.offer("fourth", 1)
    assert swarm.asked["fourth"] == [0]
    swarm.finish("fourth", 1)


def test_a_stolen_chunk_that_was_verified_late_is_cancelled_everywhere() -> None:
    swarm = owned_by_three()
    swarm.send("slow", 256 * KIB)
    swarm.leave("slow")
    swarm.verified("slow", 0)
    assert set(swarm.cancelled) == {("fast", 0), ("third", 0)}
    assert swarm.download.complete
    assert not swarm.download._hedges


@pytest.mark.parametrize("leaver", ["slow", "fast"])
def test_a_stolen_chunk_stays_with_the_owner_who_is_left(leaver: str) -> None:
    swarm = straggling(1)
    swarm.tick(5)
    swarm.leave(leaver)
    assert len(swarm.owners(0)) == 1
    swarm.join("third")
    swarm.tick(5)
    assert "third" in swarm.owners(0)


# Sources that wait, fall silent, or go.


def test_a_source_that_makes_us_wait_keeps_its_oldest_chunk() -> None:
    swarm = Swarm(equal(8))
    swarm.join("a")
    oldest, *others = swarm.asked["a"]
    assert len(others) > 1
    swarm.choke("a", waits=True)
    assert swarm.asked["a"] == [oldest]
    assert sorted(swarm.cancelled) == sorted(("a", chunk) for chunk in others)
    swarm.join("b")
    swarm.finish("b")


def test_a_source_is_asked_again_once_it_serves() -> None:
    swarm = Swarm(equal(8))
    swarm.join("a")
    swarm.choke("a", waits=True)
    swarm.tick(1)
    assert len(swarm.asked["a"]) == 1
    swarm.choke("a", waits=False)
    assert len(swarm.asked["a"]) > 1


def test_waiting_is_not_silence() -> None:
    swarm = Swarm(equal(1))
    swarm.join("a")
    for _ in range(100):
        swarm.choke("a", waits=True)
        swarm.tick(download.SILENT_S)
    swarm.choke("a", waits=False)
    swarm.tick(1)
    assert not swarm.dropped
    swarm.tick(download.SILENT_S)
    assert "a" in swarm.dropped


def test_a_source_that_makes_us_wait_and_falls_silent_is_dropped() -> None:
    swarm = Swarm(equal(1))
    swarm.join("a")
    swarm.choke("a", waits=True)
    swarm.tick(download.SILENT_S + 1)
    assert "a" in swarm.dropped


def test_a_slow_source_that_says_something_is_kept() -> None:
    swarm = Swarm(equal(1))
    swarm.join("a")
    for _ in range(100):
        swarm.send("a", 20 * 1024)
        swarm.tick(download.SILENT_S - 1)
        swarm.offer("a", 0)
        swarm.tick(download.SILENT_S - 1)
        assert not swarm.dropped
    swarm.tick(2)
    assert "a" in swarm.dropped


def test_a_source_is_not_blamed_while_nothing_is_read_of_it() -> None:
    swarm = Swarm(equal(1))
    swarm.join("a")
    swarm.join("idle")
    swarm.download.held_back("a", True, swarm.now)
    for _ in range(10):
        swarm.tick(60)
    assert not swarm.dropped
    swarm.download.held_back("a", False, swarm.now)
    swarm.tick(0.1)
    assert not swarm.asked["idle"], "nobody else would be faster"
    swarm.tick(download.SILENT_S - 0.1)
    assert not swarm.dropped
    assert swarm.asked["idle"]
    swarm.tick(1)
    assert "a" in swarm.dropped


def test_a_chunk_that_waits_is_stolen_at_once() -> None:
    swarm = Swarm(equal(1))
    swarm.join("waits")
    swarm.choke("waits", waits=True)
    swarm.join("idle")
    assert swarm.asked["idle"] == [0]


def test_a_chunk_never_waits_with_both_of_its_owners() -> None:
    swarm = Swarm(equal(1))
    swarm.join("one")
    swarm.choke("one", waits=True)
    swarm.join("two")
    swarm.choke("two", waits=True)
    swarm.join("honest")
    swarm.finish("honest", 5)


def test_a_newcomer_takes_what_waits_with_a_proven_source() -> None:
    """The one that is known to be fast makes us wait; whoever joins now has shown nothing, but is better than that."""
    swarm = proven(equal(2))
    swarm.offer("fast", 1)
    swarm.choke("fast", waits=True)
    swarm.join("newcomer")
    swarm.finish("newcomer", 5)


def test_a_source_cannot_say_for_ever_that_it_serves_and_send_nothing() -> None:
    swarm = Swarm(equal(1))
    swarm.join("liar")
    for _ in range(13):
        swarm.choke("liar", waits=False)
        swarm.tick(5)
    assert "liar" in swarm.dropped


@pytest.mark.parametrize("liars", [2, 5])
def test_liars_in_league_do_not_keep_a_chunk(liars: int) -> None:
    """Each is asked, makes us wait, and serves again when the next one has been asked, for ever."""
    swarm = Swarm(equal(1))
    for n in range(liars):
        swarm.join(f"liar {n}")
    swarm.join("honest")
    for turn in range(200):
        swarm.tick(0.25)
        swarm.choke(f"liar {turn % liars}", waits=True)
        swarm.choke(f"liar {(turn + 1) % liars}", waits=False)
        if swarm.asked["honest"]:
            swarm.deliver("honest")
            break
    assert swarm.download.complete


def test_a_silent_source_is_dropped() -> None:
    swarm = Swarm(equal(3))
    swarm.join("a")
    swarm.tick(download.SILENT_S - 1)
    swarm.send("a", 1)
    swarm.tick(download.SILENT_S)
    assert not swarm.dropped
    swarm.tick(0.1)
    assert "a" in swarm.dropped


def test_a_source_that_is_asked_nothing_may_be_silent() -> None:
    swarm = Swarm(equal(3))
    swarm.join("a", 0)
    swarm.tick(1000)
    swarm.offer("a", 1)
    swarm.tick(1)
    assert not swarm.dropped


def test_a_trickle_is_no_source() -> None:
    swarm = Swarm(equal(3))
    swarm.join("a")
    for _ in range(12):
        swarm.send("a", 100)
        swarm.tick(5.1)
    assert "a" in swarm.dropped


def test_a_slow_line_is_a_source() -> None:
    swarm = Swarm(layout_of([16000 * MIB]))
    swarm.join("a")
    for _ in range(100):
        swarm.send("a", 5 * 1024)
        swarm.tick(5)
    assert not swarm.dropped


@pytest.mark.parametrize("how", ["leave", "lose", "choke"])
def test_what_a_source_no_longer_sends_is_asked_of_others(how: str) -> None:
    swarm = Swarm(equal(2))
    swarm.join("a")
    swarm.join("b")
    assert (len(swarm.asked["a"]), len(swarm.asked["b"])) == (2, 0)
    match how:
        case "leave":
            swarm.leave("a")
        case "lose":
            swarm.lose("a", swarm.layout.everything)
        case _:
            swarm.choke("a", waits=True)
    swarm.finish("b", 1)


def test_lost_chunks_are_not_asked_again_there() -> None:
    swarm = Swarm(equal(4))
    swarm.join("a")
    swarm.lose("a", 0b0011)
    assert set(swarm.asked["a"]) <= {2, 3}
    assert not swarm.download.covers()
    swarm.offer("a", 0b0001)
    swarm.join("b", 0b0010)
    assert swarm.download.covers()


def test_what_was_copied_is_not_asked() -> None:
    swarm = Swarm(equal(8))
    swarm.join("a", 0)
    swarm.download.copied(0b11111110)
    swarm.have = 0b11111110
    swarm.offer("a", swarm.layout.everything)
    assert swarm.asked["a"] == [0]
    swarm.deliver("a")
    assert swarm.download.complete


def test_a_chunk_verified_after_its_source_left_is_taken_from_the_next_one() -> None:
    swarm = Swarm(equal(1))
    swarm.join("a")
    swarm.send("a", 256 * KIB)
    swarm.leave("a")
    swarm.join("b")
    assert swarm.asked["b"] == [0]
    swarm.verified("a", 0)
    assert swarm.cancelled == [("b", 0)]
    assert swarm.download.complete


# Chunks that somebody waits for.


def test_what_is_hurried_comes_before_all_that_was_asked_for_earlier() -> None:
    swarm = Swarm(equal(40))
    swarm.join("a")
    *before, behind = swarm.asked["a"]
    free = swarm.layout.chunks - 1
    assert free not in before
    swarm.hurry(1 << behind | 1 << free)
    assert swarm.asked["a"] == [behind, free, *before]


def test_what_is_hurried_comes_in_order_from_all_who_have_it() -> None:
    swarm = Swarm(equal(400))
    for name in "ab":
        swarm.join(name)
        for _ in range(5):
            swarm.now += 0.1
            swarm.deliver(name)
    before = {name: set(swarm.asked[name]) for name in "ab"}
    swarm.hurry(bitmap.span(380, 10))
    hurried = {name: [chunk for chunk in swarm.asked[name] if chunk not in before[name]] for name in "ab"}
    assert sorted(hurried["a"] + hurried["b"]) == [*range(380, 390)]
    for name, chunks in hurried.items():
        assert len(chunks) == 5
        assert swarm.asked[name][:5] == sorted(chunks)


def test_what_is_hurried_but_nobody_has_is_asked_of_the_first_who_does() -> None:
    swarm = Swarm(equal(40))
    swarm.join("a", bitmap.span(0, 20))
    swarm.hurry(bitmap.span(30, 2))
    swarm.join("b", bitmap.span(10, 30))
    assert swarm.asked["b"][:2] == [30, 31]


def test_a_source_that_makes_us_wait_is_asked_for_nothing_more_though_it_is_hurried() -> None:
    swarm = Swarm(equal(40))
    swarm.join("a")
    swarm.choke("a", True)
    swarm.hurry(1 << 39)
    assert len(swarm.asked["a"]) == 1
    swarm.choke("a", False)
    assert swarm.asked["a"][0] == 39


def test_what_is_hurried_does_not_wait_for_a_slow_source() -> None:
    swarm = Swarm(equal(400))
    swarm.join("fast")
    swarm.join("slow", 1 << 399)
    swarm.hurry(1 << 399)
    assert swarm.owners(399) == ["slow"]
    for _ in range(150):  # 15 seconds, in which the fast one always has something to do
        swarm.send("slow", 40)
        swarm.deliver("fast")
        swarm.tick(0.1)
    assert swarm.have >> 399 & 1
    assert swarm.asked["fast"]
    assert swarm.cancelled == [("slow", 399)]


def test_at_most_so_many_are_asked_for_because_they_are_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_HURRIED_AT_ONCE", 3)
    swarm = Swarm(equal(400))
    swarm.join("a")
    before = len(swarm.asked["a"])
    swarm.hurry(bitmap.span(300, 10))
    assert swarm.asked["a"][:3] == [300, 301, 302]
    assert len(swarm.asked["a"]) == before + 3
    while len(swarm.asked["a"]) >= before:
        swarm.deliver("a")
    while 303 not in swarm.asked["a"]:
        swarm.deliver("a")
    assert swarm.have < 1 << 303


# Whatever happens.

LAYOUTS: Sequence[Layout] = [
    equal(2),
    equal(12),
    layout_of([1] * 10 + [600 * KIB] + [1] * 10 + [3 * MIB, 5]),
    layout_of([20 * MIB]),
]


class AnyDownload(RuleBasedStateMachine):
    """Sources join, leave, wait, lose chunks, deliver in any order and fall silent; in the end one is honest."""

    names = Bundle("names")

    @initialize(layout=st.sampled_from(LAYOUTS), seed=st.integers(0, 2**16), sequential=st.booleans(), data=st.data())
    def begin(self, layout: Layout, seed: int, sequential: bool, data: st.DataObject) -> None:
        chance = random.Random(seed)
        wanted = data.draw(st.just(layout.everything) | st.integers(0, layout.everything))
        have = data.draw(st.just(0) | st.integers(0, layout.everything))
        self.joined = 0
        self.swarm = Swarm(layout, chance.randrange, wanted=wanted, have=have, sequential=sequential)

    def some(self, data: st.DataObject) -> int:
        everything = self.swarm.layout.everything
        return data.draw(st.just(everything) | st.integers(0, everything))

    @rule(target=names, data=st.data())
    def join(self, data: st.DataObject) -> str:
        self.joined += 1
        self.swarm.join(f"source {self.joined}", self.some(data))
        return f"source {self.joined}"

    @rule(name=names, data=st.data())
    def offer(self, name: str, data: st.DataObject) -> None:
        self.swarm.offer(name, self.some(data))

    @rule(data=st.data())
    def hurry(self, data: st.DataObject) -> None:
        self.swarm.hurry(self.some(data))

    @rule(data=st.data())
    def want(self, data: st.DataObject) -> None:
        self.swarm.want(self.some(data))

    @rule(name=names, data=st.data())
    def lose(self, name: str, data: st.DataObject) -> None:
        self.swarm.lose(name, self.some(data))

    @rule(name=consumes(names))
    def leave(self, name: str) -> None:
        self.swarm.leave(name)

    @rule(name=names, waits=st.booleans())
    def choke(self, name: str, waits: bool) -> None:
        self.swarm.choke(name, waits)

    @rule(name=names, data=st.data(), count=st.integers(1, 6))
    def deliver(self, name: str, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            if self.swarm.asked[name]:
                self.swarm.deliver(name, data.draw(st.sampled_from(self.swarm.asked[name])))

    @rule(name=names, data=st.data(), most=st.integers(1, 6))
    def deliver_run(self, name: str, data: st.DataObject, most: int) -> None:
        if self.swarm.asked[name]:
            self.swarm.deliver_run(name, data.draw(st.sampled_from(self.swarm.asked[name])), most)

    @rule(name=names, data=st.data())
    def arrive(self, name: str, data: st.DataObject) -> None:
        """A chunk is there, but its verification takes a while."""
        coming = [chunk for chunk in self.swarm.asked[name] if (name, chunk) not in self.swarm.arrived]
        if coming:
            chunk = data.draw(st.sampled_from(coming))
            self.swarm.send(name, self.swarm.layout.size(chunk))
            self.swarm.arrived.append((name, chunk))

    @precondition(lambda self: self.swarm.arrived)
    @rule()
    def verify(self) -> None:
        self.swarm.verified(*self.swarm.arrived.pop(0))

    @rule(name=names, size=st.integers(1, MIB))
    def send(self, name: str, size: int) -> None:
        self.swarm.send(name, size)

    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        asked = bitmap.of(sorted((chunk, 1) for chunk in {c for chunks in self.swarm.asked.values() for c in chunks}))
        chunks = self.some(data) & self.swarm.wanted & ~asked
        self.swarm.have |= chunks
        self.swarm.download.copied(chunks)

    @rule(seconds=st.sampled_from([0.01, 0.25, 1, 5, 40]))
    def tick(self, seconds: float) -> None:
        self.swarm.tick(seconds)

    @invariant()
    def the_books_agree(self) -> None:
        swarm = self.swarm
        state = swarm.download
        assert state.have == swarm.have
        assert state.complete == (not swarm.wanted & ~swarm.have)
        owned: dict[int, int] = {}
        for name, chunks in swarm.asked.items():
            assert len(chunks) <= download.MAX_ASKED_CHUNKS
            assert state.sources[name].outstanding == sum(map(swarm.layout.size, chunks))
            for chunk in chunks:
                assert state.needs(name, chunk)
                owned[chunk] = owned.get(chunk, 0) + 1
        assert sum(len(source.asked) for source in state.sources.values()) == sum(owned.values())
        stolen = {chunk: owners for chunk, owners in owned.items() if owners > 1}
        assert {chunk: hedge.owners for chunk, hedge in state._hedges.items()} == stolen
        for chunk in bitmap.members(swarm.wanted):
            holders = sum(chunks >> chunk & 1 for chunks in swarm.offered.values())
            assert state._availability.count(chunk) == holders
        missing = swarm.wanted & ~swarm.have
        free = missing & ~sum(1 << chunk for chunk in owned)
        assert state._free == free, "a missing chunk is free or asked"
        assert state._free_bytes == swarm.layout.bytes_in(free)
        assert state.covers() == (not missing & ~self.together())

    def together(self) -> int:
        everything = 0
        for chunks in self.swarm.offered.values():
            everything |= chunks
        return everything

    @invariant()
    def nobody_who_serves_is_idle_while_there_is_something_to_ask(self) -> None:
        free = self.swarm.download._free
        for name, chunks in self.swarm.asked.items():
            assert chunks or not free & self.swarm.offered[name]

    @invariant()
    def one_who_makes_us_wait_has_little(self) -> None:
        for name in self.swarm.waits:
            asked = self.swarm.asked[name]
            # One run, but for chunks in the middle that it has lost since.
            for chunk in range(min(asked, default=0), max(asked, default=0)):
                assert chunk in asked or not self.swarm.offered[name] >> chunk & 1

    def teardown(self) -> None:
        """Everybody falls silent but one honest source that has everything."""
        if not hasattr(self, "swarm"):
            return
        swarm = self.swarm
        for name, chunk in swarm.arrived:
            swarm.verified(name, chunk)
        swarm.join("honest")
        swarm.finish("honest")
        assert not swarm.wanted & ~swarm.have
        assert not any(swarm.asked.values())


TestAnyDownload = AnyDownload.TestCase
