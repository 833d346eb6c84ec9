"""The owner's journal: jobs, accepted results, and finished actions.

Each write is atomic, even if the process is killed during it; so a job resumes where its journal ends, and no unit
whose result is in the journal is run again. Many results may arrive together: one transaction writes all that have
arrived since the previous transaction.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from p2p.core.compute.known import Known
from p2p.core.compute.plan import MAX_RESULT_BYTES
from p2p.core.compute.skipped import Skips, UnitPlace, read_reports
from p2p.errors import NotFound, StorageError
from p2p.ids import ID_BYTES, PeerId
from p2p.store.database import Database

MAX_ENDED = 100
"""The most ended jobs that are listed: the newest ones."""
MAX_OPEN = 100
MAX_ANSWERS_BYTES = 64 * 1024 * 1024
ANSWER = -1
"""The number under which the answer of an ended job is kept, among the results of its actions."""
MAX_JOB_BYTES = 1024 * 1024 * 1024
MAX_TEXT_BYTES = 1024 * 1024
MAX_LOG_BYTES = 16 * 1024 * 1024
"""Roughly the most log kept per job. Beyond this, the oldest output of the job's units is dropped for the newest."""
RUNNING = "running"
ROW_BYTES = 200
"""The approximate size of a row without its outputs."""
FETCHED_AT_ONCE = 1000
OUTPUTS_AT_ONCE = 64

_sizes = msgspec.msgpack.Decoder(tuple[int, ...])


class JournalEntry(NamedTuple):
    """An accepted result: the sizes of its outputs in bytes, and the outputs joined, or None if they are elsewhere.

    In that case they are at the result's holder or, if the result has no holder, in one of the owner's files. `skips`
    are the records that the unit skipped, or None if what is known of them still holds.
    """

    known: Known
    action: int
    sizes: tuple[int, ...]
    outputs: bytes | None
    skips: Skips | None = None

    @property
    def place(self) -> UnitPlace:
        """The unit's place in the job."""
        return UnitPlace(self.action, self.known.stage, self.known.partition)


class FinishedAction(NamedTuple):
    """A finished action and its result."""

    digest: bytes
    result: bytes


class Logged(NamedTuple):
    """What a unit printed at the peer that ran it. `failure` says why the unit gave no result; empty if it gave one."""

    action: int
    stage: int
    partition: int
    peer: bytes
    failure: str
    text: bytes


class JournaledJob(NamedTuple):
    """A job as listings show it. `state` is running, done, failed or cancelled; `created` is in seconds since 1970."""

    id: bytes
    description: Any
    state: str
    ending: Any
    created: float


class Journal:
    """The journal of one home. Blocking; see `Database` for errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Jobs.

    def begin(self, job: bytes, description: Any) -> None:
        """Stores a new job with its description (JSON values). Raises StorageError if too many jobs are open."""
        text = _text(description)
        with self._database.transaction() as connection:
            (still,) = connection.execute("SELECT count(*) FROM job WHERE state = ?", [RUNNING]).fetchone()
            if still >= MAX_OPEN:
                raise StorageError(f"{still} jobs are open. Cancel some first (`shoal jobs`, `shoal cancel`).")
            values = [job, text, RUNNING, _text(None), time.time(), 0]
            connection.execute("INSERT INTO job VALUES (?, ?, ?, ?, ?, ?)", values)

    def jobs(self) -> list[JournaledJob]:
        """All jobs, the newest first."""
        rows = self._database.rows("SELECT id, description, state, ending, created FROM job ORDER BY created DESC, id")
        return [_listed(row) for row in rows]

    def job(self, job: bytes) -> JournaledJob:
        """Returns one job. Raises NotFound."""
        row = self._database.row("SELECT id, description, state, ending, created FROM job WHERE id = ?", [job])
        if row is None:
            raise NotFound("This peer knows no such job. `shoal jobs` lists those it knows.")
        return _listed(row)

    def end(self, job: bytes, state: str, ending: Any, answer: bytes = b"") -> None:
        """Ends the job; only its ending, its answer and its logs are kept.

        The oldest ended jobs are forgotten, and the oldest answers if all have more than MAX_ANSWERS_BYTES together.
        """
        assert state != RUNNING
        text = _text(ending)
        with self._database.transaction() as connection:
            for table in ("job_unit", "job_action", "job_skip"):
                connection.execute(f"DELETE FROM {table} WHERE job = ?", [job])
            connection.execute("UPDATE job SET state = ?, ending = ?, bytes = 0 WHERE id = ?", [state, text, job])
            connection.execute(
                "DELETE FROM job WHERE state != ? AND id NOT IN "
                "(SELECT id FROM job WHERE state != ? ORDER BY created DESC, id LIMIT ?)",
                [RUNNING, RUNNING, MAX_ENDED],
            )
            connection.execute("DELETE FROM job_log WHERE job NOT IN (SELECT id FROM job)")
            if answer and len(answer) <= MAX_ANSWERS_BYTES:
                connection.execute("INSERT INTO job_action VALUES (?, ?, ?, ?)", [job, ANSWER, b"", answer])
            connection.execute(
                "DELETE FROM job_action WHERE action = ? AND job NOT IN (SELECT id FROM (SELECT id, "
                "sum(length(result)) OVER (ORDER BY created DESC, id) AS newer FROM job "
                "JOIN job_action ON job = id AND action = ?) WHERE newer <= ?)",
                [ANSWER, ANSWER, MAX_ANSWERS_BYTES],
            )

    def put_in_background(self, job: bytes) -> None:
        """Records that a node goes on with the job until it is over."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO job_background VALUES (?, ?)", [job, time.time()])

    def take_from_background(self, job: bytes) -> None:
        """The opposite of `put_in_background`."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM job_background WHERE job = ?", [job])

    def in_background(self) -> list[bytes]:
        """The jobs that a node goes on with."""
        sql = "SELECT job FROM job_background JOIN job ON id = job WHERE state = ? ORDER BY since, job"
        return [bytes(job) for (job,) in self._database.rows(sql, [RUNNING])]

    def answer(self, job: bytes) -> bytes:
        """The answer with which the job ended; empty if it is not kept."""
        row = self._database.row("SELECT result FROM job_action WHERE job = ? AND action = ?", [job, ANSWER])
        return b"" if row is None else bytes(row[0])

    def forget(self, job: bytes) -> None:
        """Forgets everything about the job."""
        with self._database.transaction() as connection:
            for table, column in _TABLES:
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [job])

    # What a running job has done.

    def accept(self, job: bytes, entries: Sequence[JournalEntry]) -> None:
        """Stores all of these accepted results, or none. A later result for the same place replaces the earlier one.

        Raises StorageError, also if the job's results would take too much space; NotFound if the job is not open.
        """
        new = [_as_row(job, entry) for entry in entries]
        skipped = [
            (job, *entry.place, entry.skips.amount, msgspec.json.encode(entry.skips.reports))
            for entry in entries
            if entry.skips is not None
        ]
        with self._database.transaction() as connection:
            size = sum(ROW_BYTES + len(entry.outputs or b"") for entry in entries)
            self._grow(connection, job, size + sum(len(row[-1]) for row in skipped))
            connection.executemany("INSERT OR REPLACE INTO job_unit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
            connection.executemany("INSERT OR REPLACE INTO job_skip VALUES (?, ?, ?, ?, ?, ?)", skipped)

    def finish(self, job: bytes, action: int, digest: bytes, result: bytes) -> None:
        """Stores the action's result, and forgets the results of its units. Raises as `accept` does."""
        if len(result) > MAX_RESULT_BYTES:
            raise StorageError(f"The result of an action has {len(result)} bytes; {MAX_RESULT_BYTES} are allowed.")
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM job_unit WHERE job = ? AND action <= ?", [job, action])
            (kept,) = connection.execute(
                "SELECT coalesce(sum(length(result)), 0) FROM job_action WHERE job = ?", [job]
            ).fetchone()
            connection.execute("UPDATE job SET bytes = ? WHERE id = ?", [kept, job])
            self._grow(connection, job, ROW_BYTES + len(result))
            connection.execute("INSERT INTO job_action VALUES (?, ?, ?, ?)", [job, action, digest, result])

    def skips(self, job: bytes) -> Iterator[tuple[UnitPlace, Skips]]:
        """Yields the records that the job's units skipped, unit by unit, also of finished actions."""
        at = UnitPlace(-1, -1, -1)
        while True:
            rows = self._database.rows(
                "SELECT action, stage, partition, count, reports FROM job_skip WHERE job = ? "
                "AND (action, stage, partition) > (?, ?, ?) ORDER BY action, stage, partition LIMIT ?",
                [job, *at, FETCHED_AT_ONCE],
            )
            for *place, count, reports in rows:
                at = UnitPlace(*place)
                yield at, Skips(count, read_reports(reports))
            if len(rows) < FETCHED_AT_ONCE:
                return

    # What a job's units printed.

    def log(self, job: bytes, logs: Sequence[Logged]) -> None:
        """Stores these logs, which are kept for as long as the job is listed. Raises StorageError."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO job_log (job, action, stage, partition, peer, failure, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(job, *one) for one in logs],
            )
            # Up to twice the bound is kept: to look for the oldest logs every time would cost more than to keep them.
            (size,) = connection.execute("SELECT sum(length(text)) FROM job_log WHERE job = ?", [job]).fetchone()
            if size > 2 * MAX_LOG_BYTES:
                connection.execute(
                    "DELETE FROM job_log WHERE number IN (SELECT number FROM (SELECT number, "
                    "sum(length(text)) OVER (ORDER BY number DESC) AS newer FROM job_log WHERE job = ?) "
                    "WHERE newer > ?)",
                    [job, MAX_LOG_BYTES],
                )

    def logs(self, job: bytes, unit: tuple[int, int, int] | None = None) -> list[Logged]:
        """What the job's units printed, ordered by action, stage and partition; or only what the given unit printed."""
        sql = "SELECT action, stage, partition, peer, failure, text FROM job_log WHERE job = ?"
        values: list[Any] = [job]
        if unit is not None:
            sql += " AND action = ? AND stage = ? AND partition = ?"
            values += unit
        rows = self._database.rows(f"{sql} ORDER BY action, stage, partition, number", values)
        return [Logged(a, s, p, bytes(peer), failure, bytes(text)) for a, s, p, peer, failure, text in rows]

    def actions(self, job: bytes) -> list[FinishedAction]:
        """The results of the finished actions, in order."""
        sql = "SELECT digest, result FROM job_action WHERE job = ? ORDER BY action"
        return [FinishedAction(bytes(digest), bytes(result)) for digest, result in self._database.rows(sql, [job])]

    def replay(self, job: bytes) -> Iterator[Known]:
        """Yields the accepted results of the running action, stage by stage, without their outputs."""
        # They are not loaded all at once: a stage may have a hundred thousand.
        at = (-1, -1)
        while True:
            rows = self._database.rows(
                "SELECT unit, stage, partition, digest, holder FROM job_unit WHERE job = ? AND action = "
                "(SELECT count(*) FROM job_action WHERE job = ?) AND (stage, partition) > (?, ?) "
                "ORDER BY stage, partition LIMIT ?",
                [job, job, *at, FETCHED_AT_ONCE],
            )
            for unit, stage, partition, digest, holder in rows:
                yield Known(bytes(unit), stage, partition, bytes(digest), None if holder is None else PeerId(holder))
            if len(rows) < FETCHED_AT_ONCE:
                return
            at = (rows[-1][1], rows[-1][2])

    def output(self, job: bytes, action: int, stage: int, partition: int, number: int) -> bytes | None:
        """One output of a unit, or None if the output is not in the journal."""
        row = self._database.row(
            "SELECT sizes, outputs FROM job_unit WHERE job = ? AND action = ? AND stage = ? AND partition = ?",
            [job, action, stage, partition],
        )
        sizes = () if row is None else _sizes.decode(row[0])
        if row is None or row[1] is None or not 0 <= number < len(sizes):
            return None
        start = sum(sizes[:number])
        return bytes(row[1][start : start + sizes[number]])

    def outputs(self, job: bytes, action: int, stage: int) -> Iterator[tuple[int, tuple[int, ...], bytes | None]]:
        """The outputs of a stage's units, in order: partition, sizes, and the bytes if they are in the journal."""
        at = -1
        while True:
            rows = self._database.rows(
                "SELECT partition, sizes, outputs FROM job_unit WHERE job = ? AND action = ? AND stage = ? "
                "AND partition > ? ORDER BY partition LIMIT ?",
                [job, action, stage, at, OUTPUTS_AT_ONCE],
            )
            for partition, sizes, outputs in rows:
                yield partition, _sizes.decode(sizes), None if outputs is None else bytes(outputs)
            if len(rows) < OUTPUTS_AT_ONCE:
                return
            at = rows[-1][0]

    def _grow(self, connection: Any, job: bytes, size: int) -> None:
        found = connection.execute(
            "UPDATE job SET bytes = bytes + ? WHERE id = ? AND state = ? RETURNING bytes", [size, job, RUNNING]
        ).fetchone()
        if found is None:
            raise NotFound("The job is not open.")
        if found[0] > MAX_JOB_BYTES:
            raise StorageError(
                f"The job's results take more than {MAX_JOB_BYTES} bytes of the journal. "
                "Use fewer partitions, or an action with a smaller result."
            )


_TABLES = (("job_unit", "job"), ("job_action", "job"), ("job_skip", "job"), ("job_log", "job"), ("job", "id"))
"""The tables that know a job, each with the column that has its id."""


def _as_row(job: bytes, entry: JournalEntry) -> tuple[Any, ...]:
    known = entry.known
    assert len(known.unit) == len(known.digest) == ID_BYTES
    assert entry.outputs is None or sum(entry.sizes) == len(entry.outputs)
    sizes = msgspec.msgpack.encode(entry.sizes)
    place = (entry.action, known.stage, known.partition)
    return (job, *place, known.unit, known.digest, known.holder, sizes, entry.outputs)


def _text(value: Any) -> bytes:
    text = json.dumps(value).encode()
    if len(text) > MAX_TEXT_BYTES:
        raise StorageError(f"The journal keeps at most {MAX_TEXT_BYTES} bytes of text about a job, not {len(text)}.")
    return text


def _listed(row: tuple[Any, ...]) -> JournaledJob:
    job, description, state, ending, created = row
    return JournaledJob(bytes(job), json.loads(description), state, json.loads(ending), created)
