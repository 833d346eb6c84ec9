"""Changes what is stored from peers' announces, in one transaction, and keeps the totals up to date.

A listing is a share as announced, with its name, size and files. Invariant: a share has a row while it has sources
(`live` counts them), a listing has a row while any peer announces it (`backers` counts these peers), and each listing's
words are in the table `words` under the listing's place.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
from blake3 import blake3

from p2p import ids
from p2p.ids import PeerId, ShareId
from p2p.wire.tracker import Announce, Capacity, Content, Listing, key_from_text, provider_key
from tracker import index
from tracker.limits import Limits
from tracker.room import PART, Room

RESET_GRACE_S = 30.0
"""How long old rows stay after a reset, so that a new announce can reuse them."""
MAX_COUNTED_BYTES = 2**40
"""The most of a listing's bytes that counts in sums, so that a single liar cannot distort the figures."""
MAX_REFUSED = 16

_contents_decoder = msgspec.msgpack.Decoder(tuple[Content, ...])


@dataclass(frozen=True)
class Said:
    """An announce whose signature and address have been checked."""

    peer: PeerId
    announce: Announce
    host: str
    subject: str


@dataclass(frozen=True)
class Taken:
    """The outcome of an accepted announce. `dialable`: whether the peer can be dialled where it claims, if known."""

    id: int
    shares: int
    dialable: bool | None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conflict:
    """The outcome if an announce does not follow the peer's last known one: the peer must announce everything again."""

    sequence: int


@dataclass(frozen=True)
class NoRoom:
    """The outcome of an announce of which no part could be stored, for lack of room."""

    reason: str


Outcome = Taken | Conflict | NoRoom


@dataclass
class _Totals:
    listings: int
    bytes: int
    text: int
    rows: int


@dataclass
class _Announcer:
    """The row of the peer whose announce is being processed."""

    id: int
    host: str
    generation: int
    shares: int
    rows: int
    text: int
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


def pack_contents(contents: Sequence[Content]) -> bytes | None:
    """Encodes the files of a listing for the database."""
    return msgspec.msgpack.encode(contents) if contents else None


def unpack_contents(packed: bytes | None) -> tuple[Content, ...]:
    """The inverse of `pack_contents`."""
    return _contents_decoder.decode(packed) if packed else ()


class Changes:
    """Makes the changes of one transaction; `finish` must be called last."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, room: Room, now: float) -> None:
        self._connection = connection
        self._limits = limits
        self._room = room
        self._now = now
        self._before = _Totals(*connection.execute("SELECT listings, bytes, text, rows FROM totals").fetchone())
        self._totals = replace(self._before)

    def finish(self) -> None:
        totals = self._totals
        if totals == self._before:
            return
        self._connection.execute(
            "UPDATE totals SET listings = ?, bytes = ?, text = ?, rows = ?",
            (totals.listings, totals.bytes, totals.text, totals.rows),
        )

    @property
    def is_crowded(self) -> bool:
        """Whether little room is left for rows that are still to be swept."""
        return self._totals.rows > PART * self._limits.rows

    def take_in(self, said: Said) -> Outcome:
        announce, now = said.announce, self._now
        row = self._connection.execute(
            "SELECT id, expires, sequence, generation, shares, rows, text, host, port, dialable FROM peers "
            "WHERE peer = ?",
            (said.peer,),
        ).fetchone()
        known = 0 if row is None else row[2]
        is_live = row is not None and row[1] > now
        follows = announce.reset or (announce.previous == known and (is_live or not known))
        if announce.sequence <= known or not follows:
            return Conflict(known)
        if not is_live:
            self._room.leave(said.peer)
            if not announce.bye and (reason := self._no_room(said)):
                return NoRoom(reason)
        if row is None:
            identifier = self._connection.execute(
                "INSERT INTO peers (peer, first_heard, heard, expires, sequence, subject, host, port) "
                "VALUES (?, ?, ?, 0, 0, ?, ?, ?)",
                (said.peer, now, now, said.subject, said.host, announce.port),
            ).lastrowid
            assert identifier is not None
            announcer, dialable = _Announcer(identifier, said.host, 0, 0, 0, 0), None
        else:
            announcer = _Announcer(row[0], said.host, row[3], row[4], row[5], row[6])
            dialable = None if row[9] is None or row[7:9] != (said.host, announce.port) else bool(row[9])
        if announce.port == 0:
            dialable = False
        if announce.reset or announce.bye:
            announcer.generation += 1
            announcer.shares = announcer.text = 0
        if announce.bye:
            self._room.leave(said.peer)
        else:
            self._change(announcer, said)
            self._room.shrink(said.peer, announcer.rows, announcer.text)
        self._keep(announcer, said, dialable)
        return Taken(announcer.id, announcer.shares, dialable, _as_text(announcer.refused))

    def sweep(self, peer: int, generation: int, most: int) -> int:
        """Removes up to `most` old rows of a peer. Returns how many it removed."""
        old = self._connection.execute(
            "SELECT share, listing FROM sources INDEXED BY sources_by_peer WHERE peer = ? AND generation < ? LIMIT ?",
            (peer, generation, most),
        ).fetchall()
        for share, listing in old:
            self._remove(share, peer, listing)
        # When all are gone, this also corrects a miscount that a crash of an older version may have left.
        left = "shares" if len(old) < most else f"rows - {len(old)}"
        [(announcer, rows, text)] = self._connection.execute(
            f"UPDATE peers SET rows = {left} WHERE id = ? RETURNING peer, rows, text", (peer,)
        ).fetchall()
        self._room.shrink(announcer, rows, text)
        return max(1, len(old))

    def _no_room(self, said: Said) -> str:
        """Makes room for a newcomer; returns why there is none."""
        limits = self._limits
        (here,) = self._connection.execute(
            "SELECT count(*) FROM peers WHERE subject = ? AND expires > ?", (said.subject, self._now)
        ).fetchone()
        if here >= limits.peers_per_address:
            return (
                f"{here} peers announce from {said.subject} already, the most that this tracker takes from one address."
            )
        has_room = self._grow(said.peer, said.host, 0, 0)
        return "" if has_room else "This tracker has as many peers as it can take. Use another one."

    def _grow(self, peer: PeerId, host: str, rows: int, text: int) -> bool:
        """Makes room for what a peer announces; displaced peers are no longer live. Returns whether there is room."""
        has_room, displaced = self._room.grow(peer, host, rows, text)
        if displaced:
            self._connection.executemany(
                "UPDATE peers SET generation = generation + 1, shares = 0, text = 0, cores = 0, capacity = NULL, "
                "expires = 0, sweep_at = ? WHERE peer = ?",
                [(self._now, other) for other in displaced],
            )
        return has_room

    def _keep(self, announcer: _Announcer, said: Said, dialable: bool | None) -> None:
        announce, now = said.announce, self._now
        capacity = None if announce.bye else announce.capacity
        self._connection.execute(
            "UPDATE peers SET heard = ?, expires = ?, sequence = ?, generation = ?, subject = ?, host = ?, port = ?, "
            "dialable = ?, shares = ?, rows = ?, text = ?, cores = ?, memory = ?, idle = ?, runtimes = ?, "
            "capacity = ? WHERE id = ?",
            (
                now,
                0 if announce.bye else now + announce.expires_s,
                announce.sequence,
                announcer.generation,
                said.subject,
                said.host,
                announce.port,
                dialable,
                announcer.shares,
                announcer.rows,
                announcer.text,
                *_offer(capacity),
                announcer.id,
            ),
        )
        if announce.reset or announce.bye:
            sweep_at = now if announce.bye else now + RESET_GRACE_S
            self._connection.execute("UPDATE peers SET sweep_at = ? WHERE id = ?", (sweep_at, announcer.id))

    def _change(self, announcer: _Announcer, said: Said) -> None:
        announce = said.announce
        for key in announce.drop:
            self._drop(announcer, key)
        for listing in announce.add:
            try:
                share = ShareId(ids.from_text(listing.share))
            except ValueError:
                announcer.refuse("an invalid id")
                continue
            self._add(announcer, said.peer, provider_key(share), share, listing, listing.whole)
        for provided in announce.provide:
            try:
                raw = key_from_text(provided.key)
            except ValueError:
                announcer.refuse("an invalid key")
                continue
            self._add(announcer, said.peer, raw, None, None, provided.whole)

    def _drop(self, announcer: _Announcer, key: str) -> None:
        try:
            raw = key_from_text(key)
        except ValueError:
            return
        row = self._connection.execute(
            "SELECT shares.id, sources.listing, sources.generation, listings.text FROM shares "
            "JOIN sources ON sources.share = shares.id AND sources.peer = ? "
            "LEFT JOIN listings ON listings.id = sources.listing WHERE key = ?",
            (announcer.id, raw),
        ).fetchone()
        if row is None:
            return
        share, listing, generation, text = row
        self._remove(share, announcer.id, listing)
        announcer.rows -= 1
        if generation == announcer.generation:
            announcer.shares -= 1
            announcer.text -= text or 0

    def _add(
        self,
        announcer: _Announcer,
        peer: PeerId,
        key: bytes,
        share: ShareId | None,
        listing: Listing | None,
        whole: bool,
    ) -> None:
        """Makes the announcer a source of the share, under the listing's name if there is one."""
        row = self._connection.execute(
            "SELECT shares.id, live, sources.generation, sources.listing, whole, listings.text FROM shares "
            "LEFT JOIN sources ON sources.share = shares.id AND sources.peer = ? "
            "LEFT JOIN listings ON listings.id = sources.listing WHERE key = ?",
            (announcer.id, key),
        ).fetchone()
        identifier, live, generation, before, whole_before, text_before = row or (None, 0, None, None, None, None)
        is_current = generation == announcer.generation
        text = index.text_bytes(listing) if listing is not None else 0
        limits, totals = self._limits, self._totals
        if not is_current and announcer.shares >= limits.shares_per_peer:
            announcer.refuse(f"more than {limits.shares_per_peer} shares")
            return
        if generation is None and (totals.rows >= limits.rows or announcer.rows >= 2 * limits.shares_per_peer):
            announcer.refuse("more than this tracker has room for")
            return
        text_after = announcer.text - (text_before or 0 if is_current else 0) + text
        if text_after > limits.text_per_peer:
            announcer.refuse(f"more than {limits.text_per_peer} bytes of names")
            return
        if not self._grow(peer, announcer.host, announcer.rows + (generation is None), text_after):
            announcer.refuse("more than this tracker has room for")
            return
        if identifier is None:
            identifier = self._connection.execute("INSERT INTO shares (key, live) VALUES (?, 0)", (key,)).lastrowid
            assert identifier is not None
        if generation is None:
            live += 1
            self._count_sources(identifier, live)
        after: int | None = None
        if listing is not None and share is not None:
            after = self._list(announcer, peer, identifier, share, live, listing, text, before)
            if after is None:
                text = 0
        if before is not None and before != after:
            self._unback(before)
        if generation is None:
            self._connection.execute(
                "INSERT INTO sources (share, peer, generation, whole, listing) VALUES (?, ?, ?, ?, ?)",
                (identifier, announcer.id, announcer.generation, whole, after),
            )
            announcer.rows += 1
            totals.rows += 1
        elif (generation, whole_before, before) != (announcer.generation, whole, after):
            self._connection.execute(
                "UPDATE sources SET generation = ?, whole = ?, listing = ? WHERE share = ? AND peer = ?",
                (announcer.generation, whole, after, identifier, announcer.id),
            )
        if is_current:
            announcer.text += text - (text_before or 0)
        else:
            announcer.shares += 1
            announcer.text += text

    def _list(
        self,
        announcer: _Announcer,
        peer: PeerId,
        identifier: int,
        share: ShareId,
        live: int,
        listing: Listing,
        text: int,
        before: int | None,
    ) -> int | None:
        """Returns the listing that the announcer backs from now on: an equal one that exists, or a new one."""
        contents = pack_contents(listing.contents)
        digest = _digest(listing, contents)
        there = self._connection.execute("SELECT id, digest FROM listings WHERE share = ?", (identifier,)).fetchall()
        for known, its_digest in there:
            if its_digest == digest:
                if known != before:
                    self._connection.execute("UPDATE listings SET backers = backers + 1 WHERE id = ?", (known,))
                return int(known)
        if len(there) >= self._limits.names_per_share:
            announcer.refuse("a share that has many names already")
            return None
        if self._totals.text + text > self._limits.text:
            announcer.refuse("more than this tracker has room for")
            return None
        if not there:
            self._connection.execute("UPDATE shares SET share = ? WHERE id = ?", (share, identifier))
        said = index.indexed(listing.name, listing.contents)
        (fresh,) = self._connection.execute("SELECT ifnull(max(id), 0) + 1 FROM listings").fetchone()
        place = index.place(fresh, live, said.name.count(" ") + 1, index.kind_of(listing), listing.size)
        self._connection.execute(
            "INSERT INTO listings (id, share, digest, place, name, size, files, contents, text, heard, signer, "
            "backers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (
                fresh,
                identifier,
                digest,
                place,
                listing.name,
                listing.size,
                listing.files,
                contents,
                text,
                self._now,
                peer,
            ),
        )
        self._connection.execute("INSERT INTO words (rowid, name, contents) VALUES (?, ?, ?)", (place, *said))
        self._totals.listings += 1
        self._totals.bytes += min(listing.size, MAX_COUNTED_BYTES)
        self._totals.text += text
        return int(fresh)

    def _remove(self, share: int, peer: int, listing: int | None) -> None:
        """Removes a source of a share."""
        self._connection.execute("DELETE FROM sources WHERE share = ? AND peer = ?", (share, peer))
        self._totals.rows -= 1
        if listing is not None:
            self._unback(listing)
        (live,) = self._connection.execute("SELECT live FROM shares WHERE id = ?", (share,)).fetchone()
        if live > 1:
            self._count_sources(share, live - 1)
        else:
            self._connection.execute("DELETE FROM shares WHERE id = ?", (share,))

    def _unback(self, listing: int) -> None:
        """Removes a backer of a listing."""
        place, backers, size, text, share = self._connection.execute(
            "SELECT place, backers, size, text, share FROM listings WHERE id = ?", (listing,)
        ).fetchone()
        if backers > 1:
            self._connection.execute("UPDATE listings SET backers = backers - 1 WHERE id = ?", (listing,))
            return
        self._connection.execute("DELETE FROM words WHERE rowid = ?", (place,))
        self._connection.execute("DELETE FROM listings WHERE id = ?", (listing,))
        # The tracker must not know the id of a share that nobody lists any more.
        self._connection.execute(
            "UPDATE shares SET share = NULL "
            "WHERE id = ? AND NOT EXISTS (SELECT 1 FROM listings WHERE listings.share = shares.id)",
            (share,),
        )
        self._totals.listings -= 1
        self._totals.bytes -= min(size, MAX_COUNTED_BYTES)
        self._totals.text -= text

    def _count_sources(self, share: int, live: int) -> None:
        """Records how many peers have the share; moves its listings if that changes their place."""
        self._connection.execute("UPDATE shares SET live = ? WHERE id = ?", (live, share))
        for identifier, place in self._connection.execute(
            "SELECT id, place FROM listings WHERE share = ?", (share,)
        ).fetchall():
            moved = index.moved(place, live)
            if moved == place:
                continue
            said = self._connection.execute("SELECT name, contents FROM words WHERE rowid = ?", (place,)).fetchone()
            self._connection.execute("DELETE FROM words WHERE rowid = ?", (place,))
            self._connection.execute("INSERT INTO words (rowid, name, contents) VALUES (?, ?, ?)", (moved, *said))
            self._connection.execute("UPDATE listings SET place = ? WHERE id = ?", (moved, identifier))


def _digest(listing: Listing, contents: bytes | None) -> bytes:
    """A digest that is the same for listings with the same content."""
    said = msgspec.msgpack.encode((listing.name, listing.size, listing.files, contents))
    return blake3(said).digest(length=16)


def _offer(capacity: Capacity | None) -> tuple[int, int, float, str, bytes | None]:
    """The columns by which volunteers are searched for."""
    if capacity is None:
        return 0, 0, 0.0, "", None
    # The tab between runtimes never occurs in the runtime that a search asks for.
    runtimes = "\t" + "\t".join(capacity.runtimes) + "\t"
    idle = capacity.cores * (1 - capacity.load)
    return capacity.cores, capacity.memory, idle, runtimes, msgspec.msgpack.encode(capacity)


def _as_text(refused: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"{reason} ({count})" for reason, count in refused.items())[:MAX_REFUSED]
