"""The writing half of the store: keeps what peers announced. `queries` reads it.

Each row belongs to a generation of its peer. A fresh start (a reset, a goodbye, an expiry) only increments the
generation, which is cheap however many rows there are. The rows of earlier generations are removed later, in batches; a
row is reused if the peer announces it again before then. Counts of sources may include rows not yet removed, but a peer
is checked before it is named as a source.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from p2p.ids import PeerId
from p2p.wire.tracker import Moment
from tracker import reindexing
from tracker.changes import Changes, Outcome, Said
from tracker.database import Database
from tracker.limits import Limits
from tracker.room import Room

REMEMBERED_S = 7 * 86400
"""How long the sequence number of a peer that has left is remembered."""
HISTORY_S = 8 * 86400
PIECE = 500


class Store:
    """Writes announces to the database, and at first builds the index again if the last version's words were others.

    Its methods block, and raise StorageError; for use by one thread at a time.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        with database.writing() as connection:
            reindexing.bring_up_to_date(connection)
            self._room: Room | None = _room(connection, limits)
            """None after an error: what it knows may have been undone."""

    def take_in(self, said: Iterable[Said], now: float) -> list[Outcome]:
        """Processes announces, in order, in one transaction."""
        with self._changing() as (connection, room):
            work = Changes(connection, self._limits, room, now)
            outcomes = [work.take_in(one) for one in said]
            if work.is_crowded:
                _sweep(connection, work, 2 * PIECE, now)  # faster than it can fill up
            work.finish()
        return outcomes

    def reached(self, peer: PeerId, host: str, port: int, dialable: bool) -> None:
        """Records whether a dial-back reached the peer, unless the peer has moved since."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE peers SET dialable = ? WHERE peer = ? AND host = ? AND port = ?", (dialable, peer, host, port)
            )

    def expire(self, now: float) -> int:
        """Drops expired peers. Returns how many there were."""
        with self._changing() as (connection, room):
            expired = connection.execute(
                "UPDATE peers SET generation = generation + 1, shares = 0, text = 0, cores = 0, capacity = NULL, "
                "expires = 0, sweep_at = ? WHERE expires > 0 AND expires <= ? RETURNING peer",
                (now, now),
            ).fetchall()
            for (peer,) in expired:
                room.leave(peer)
        return len(expired)

    def forget(self, now: float) -> None:
        """Forgets the sequence numbers of peers that left long ago."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM peers WHERE expires = 0 AND rows = 0 AND heard < ?", (now - REMEMBERED_S,))
            # If there are more than can be remembered, those silent the longest are forgotten first.
            (known,) = connection.execute("SELECT count(*) FROM peers").fetchone()
            if known > self._limits.known_peers:
                connection.execute(
                    "DELETE FROM peers WHERE id IN "
                    "(SELECT id FROM peers WHERE expires = 0 AND rows = 0 ORDER BY heard LIMIT ?)",
                    (known - self._limits.known_peers,),
                )

    def sweep(self, now: float) -> bool:
        """Removes some rows of earlier generations. Returns whether more are left to remove now."""
        with self._changing() as (connection, room):
            work = Changes(connection, self._limits, room, now)
            is_done = _sweep(connection, work, PIECE, now)
            work.finish()
        return not is_done

    def remember(self, moment: Moment) -> None:
        """Adds a point to the history."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?)",
                (int(moment.time), moment.peers, moment.shares, moment.bytes, moment.cores),
            )
            connection.execute("DELETE FROM moments WHERE time < ?", (moment.time - HISTORY_S,))

    @contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, Room]]:
        """A transaction, and who has room, which is as it is in the database."""
        with self._database.writing() as connection:
            room = self._room or _room(connection, self._limits)
            self._room = None
            yield connection, room
        self._room = room


def _sweep(connection: sqlite3.Connection, work: Changes, most: int, now: float) -> bool:
    """Removes up to about so many rows of earlier generations. Returns whether no more are left to remove now."""
    left = most
    while left > 0:
        row = connection.execute(
            "SELECT id, generation FROM peers WHERE rows > shares AND sweep_at <= ? ORDER BY sweep_at LIMIT 1", (now,)
        ).fetchone()
        if row is None:
            return True
        peer, generation = row
        left -= work.sweep(peer, generation, left)
    return False


def _room(connection: sqlite3.Connection, limits: Limits) -> Room:
    """Reads who has room."""
    room = Room(limits)
    for peer, host, rows, text in connection.execute(
        "SELECT peer, host, rows, text FROM peers WHERE expires > 0 ORDER BY first_heard, id"
    ):
        room.grow(peer, host, rows, text)
    return room
