"""The user's fetches, as they are listed, in the database. Each change is one transaction, so a kill loses none."""

import json
import sqlite3
import time
from typing import Any, NamedTuple, cast

from p2p.core.shares.fetch_states import OPEN, State, after
from p2p.errors import StorageError
from p2p.ids import ShareId
from p2p.store.database import Database

MAX_OPEN = 1000
MAX_DONE = 100
"""How many fetches that are done are remembered."""
_COLUMNS = "id, request, state, of_node, background, created, share, name, size, done, outcome"


class KeptFetch(NamedTuple):
    """One fetch. `created` is in seconds since 1970, sizes are in bytes; `request` and `outcome` are JSON values."""

    id: bytes
    request: Any
    state: State
    of_node: bool
    """Whether it was begun at a node, rather than by a command that ran a peer of its own."""
    background: bool
    """Whether it goes on though no command waits for it."""
    created: float
    share: ShareId | None
    name: str
    size: int
    done: int
    outcome: Any


class KeptFetches:
    """The fetches of one home. Blocking; see `Database` for errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recover(self) -> list[KeptFetch]:
        """All fetches, the oldest first, once those are changed that ran when an earlier peer ended.

        Those of a node wait for one; those of a command ended with it.
        """
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM kept_fetch ORDER BY created, id")
        found = []
        with self._database.transaction() as connection:
            for one in map(_kept, rows):
                state = after(one.state, "stop" if one.of_node else "pause")
                if state is not None and state != one.state:
                    connection.execute("UPDATE kept_fetch SET state = ? WHERE id = ?", [state, one.id])
                found.append(one._replace(state=state or one.state))
        return found

    def begin(self, one: KeptFetch) -> None:
        """Stores a fetch that begins, also again. Raises StorageError if too many are open."""
        with self._database.transaction() as connection:
            marks = ", ".join("?" * len(OPEN))
            (still,) = connection.execute(
                f"SELECT count(*) FROM kept_fetch WHERE state IN ({marks}) AND id != ?", [*OPEN, one.id]
            ).fetchone()
            if still >= MAX_OPEN:
                raise StorageError(
                    f"{still:,} fetches are not done. Remove some first (`shoal fetches`, `shoal remove`)."
                )
            connection.execute(
                f"INSERT OR REPLACE INTO kept_fetch ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(one)
            )

    def change(self, one: KeptFetch) -> list[bytes]:
        """Stores the fetch as it is now. Returns those that are no longer remembered, as more recent ones are done."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE kept_fetch SET request = ?, state = ?, of_node = ?, background = ?, created = ?, share = ?, "
                "name = ?, size = ?, done = ?, outcome = ? WHERE id = ?",
                [*_row(one)[1:], one.id],
            )
            return _drop_old(connection) if one.state == "done" else []

    def forget(self, fetch: bytes) -> None:
        """Forgets the fetch."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM kept_fetch WHERE id = ?", [fetch])


def _drop_old(connection: sqlite3.Connection) -> list[bytes]:
    old = connection.execute(
        "SELECT id FROM kept_fetch WHERE state = 'done' ORDER BY created DESC, id LIMIT -1 OFFSET ?", [MAX_DONE]
    ).fetchall()
    connection.executemany("DELETE FROM kept_fetch WHERE id = ?", old)
    return [bytes(fetch) for (fetch,) in old]


def new(fetch: bytes, request: Any, share: ShareId | None, name: str, *, of_node: bool, background: bool) -> KeptFetch:
    """A fetch that begins now."""
    return KeptFetch(fetch, request, "waiting", of_node, background, time.time(), share, name, 0, 0, None)


# JSON of the standard library can hold paths that are not UTF-8.


def _row(one: KeptFetch) -> list[Any]:
    outcome = None if one.outcome is None else json.dumps(one.outcome)
    name = one.name.encode(errors="replace").decode()
    return [
        one.id,
        json.dumps(one.request),
        one.state,
        one.of_node,
        one.background,
        one.created,
        one.share,
        name,
        one.size,
        one.done,
        outcome,
    ]


def _kept(row: tuple[Any, ...]) -> KeptFetch:
    fetch, request, state, of_node, background, created, share, name, size, done, outcome = row
    return KeptFetch(
        bytes(fetch),
        json.loads(request),
        cast(State, state),
        bool(of_node),
        bool(background),
        created,
        None if share is None else ShareId(bytes(share)),
        name,
        size,
        done,
        None if outcome is None else json.loads(outcome),
    )
