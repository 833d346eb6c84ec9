"""The newest pointer records seen, and which version of each was fetched to which folder."""

import time
from collections.abc import Sequence
from pathlib import Path

from p2p.errors import MalformedMessage
from p2p.ids import PeerId, ShareId
from p2p.store.database import Database
from p2p.store.fetches import as_value
from p2p.store.library import Stamp, pack_ctimes, pack_stamps, unpack_stamps
from p2p.wire import records
from p2p.wire.records import Pointer, Record, pointer_key

MAX_FOREIGN = 1000
"""The most pointers of other peers that are remembered: those seen last."""
MAX_FOLLOWED = 100


class Pointers:
    """The pointers of one home. Blocking; see `Database` for errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, publisher: PeerId, name: str) -> Record | None:
        """The record with the highest sequence that this peer has seen, or None; the record may have expired."""
        row = self._database.row("SELECT record FROM pointer WHERE publisher = ? AND name = ?", [publisher, name])
        if row is None:
            return None
        raw = bytes(row[0])
        try:
            return records.read(raw, pointer_key(publisher, name), None)
        except MalformedMessage:  # the record has a version that this Shoal does not read
            return None

    def saw(self, record: Record, own: PeerId) -> bool:
        """Stores a pointer unless a newer one is known. Returns whether it is the newest."""
        assert isinstance(record.payload, Pointer)
        with self._database.transaction() as connection:
            done = connection.execute(
                "INSERT INTO pointer VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (publisher, name) DO UPDATE SET "
                "sequence = excluded.sequence, share = excluded.share, record = excluded.record, seen = excluded.seen "
                "WHERE excluded.sequence >= sequence",
                [
                    record.publisher,
                    record.payload.name,
                    record.sequence,
                    record.payload.share,
                    record.raw,
                    time.time(),
                ],
            )
            connection.execute(
                "DELETE FROM pointer WHERE publisher != ? AND (publisher, name) NOT IN "
                "(SELECT publisher, name FROM pointer WHERE publisher != ? ORDER BY seen DESC LIMIT ?)",
                [own, own, MAX_FOREIGN],
            )
            return bool(done.rowcount)

    def of(self, publisher: PeerId) -> list[Record]:
        """The pointers of one publisher."""
        return self._read("SELECT publisher, name FROM pointer WHERE publisher = ? ORDER BY name", [publisher])

    def followed(self) -> list[Record]:
        """The pointers of which a version was fetched here, the last seen first."""
        return self._read(
            "SELECT DISTINCT publisher, name FROM pointer JOIN version USING (publisher, name) "
            "ORDER BY seen DESC LIMIT ?",
            [MAX_FOLLOWED],
        )

    def _read(self, sql: str, values: Sequence[object]) -> list[Record]:
        found = [self.newest(PeerId(bytes(publisher)), name) for publisher, name in self._database.rows(sql, values)]
        return [record for record in found if record is not None]

    # Versions.

    def version(self, publisher: PeerId, name: str, folder: Path) -> tuple[ShareId, list[Stamp]] | None:
        """The version last fetched to the folder, and the stamps that its entries had then; None if there is none."""
        row = self._database.row(
            "SELECT share, stamps, ctimes FROM version WHERE publisher = ? AND name = ? AND folder = ?",
            [publisher, name, as_value(folder)],
        )
        return None if row is None else (ShareId(bytes(row[0])), unpack_stamps(*map(bytes, row[1:])))

    def keep_version(self, publisher: PeerId, name: str, folder: Path, share: ShareId, stamps: Sequence[Stamp]) -> None:
        """Records that the folder now has the whole of this version."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO version (publisher, name, folder, share, stamps, ctimes) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [publisher, name, as_value(folder), share, pack_stamps(stamps), pack_ctimes(stamps)],
            )
