"""Questions to the tracker: charged by what they read, stopped in time, and answered in turns."""

import sqlite3
import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing

from p2p.identity import Identity
from p2p.net.http_server.refusals import TooMuch
from p2p.wire.tracker import Kind
from tests.support.announces import listing
from tests.support.constants import Shorten
from tests.support.world import until
from tests.tracker.test_http import Site, Start
from tests.tracker.test_http import start as start
from tracker import queries, reading
from tracker.database import READERS, Database
from tracker.index import Filter
from tracker.limits import Limits, TooLong
from tracker.proxies import Proxies
from tracker.reading import Meter, Reading

ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT count(*) FROM n"
ONE, NEIGHBOUR, OTHER = "203.0.113.7", "203.0.113.8", "198.51.100.9"


def reads(rows: int) -> Callable[[sqlite3.Connection], int]:
    def question(connection: sqlite3.Connection) -> int:
        (count,) = connection.execute(ROWS.format(rows)).fetchone()
        return int(count)

    return question


def cost(database: Database, rows: int) -> float:
    meter = Meter(60)
    with database.reading() as connection, meter.on(connection):
        assert reads(rows)(connection) == rows
    return meter.rows


def test_a_question_costs_what_it_reads(database: Database) -> None:
    few, many = cost(database, 10), cost(database, 200_000)
    assert few < 5000
    assert many > 20_000


def test_a_question_is_stopped_inside_sqlite(database: Database) -> None:
    meter = Meter(0.05)
    stopped = pytest.raises(TooLong, match=r"stopped this search after 0\.05 s")
    with stopped, database.reading() as connection, meter.on(connection):
        reads(10**9)(connection)
    assert meter.rows > 1000
    with database.reading() as connection:
        assert reads(100_000)(connection) == 100_000  # the next question has no limit


def test_what_was_found_is_shown_even_if_counting_takes_too_long(database: Database, shorten: Shorten) -> None:
    shorten(reading, "LOOK_EVERY", 1000)
    with database.writing() as connection:
        for at in range(1, 2001):
            connection.execute("INSERT INTO words (rowid, name, contents) VALUES (?, 'common', '')", [at])
    with database.reading() as connection, Meter(0).on(connection):
        answer = queries.search(connection, "common", Filter(), limit=5, cursor="", now=0.0, tracker="")
    assert answer.partial
    assert answer.total == 6


async def test_an_address_that_owes_is_refused_and_others_are_not(database: Database) -> None:
    asked = Reading(
        database, Limits(read_rate=1, read_burst=100, network_read_rate=1e9, network_read_burst=1e9, read_time_s=60)
    )
    assert await asked.ask(reads(200_000), ONE) == 200_000
    with pytest.raises(TooMuch, match="read too much") as refused:
        await asked.ask(reads(1), ONE)
    assert refused.value.retry_s > 100
    assert await asked.ask(reads(1), NEIGHBOUR) == 1
    assert await asked.ask(reads(1), "") == 1


async def test_a_question_that_was_stopped_is_paid_for(database: Database) -> None:
    asked = Reading(database, Limits(read_rate=1, read_burst=100, read_time_s=0))
    with pytest.raises(TooLong):
        await asked.ask(reads(200_000), ONE)
    with pytest.raises(TooMuch):
        await asked.ask(reads(1), ONE)


async def test_the_addresses_of_a_network_pay_together_too(database: Database) -> None:
    asked = Reading(
        database, Limits(read_rate=1e9, read_burst=1e9, network_read_rate=1, network_read_burst=100, read_time_s=60)
    )
    await asked.ask(reads(200_000), ONE)
    with pytest.raises(TooMuch):
        await asked.ask(reads(1), NEIGHBOUR)
    assert await asked.ask(reads(1), OTHER) == 1


class Line:
    """Questions that hold every reader until they may go on, and the order in which others are answered."""

    def __init__(self, database: Database, nursery: trio.Nursery, **limits: int) -> None:
        self.reading = Reading(database, Limits(**limits))
        self.order: list[str] = []
        self.held = [threading.Event() for _ in range(READERS)]
        self._nursery = nursery

    async def fill(self) -> None:
        for event in self.held:
            self._nursery.start_soon(self.reading.ask, lambda _, event=event: event.wait(10), ONE)
        await trio.testing.wait_all_tasks_blocked()

    async def wait(self, name: str, host: str) -> None:
        self._nursery.start_soon(self.reading.ask, lambda _: self.order.append(name), host)
        await trio.testing.wait_all_tasks_blocked()

    def go_on(self) -> None:
        for event in self.held:
            event.set()


async def test_turns_rotate_among_networks(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        line = Line(database, nursery)
        await line.fill()
        for number in range(20):
            await line.wait(f"flood {number}", ONE if number % 2 else NEIGHBOUR)
        await line.wait("other", OTHER)
        line.held[0].set()
        await until(lambda: "other" in line.order)
        assert line.order.index("other") <= 1
        line.go_on()
    assert len(line.order) == 21


async def test_questions_of_one_network_leave_places_in_line(database: Database) -> None:
    """Sixteen addresses filled the line, and whoever else asked was refused."""
    refused: list[str] = []
    async with trio.open_nursery() as nursery:
        line = Line(database, nursery, waiting_reads=6)
        await line.fill()

        async def ask(host: str) -> None:
            try:
                await line.reading.ask(lambda _: line.order.append(host), host)
            except TooMuch:
                refused.append(host)

        crowd = [f"192.0.2.{number}" for number in range(8)]
        for host in (*crowd, OTHER, "198.51.101.9"):
            nursery.start_soon(ask, host)
            await trio.testing.wait_all_tasks_blocked()
        assert refused == [*crowd[6:], crowd[5], crowd[4]]
        line.go_on()
    assert sorted(line.order) == sorted([*crowd[:4], OTHER, "198.51.101.9"])
    assert await line.reading.ask(reads(1), OTHER) == 1


async def test_few_questions_of_an_address_wait_and_one_that_leaves_costs_nobody_a_turn(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        line = Line(database, nursery, waiting_reads_per_address=2)
        await line.fill()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as leaving:
                for _ in range(2):
                    leaving.start_soon(line.reading.ask, reads(1), ONE)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(TooMuch, match="waiting already"):
                    await line.reading.ask(reads(1), ONE)
                scope.cancel()
        await line.wait("after", ONE)
        line.go_on()
    assert line.order == ["after"]
    assert await line.reading.ask(reads(1), OTHER) == 1


async def test_costly_searches_of_one_address_are_refused_over_http(start: Start, shorten: Shorten) -> None:
    """Of 60 searches that each read every listing, an address gets what its allowance is worth; another gets all."""
    shorten(reading, "LOOK_EVERY", 1000)
    site: Site = await start(
        proxies=Proxies(frozenset({"127.0.0.1"}), "x-forwarded-for", 1), read_rate=1, read_burst=20_000
    )
    await site.announce(Identity.generate(), add=tuple(listing(number, f"Name {number}") for number in range(500)))
    statuses: dict[str, list[int]] = {ONE: [], OTHER: []}

    async def ask(host: str, **query: str) -> None:
        answer = await site.client.get("/api/v1/search", params=query, headers={"x-forwarded-for": host})
        statuses[host].append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for size in range(60):
            flood = partial(ask, ONE, kind=Kind.PROGRAM, min_size=str(size), max_size=str(size))
            nursery.start_soon(flood)
        for number in range(3):
            await ask(OTHER, q=f"name {number}")
    assert statuses[OTHER] == [200] * 3
    assert set(statuses[ONE]) == {200, 429}
    assert statuses[ONE].count(200) <= 30
