"""What the DHT keeps across restarts: the proof of work for the node id, contacts through which to join, and what was
published when."""

from collections.abc import Sequence
from typing import NamedTuple

from p2p.store.database import Database

MAX_CONTACTS = 200
"""The most contacts kept per network. The rest of the state is bounded by what this peer publishes."""
KEPT_S = 40 * 24 * 3600


class Publication(NamedTuple):
    """What was published under a key: its sequence, a hash of its content (empty if too few nodes took it), and when
    (seconds since 1970)."""

    sequence: int
    content: bytes
    published: float


class OverlayState:
    """What one home keeps of the DHT of one network. Blocking; see `Database` for errors."""

    def __init__(self, database: Database, network: str) -> None:
        self._database = database
        self._network = network

    def nonce(self, bits: int) -> bytes | None:
        """The nonce that was found for a proof of work of this many bits, or None."""
        row = self._database.row("SELECT nonce FROM nonce WHERE network = ? AND bits = ?", [self._network, bits])
        return None if row is None else bytes(row[0])

    def keep_nonce(self, bits: int, nonce: bytes) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO nonce VALUES (?, ?, ?)", [self._network, bits, nonce])

    def contacts(self) -> list[tuple[str, int]]:
        """The hosts (IP addresses) and ports of nodes that were there last time this peer ran."""
        return [
            (str(host), int(port))
            for host, port in self._database.rows(
                "SELECT host, port FROM contact WHERE network = ? LIMIT ?", [self._network, MAX_CONTACTS]
            )
        ]

    def keep_contacts(self, contacts: Sequence[tuple[str, int]]) -> None:
        """Keeps the first `MAX_CONTACTS` of these, in place of those kept before."""
        rows = [(self._network, host, port) for host, port in contacts[:MAX_CONTACTS]]
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM contact WHERE network = ?", [self._network])
            connection.executemany("INSERT OR IGNORE INTO contact VALUES (?, ?, ?)", rows)

    def publications(self) -> dict[bytes, Publication]:
        """The last publication under each key."""
        rows = self._database.rows("SELECT key, sequence, content, published FROM publication")
        return {bytes(key): Publication(sequence, bytes(content), at) for key, sequence, content, at in rows}

    def published(self, key: bytes, publication: Publication) -> None:
        """Records what was just published under a key."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM publication WHERE published < ?", [publication.published - KEPT_S])
            connection.execute("INSERT OR REPLACE INTO publication VALUES (?, ?, ?, ?)", [key, *publication])
