"""The newest pointer records seen, and which version of each was fetched to which folder."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from p2p.core.shares.local_names import Renames
from p2p.errors import MalformedMessage
from p2p.ids import PeerId, ShareId
from p2p.store.database import Database
from p2p.store.fetches import as_value
from p2p.store.local_paths import pack_names, unpack_names
from p2p.store.stamps import Stamp, Stamps, pack_ctimes, pack_stamps
from p2p.wire import records
from p2p.wire.records import Pointer, Record, pointer_key

MAX_FOREIGN = 1000
"""The most pointers of other peers that are remembered: those seen last."""
MAX_FOLLOWED = 100


class Version(NamedTuple):
    """A version of a pointer's share, as it was fetched to a folder."""

    share: ShareId
    stamps: Sequence[Stamp]
    """Those that its entries had then."""
    names: Renames
    """The names that differ on the disk from those in the share."""


class Pointers:
    """The pointers of one home. Blocking; see `Database` for errors."""

    def __init__(self, database: Database, network: str) -> None:
        self._database = database
        self._network = network

    def newest(self, publisher: PeerId, name: str) -> Record | None:
        """The record with the highest sequence that this peer has seen, or None; the record may have expired."""
        row = self._database.row("SELECT record FROM pointer WHERE publisher = ? AND name = ?", [publisher, name])
        if row is None:
            return None
        raw = bytes(row[0])
        for network in (self._network, None):
            with suppress(MalformedMessage):
                return records.read(raw, pointer_key(publisher, name), None, network)
        return None  # the record has a version that this Shoal does not read

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

    def version(self, publisher: PeerId, name: str, folder: Path) -> Version | None:
        """The version last fetched to the folder; None if there is none."""
        row = self._database.row(
            "SELECT share, stamps, ctimes, names FROM version WHERE publisher = ? AND name = ? AND folder = ?",
            [publisher, name, as_value(folder)],
        )
        if row is None:
            return None
        share, stamps, ctimes, changes = map(bytes, row)
        return Version(ShareId(share), Stamps.unpack(stamps, ctimes), unpack_names(changes))

    def fetched(self, publisher: PeerId, name: str) -> set[ShareId]:
        """The versions last fetched, to whatever folders."""
        sql = "SELECT share FROM version WHERE publisher = ? AND name = ?"
        return {ShareId(bytes(share)) for (share,) in self._database.rows(sql, [publisher, name])}

    def keep_version(self, publisher: PeerId, name: str, folder: Path, version: Version) -> None:
        """Records that the folder now has this version."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO version (publisher, name, folder, share, stamps, ctimes, names) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    publisher,
                    name,
                    as_value(folder),
                    version.share,
                    pack_stamps(version.stamps),
                    pack_ctimes(version.stamps),
                    pack_names(version.names),
                ],
            )
