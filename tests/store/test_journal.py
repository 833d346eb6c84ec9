"""The journal: what was accepted is there again, whole, after kill -9 at any moment, and takes bounded room."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute.known import Known
from p2p.core.compute.plan import MAX_RESULT_BYTES
from p2p.core.compute.report import Report
from p2p.core.compute.skipped import Skips, UnitPlace
from p2p.errors import NotFound, StorageError
from p2p.ids import H
from p2p.store import journal as module
from p2p.store.database import Database
from p2p.store.journal import FinishedAction, Journal, JournalEntry
from tests.support.constants import Shorten
from tests.support.job_model import peer
from tests.support.programs import journal_writer, said_until_killed
from tests.support.programs.journal_writer import ACTIONS, JOB, UNITS

ROUNDS = 8


@pytest.fixture
def journal(database: Database) -> Journal:
    journal = Journal(database)
    journal.begin(JOB, {"name": "a job"})
    return journal


def known(number: int, stage: int = 0) -> Known:
    return Known(H("test unit", bytes([stage]), number.to_bytes(4, "big")), stage, number, H("test", bytes(4)), None)


def entry(number: int, *, stage: int = 0, action: int = 0, outputs: tuple[bytes, ...] = (b"out", b"")) -> JournalEntry:
    return JournalEntry(known(number, stage), action, tuple(map(len, outputs)), b"".join(outputs))


def test_what_was_accepted_is_replayed_in_order(journal: Journal) -> None:
    journal.accept(JOB, [entry(2), entry(0, stage=1), entry(1)])
    journal.accept(JOB, [entry(0)])
    assert list(journal.replay(JOB)) == [known(0), known(1), known(2), known(0, 1)]
    assert list(journal.replay(b"another job")) == []


def test_replay_of_more_than_is_fetched_at_once(journal: Journal, shorten: Shorten) -> None:
    shorten(module, "FETCHED_AT_ONCE", 3)
    shorten(module, "OUTPUTS_AT_ONCE", 2)
    for stage in (0, 1):
        journal.accept(JOB, [entry(number, stage=stage) for number in range(7)])
    assert list(journal.replay(JOB)) == [known(n, stage) for stage in (0, 1) for n in range(7)]
    assert list(journal.outputs(JOB, 0, 1)) == [(n, (3, 0), b"out") for n in range(7)]


def test_outputs_one_by_one(journal: Journal) -> None:
    journal.accept(JOB, [entry(0, outputs=(b"first", b"", b"third"))])
    held = JournalEntry(known(1)._replace(holder=peer("h")), 0, (10**9,), None)
    journal.accept(JOB, [held])
    assert [journal.output(JOB, 0, 0, 0, n) for n in (-1, 0, 1, 2, 3)] == [None, b"first", b"", b"third", None]
    assert journal.output(JOB, 0, 0, 1, 0) is None
    assert journal.output(JOB, 0, 0, 9, 0) is None
    assert list(journal.replay(JOB))[1] == held.known
    assert list(journal.outputs(JOB, 0, 0))[1] == (1, (10**9,), None)


def test_a_later_result_of_a_place_replaces_the_earlier(journal: Journal) -> None:
    journal.accept(JOB, [JournalEntry(known(0)._replace(holder=peer("h")), 0, (3,), None)])
    journal.accept(JOB, [entry(0)])
    assert list(journal.replay(JOB)) == [known(0)]


def test_a_finished_action_is_all_that_is_kept_of_its_units(journal: Journal, database: Database) -> None:
    journal.accept(JOB, [entry(n) for n in range(5)])
    journal.finish(JOB, 0, b"d" * 32, b"its result")
    assert list(journal.replay(JOB)) == []
    journal.accept(JOB, [entry(3, action=1)])
    assert list(journal.replay(JOB)) == [known(3)]
    assert journal.actions(JOB) == [FinishedAction(b"d" * 32, b"its result")]
    assert database.row("SELECT count(*) FROM job_unit") == (1,)


def test_what_units_skipped_outlives_their_outputs(journal: Journal, database: Database, shorten: Shorten) -> None:
    shorten(module, "FETCHED_AT_ONCE", 2)
    report = Report("job", "not a number", kind="ValueError", line=3, operation="map", record="'x'")
    entries = [entry(number)._replace(skips=Skips(number, (report,) * min(number, 2))) for number in range(1, 6)]
    journal.accept(JOB, entries)
    expected = [(UnitPlace(0, 0, number), Skips(number, (report,) * min(number, 2))) for number in range(1, 6)]
    assert list(journal.skips(JOB)) == expected
    journal.accept(JOB, [entry(1), entry(2)._replace(skips=Skips(7))])
    expected[1] = UnitPlace(0, 0, 2), Skips(7)
    assert list(journal.skips(JOB)) == expected
    journal.finish(JOB, 0, b"d" * 32, b"its result")
    journal.accept(JOB, [entry(0, action=1)._replace(skips=Skips(1))])
    assert list(journal.skips(JOB)) == [*expected, (UnitPlace(1, 0, 0), Skips(1))]
    assert list(journal.skips(b"another job")) == []
    journal.end(JOB, "done", None)
    assert database.row("SELECT count(*) FROM job_skip") == (0,)


def test_a_job_that_is_over_leaves_only_its_ending(journal: Journal, database: Database) -> None:
    journal.accept(JOB, [entry(0)])
    journal.finish(JOB, 0, b"d" * 32, b"r")
    journal.accept(JOB, [entry(0, action=1)])
    journal.end(JOB, "failed", {"reason": "ValueError"})
    listed = journal.job(JOB)
    assert (listed.state, listed.ending, listed.description) == ("failed", {"reason": "ValueError"}, {"name": "a job"})
    assert database.row("SELECT (SELECT count(*) FROM job_unit) + (SELECT count(*) FROM job_action)") == (0,)
    with pytest.raises(NotFound):
        journal.accept(JOB, [entry(1)])
    journal.forget(JOB)
    assert journal.jobs() == []
    with pytest.raises(NotFound, match="shoal jobs"):
        journal.job(JOB)


def test_jobs_are_apart(journal: Journal) -> None:
    other = b"k" * 32
    journal.begin(other, None)
    journal.accept(JOB, [entry(0)])
    journal.accept(other, [entry(1)])
    journal.forget(JOB)
    assert list(journal.replay(other)) == [known(1)]


def test_ended_jobs_are_bounded_and_open_ones_never_dropped(journal: Journal, shorten: Shorten) -> None:
    shorten(module, "MAX_ENDED", 3)
    shorten(module, "MAX_OPEN", 2)
    for n in range(6):
        journal.begin(bytes([n]), n)
        with pytest.raises(StorageError, match="open"):
            journal.begin(b"one too many", None)
        journal.end(bytes([n]), "done", n)
    assert {listed.id for listed in journal.jobs()} == {JOB, bytes([3]), bytes([4]), bytes([5])}


def test_the_newest_answers_are_kept(journal: Journal, shorten: Shorten) -> None:
    shorten(module, "MAX_ANSWERS_BYTES", 10)
    jobs = [H("job", bytes([number])) for number in range(4)]
    for job, answer in zip(jobs, (b"1234", b"12345", b"123456", b"12345678901"), strict=True):
        journal.begin(job, {})
        journal.end(job, "done", "", answer)
    assert [journal.answer(job) for job in jobs] == [b"", b"", b"123456", b""]
    assert journal.answer(JOB) == b""
    journal.forget(jobs[2])
    assert journal.answer(jobs[2]) == b""


def test_the_room_of_a_job_is_bounded_and_what_is_beyond_it_is_not_kept(journal: Journal, shorten: Shorten) -> None:
    shorten(module, "MAX_JOB_BYTES", 3000)
    journal.accept(JOB, [entry(0, outputs=(bytes(1000),))])
    with pytest.raises(StorageError, match="3000 bytes"):
        journal.accept(JOB, [entry(1, outputs=(bytes(1000),)), entry(2, outputs=(bytes(1000),))])
    assert list(journal.replay(JOB)) == [known(0)]
    # A finished action gives room back.
    journal.finish(JOB, 0, b"d" * 32, bytes(500))
    journal.accept(JOB, [entry(0, action=1, outputs=(bytes(1900),))])
    with pytest.raises(StorageError):
        journal.finish(JOB, 1, b"d" * 32, bytes(2500))
    assert list(journal.replay(JOB)) == [known(0)], "nothing is forgotten by what failed"


def test_large_results_and_descriptions_are_refused(journal: Journal) -> None:
    with pytest.raises(StorageError, match="result of an action"):
        journal.finish(JOB, 0, b"d" * 32, bytes(MAX_RESULT_BYTES + 1))
    with pytest.raises(StorageError, match="bytes of text"):
        journal.begin(b"x", "x" * module.MAX_TEXT_BYTES)


def test_a_full_disk_keeps_what_was_there(small_disk: Callable[[int], Path]) -> None:
    database = Database(small_disk(2 * 1024 * 1024))
    try:
        journal = Journal(database)
        journal.begin(JOB, None)
        journal.accept(JOB, [entry(0)])
        large = [entry(n, outputs=(bytes(60_000),)) for n in range(1, 40)]
        with pytest.raises(StorageError, match="full"):
            journal.accept(JOB, large)
        assert list(journal.replay(JOB)) == [known(0)]
    finally:
        database.close()


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_outputs_come_back(outputs: list[bytes]) -> None:
    row = module._as_row(JOB, entry(0, outputs=tuple(outputs)))
    sizes = module._sizes.decode(row[-2])
    assert row[-1] == b"".join(outputs)
    assert list(sizes) == [len(one) for one in outputs]


Place = tuple[int, int, int]


class Killed:
    """One life of an owner, ended by SIGKILL after so many lines."""

    def __init__(self, home: Path, lines: int) -> None:
        self.ran: set[Place] = set()
        self.kept: set[Place] = set()
        self.finished: set[int] = set()
        self.done = False
        said, code = said_until_killed("journal_writer", home, lines=lines)
        for line in said:
            self._said(line.split())
        assert code in {-9, 0}
        assert self.done or code == -9

    def _said(self, words: list[str]) -> None:
        numbers = tuple(map(int, words[1:]))
        match words[0], numbers:
            case "ran", (action, stage, partition):
                assert (action, stage, partition) not in self.ran
                self.ran.add((action, stage, partition))
            case "kept", (action, stage, partition):
                self.kept.add((action, stage, partition))
            case "finished", (action,):
                self.finished.add(action)
            case "done", ():
                self.done = True


def test_kill_at_any_moment_and_nothing_journaled_runs_again(home: Path) -> None:
    chance = random.Random(4)
    kept: set[Place] = set()
    finished: set[int] = set()
    ran: set[Place] = set()
    for _ in range(ROUNDS):
        killed = Killed(home, chance.randrange(200))
        assert killed.ran.isdisjoint(kept), "a journaled unit ran again"
        assert not {place for place in killed.ran if place[0] in finished}, "a unit of a finished action ran again"
        ran |= killed.ran
        kept |= killed.kept
        finished |= killed.finished
        database = Database(home)
        journal = Journal(database)
        if killed.done or not journal.jobs():
            database.close()
            break
        actions = len(journal.actions(JOB))
        assert finished <= set(range(actions))
        there = {(actions, one.stage, one.partition) for one in journal.replay(JOB)}
        assert {place for place in kept if place[0] == actions} <= there
        assert there <= ran, "nothing comes from nowhere"
        by_place = {(one.stage, one.partition): one.unit for one in journal.replay(JOB)}
        for stage in (0, 1):
            for partition, sizes, outputs in journal.outputs(JOB, actions, stage):
                assert outputs == journal_writer.content(by_place[stage, partition])
                assert sum(sizes) == len(outputs)
        kept |= there
        database.close()
    last = Killed(home, 10**9)
    assert last.done
    assert last.ran.isdisjoint(kept)
    assert ran | last.ran == {(a, s, p) for a in range(ACTIONS) for s, n in ((0, UNITS), (1, 5)) for p in range(n)}
    database = Database(home)
    assert Journal(database).job(JOB).state == "done"
    database.close()
