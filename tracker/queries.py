"""The reading half of the store: queries. All of them block; each function sees one consistent state of the data.

An announce in which a peer lists all its shares again begins a new generation of that peer. Until its announce expires,
a peer is named as a source of the shares that it has listed in its current generation.
"""

import sqlite3
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from p2p.errors import NotFound
from p2p.ids import PeerId, ShareId, to_text
from p2p.wire.address import Address, may_tell
from p2p.wire.link import Link
from p2p.wire.tracker import (
    MAX_RESULTS,
    Capacity,
    Found,
    Moment,
    PeerView,
    SearchAnswer,
    ShareView,
    Source,
    SourcesAnswer,
    Statistics,
    Volunteer,
    VolunteersAnswer,
    Wanted,
    key_text,
    provider_key,
)
from tracker import index
from tracker.changes import MAX_COUNTED_BYTES, unpack_contents
from tracker.cursor import seal, unseal
from tracker.index import Filter, Query

MAX_RANKED = 10_000
MAX_SCANNED = 50_000
"""The most matches that a search examines if a filter excludes most of them."""
MAX_WANTED = 64
MAX_MOMENTS = 600
LARGEST = 2**53 - 1

_capacity_decoder = msgspec.msgpack.Decoder(Capacity)
_LISTING = (
    "SELECT listings.id, shares.share, name, size, files, live, heard, signer, place, contents "
    "FROM listings JOIN shares ON shares.id = listings.share"
)
_Row = tuple[Any, ...]


def search(
    connection: sqlite3.Connection, text: str, filter: Filter, *, limit: int, cursor: str, now: float, tracker: str
) -> SearchAnswer:
    """Finds listings that have all the words: those with all in the name come first; each group is by place."""
    question = f"search {text!r} {filter!r}"
    at, order = unseal(question, cursor) if cursor else (0, 0.0)
    query = index.read_query(text)
    if query is None and text.strip():
        return SearchAnswer(())
    tiers = _tiers(query)
    found: list[tuple[int, int]] = []
    for tier in range(max(0, int(min(order, len(tiers)))), len(tiers)):
        if len(found) > limit:
            break
        found += [(tier, place) for place in _page(connection, tiers[tier], filter, at, limit + 1 - len(found))]
        at = 0
    try:
        total, partial = _count(connection, query, filter)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        total, partial = len(found), True
    more = len(found) > limit
    del found[limit:]
    rows = [row for _, place in found if (row := _at(connection, place)) is not None]
    # A share appears under its best name only.
    shown = {row[1]: _found(row, now, tracker, query) for row in reversed(rows)}
    return SearchAnswer(
        tuple(reversed(shown.values())),
        total,
        partial,
        seal(question, found[-1][1], float(found[-1][0])) if more else "",
    )


def _tiers(query: Query | None) -> list[str | None]:
    """FTS5 expressions, the one with the best matches first; None stands for all listings."""
    if query is None:
        return [None]
    of_names = query.expression("name")
    return [of_names, f"({query.expression()}) NOT ({of_names})"]


def _page(connection: sqlite3.Connection, expression: str | None, filter: Filter, after: int, limit: int) -> list[int]:
    condition, values = filter.condition("scanned.place")
    scanned, scanned_values = _scanned(expression, after, MAX_SCANNED if condition else limit)
    sql = f"SELECT place FROM ({scanned}) AS scanned {'WHERE ' + condition if condition else ''} LIMIT ?"
    return [place for (place,) in connection.execute(sql, (*scanned_values, *values, limit))]


def _count(connection: sqlite3.Connection, query: Query | None, filter: Filter) -> tuple[int, bool]:
    """How many listings match, and whether there may be more."""
    condition, values = filter.condition("scanned.place")
    if query is None and not condition:
        (total,) = connection.execute("SELECT listings FROM totals").fetchone()
        return total, False
    most = MAX_SCANNED if condition else MAX_RANKED + 1
    scanned, scanned_values = _scanned(query.expression() if query else None, 0, most)
    sql = f"SELECT count(*), coalesce(sum({condition or '1'}), 0) FROM ({scanned}) AS scanned"
    looked_at, total = connection.execute(sql, (*values, *scanned_values)).fetchone()
    return min(total, MAX_RANKED), looked_at >= most or total > MAX_RANKED


def _scanned(expression: str | None, after: int, most: int) -> tuple[str, tuple[object, ...]]:
    """Makes the SQL for the first places that match, in order, and its values."""
    if expression is None:
        return "SELECT place FROM listings WHERE place > ? ORDER BY place LIMIT ?", (after, most)
    sql = "SELECT rowid AS place FROM words WHERE words MATCH ? AND rowid > ? ORDER BY rowid LIMIT ?"
    return sql, (expression, after, most)


def _at(connection: sqlite3.Connection, place: int) -> _Row | None:
    row: _Row | None = connection.execute(f"{_LISTING} WHERE listings.id = ?", (index.listing_at(place),)).fetchone()
    return row


def _found(row: _Row, now: float, tracker: str, query: Query | None = None) -> Found:
    _, share, name, size, files, live, heard, signer, place, contents = row
    link = Link(ShareId(share), name, size, (), (tracker,) if tracker else ())
    return Found(
        share=to_text(share),
        name=name,
        size=size,
        files=files,
        kind=index.kind_at(place),
        sources=live,
        age_s=_age(now, heard),
        signer=to_text(signer),
        link=str(link),
        matched=index.matched(query, name, unpack_contents(contents)) if query is not None else None,
    )


def share(
    connection: sqlite3.Connection, share: ShareId, asker: str, now: float, tracker: str, rng: Random
) -> ShareView:
    """A listed share, under the name that most peers announce for it. Raises NotFound."""
    key = provider_key(share)
    row = connection.execute(f"{_LISTING} WHERE key = ? ORDER BY backers DESC, listings.id LIMIT 1", (key,)).fetchone()
    if row is None:
        raise NotFound(
            "No live peer lists this share here. Those who have its link can still fetch it from its sources."
        )
    told = sources(connection, key, asker, now, rng)
    return ShareView(_found(row, now, tracker), unpack_contents(row[9]), told.sources)


def sources(connection: sqlite3.Connection, key: bytes, asker: str, now: float, rng: Random) -> SourcesAnswer:
    """Who has the share with this key. If there are many, a run of them from a random start, as a sample."""
    row = connection.execute("SELECT id, live FROM shares WHERE key = ?", (key,)).fetchone()
    if row is None:
        return SourcesAnswer(())
    identifier, live = row
    start = 0
    if live > MAX_RESULTS:
        start = rng.randint(0, connection.execute("SELECT max(id) FROM peers").fetchone()[0] or 0)
    sql = (
        "SELECT peers.peer, whole, heard, dialable, host, port FROM sources JOIN peers ON peers.id = sources.peer "
        "WHERE share = ? AND sources.peer {} ? AND sources.generation = peers.generation AND expires > ? LIMIT ?"
    )
    rows = connection.execute(sql.format(">="), (identifier, start, now, MAX_RESULTS)).fetchall()
    if start:
        rows += connection.execute(sql.format("<"), (identifier, start, now, MAX_RESULTS - len(rows))).fetchall()
    rng.shuffle(rows)
    told = tuple(
        Source(to_text(peer), bool(whole), _age(now, heard), bool(dialable), _address(host, port, dialable, asker))
        for peer, whole, heard, dialable, host, port in rows
    )
    return SourcesAnswer(told, max(live, len(told)) if live > MAX_RESULTS else len(told))


def peer(
    connection: sqlite3.Connection, peer: PeerId, *, limit: int, cursor: str, now: float, tracker: str
) -> PeerView:
    """A live peer and the shares that it lists, newest first. Raises NotFound."""
    question = f"peer {to_text(peer)}"
    before = unseal(question, cursor)[0] if cursor else index.MAX_LISTINGS
    row = connection.execute(
        "SELECT id, generation, dialable, heard, first_heard, capacity FROM peers WHERE peer = ? AND expires > ?",
        (peer, now),
    ).fetchone()
    if row is None:
        raise NotFound("This peer has announced nothing here, or its announce has expired.")
    identifier, generation, dialable, heard, first_heard, capacity = row
    listed = "FROM sources INDEXED BY sources_by_peer JOIN listings ON listings.id = sources.listing"
    of_peer = "WHERE sources.peer = ? AND generation = ?"
    counted = f"SELECT count(*), coalesce(sum(min(size, {MAX_COUNTED_BYTES})), 0)"
    total, size = connection.execute(f"{counted} {listed} {of_peer}", (identifier, generation)).fetchone()
    ids = [
        one
        for (one,) in connection.execute(
            f"SELECT sources.listing {listed} {of_peer} AND sources.listing < ? ORDER BY sources.listing DESC LIMIT ?",
            (identifier, generation, before, limit + 1),
        )
    ]
    rows = [connection.execute(f"{_LISTING} WHERE listings.id = ?", (one,)).fetchone() for one in ids[:limit]]
    return PeerView(
        peer=to_text(peer),
        dialable=bool(dialable),
        age_s=_age(now, heard),
        known_s=_age(now, first_heard),
        shares=tuple(_found(row, now, tracker) for row in rows),
        total=total,
        bytes=min(size, LARGEST),
        capacity=_capacity_decoder.decode(capacity) if capacity else None,
        cursor=seal(question, ids[limit - 1]) if len(ids) > limit else "",
    )


def volunteers(
    connection: sqlite3.Connection,
    *,
    runtime: str | None,
    cores: int,
    memory: int,
    limit: int,
    cursor: str,
    asker: str,
    now: float,
) -> VolunteersAnswer:
    """Live peers that offer at least this much, those with the most idle cores first."""
    question = f"volunteers {runtime!r} {cores} {memory}"
    condition = "FROM peers INDEXED BY volunteers WHERE cores > 0 AND expires > ? AND cores >= ? AND memory >= ?"
    values: list[object] = [now, min(cores, LARGEST), min(memory, LARGEST)]
    if runtime is not None:
        condition += " AND instr(runtimes, ?) > 0"
        values.append("\t" + runtime.replace("\t", " ") + "\t")
    (total,) = connection.execute(f"SELECT count(*) {condition}", values).fetchone()
    if cursor:
        identifier, idle = unseal(question, cursor)
        condition += " AND (idle, id) < (?, ?)"
        values += [idle, identifier]
    rows = connection.execute(
        f"SELECT id, idle, peer, capacity, dialable, heard, host, port {condition} ORDER BY idle DESC, id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    return VolunteersAnswer(
        tuple(
            Volunteer(
                peer=to_text(peer),
                capacity=_capacity_decoder.decode(capacity),
                dialable=bool(dialable),
                age_s=_age(now, heard),
                address=_address(host, port, dialable, asker),
            )
            for _, _, peer, capacity, dialable, heard, host, port in rows[:limit]
        ),
        total,
        seal(question, rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else "",
    )


def wanted(connection: sqlite3.Connection, announcer: int, asker: str, now: float) -> tuple[Wanted, ...]:
    """Peers that can be dialled, and lack chunks of shares of which the announcer has every chunk."""
    rows = connection.execute(
        "SELECT shares.key, peers.peer, host, port FROM sources AS mine INDEXED BY sources_by_peer "
        "JOIN sources AS theirs INDEXED BY sources_that_seek "
        "ON theirs.share = mine.share AND theirs.whole = 0 AND theirs.peer <> mine.peer "
        "JOIN peers ON peers.id = theirs.peer JOIN shares ON shares.id = mine.share "
        "WHERE mine.peer = ? AND mine.whole = 1 AND peers.dialable = 1 AND expires > ? "
        "AND theirs.generation = peers.generation ORDER BY random() LIMIT ?",
        (announcer, now, MAX_WANTED),
    ).fetchall()
    return tuple(
        Wanted(key_text(key), to_text(peer), str(Address(host, port)))
        for key, peer, host, port in rows
        if may_tell(host, asker)
    )


def statistics(connection: sqlite3.Connection, now: float) -> Statistics:
    """The present figures of the network."""
    peers, dialable, volunteering, cores = connection.execute(
        "SELECT count(*), total(dialable), total(cores > 0), total(cores) FROM peers WHERE expires > ?", (now,)
    ).fetchone()
    listings, size = connection.execute("SELECT listings, bytes FROM totals").fetchone()
    return Statistics(
        Moment(now, peers, listings, min(size, LARGEST), int(cores)),
        volunteers=int(volunteering),
        dialable=int(dialable),
    )


def history(connection: sqlite3.Connection, since: float, until: float) -> tuple[Moment, ...]:
    """The figures recorded between two times, evenly thinned if there are many."""
    (count,) = connection.execute(
        "SELECT count(*) FROM moments WHERE time >= ? AND time <= ?", (since, until)
    ).fetchone()
    every = max(60, int((until - since) / MAX_MOMENTS) + 1) if count > MAX_MOMENTS else 1
    rows: Sequence[_Row] = connection.execute(
        "SELECT min(time), peers, shares, bytes, cores FROM moments WHERE time >= ? AND time <= ? "
        "GROUP BY time / ? ORDER BY time",
        (since, until, every),
    ).fetchall()
    return tuple(Moment(float(time), *rest) for time, *rest in rows)


def _age(now: float, then: float) -> int:
    return max(0, int(now - then))


def _address(host: str, port: int, dialable: int | None, asker: str) -> str | None:
    return str(Address(host, port)) if dialable and may_tell(host, asker) else None
