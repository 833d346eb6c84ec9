"""Rebuilds a tracker's index if its words were cut in another way than `p2p.wire.keywords` cuts them now."""

import logging
import sqlite3

from p2p.wire import keywords
from tracker import index
from tracker.changes import unpack_contents

logger = logging.getLogger(__name__)

BATCH = 500


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Cuts the names of all listings again, unless that was done. A tracker with a million listings takes minutes.

    The connection is in a transaction, so a tracker that is killed meanwhile begins again.
    """
    (version,) = connection.execute("SELECT version FROM indexed").fetchone()
    if version == keywords.VERSION:
        return
    connection.execute("DELETE FROM words")
    last = done = 0
    while rows := connection.execute(
        "SELECT listings.id, name, contents, place, size, live FROM listings JOIN shares ON shares.id = "
        "listings.share WHERE listings.id > ? ORDER BY listings.id LIMIT ?",
        (last, BATCH),
    ).fetchall():
        for identifier, name, contents, before, size, live in rows:
            said = index.indexed(name, unpack_contents(contents))
            place = index.place(identifier, live, said.name.count(" ") + 1, index.kind_at(before), size)
            connection.execute("INSERT INTO words (rowid, name, contents) VALUES (?, ?, ?)", (place, *said))
            connection.execute("UPDATE listings SET place = ? WHERE id = ?", (place, identifier))
        last = rows[-1][0]
        done += len(rows)
    connection.execute("UPDATE indexed SET version = ?", (keywords.VERSION,))
    if done:
        logger.info("%d listings were indexed again, since words are cut in a new way", done)
