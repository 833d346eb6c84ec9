"""The library: the files that this peer shares in place, and the manifests that it knows.

Files are never copied. For each file, the library stores the stamp (inode, size, mtime, ctime) from when it was hashed.
A file whose stamp has changed since is not served, and its share is marked stale. If its size and its modification time
are the same, as when a file is renamed, gets other permissions or comes back with its disk, it is hashed before that is
decided.
"""

import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from p2p.core.shares import bitmap, local_names
from p2p.core.shares import manifest as manifests
from p2p.core.shares.layout import Layout
from p2p.core.shares.layouts import Layouts, weight
from p2p.core.shares.local_names import Renames
from p2p.core.shares.manifest import Manifest, ManifestRoot, ShareLimits
from p2p.errors import NotFound, StorageError
from p2p.ids import ShareId
from p2p.store import content, posix
from p2p.store.database import Database
from p2p.store.local_paths import pack_names, unpack_names
from p2p.store.stamps import NOT_HELD, Stamp, Stamps, pack_ctimes, pack_stamps
from p2p.wire import messages


class SharedRow(msgspec.Struct, frozen=True):
    """A share as listings show it. Sizes are in bytes, times in seconds since 1970."""

    id: bytes
    name: str
    size: int
    files: int
    paths: tuple[str, ...]
    unlisted: bool
    fetched: bool
    created: float
    stale: str | None
    lasts: bool
    """Whether it is still shared when this peer has ended."""


RENEWAL_INTERVAL_S = 5.0
"""How often renewed stamps are saved at most: thousands of files may get other permissions at once."""
MAX_ENDED = 100
"""The most shares that have ended whose hashes are kept: the last ones."""

_ROWS = "share INDEXED BY share_rows"
"""Shares without their stamps, which are megabytes for a large share and lie before some of these columns."""
_LISTED = "id, name, size, files, paths, unlisted, fetched, created, stale, lasts"


class Library:
    """The shares of one home. Blocking; see `Database` for errors."""

    def __init__(self, database: Database, limits: ShareLimits) -> None:
        self._database = database
        self.limits = limits
        self.layouts = Layouts()
        self._restricted = {ShareId(bytes(share)) for (share,) in database.rows("SELECT share FROM restricted")}

    # Manifests.

    def root(self, share: ShareId) -> bytes | None:
        """The share's encoded manifest root, or None if this peer lacks it."""
        row = self._database.row("SELECT root FROM manifest WHERE share = ?", [share])
        return None if row is None else bytes(row[0])

    def tells_of(self, share: ShareId) -> bool:
        """Whether others may have the share's manifest: not if it has ended."""
        return self._database.row(f"SELECT 1 FROM {_ROWS} WHERE id = ? AND lasts < 0", [share]) is None

    def part(self, share: ShareId, number: int) -> bytes | None:
        """A manifest part of the share, or None if this peer lacks it."""
        row = self._database.row("SELECT body FROM part WHERE share = ? AND number = ?", [share, number])
        return None if row is None else bytes(row[0])

    def parts_held(self, share: ShareId) -> set[int]:
        """The numbers of the share's manifest parts that this peer has."""
        return {number for (number,) in self._database.rows("SELECT number FROM part WHERE share = ?", [share])}

    def keep_root(self, share: ShareId, body: bytes) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO manifest VALUES (?, ?)", [share, body])

    def keep_parts(self, share: ShareId, parts: dict[int, bytes]) -> None:
        """Stores checked manifest parts by their numbers."""
        with self._database.transaction() as connection:
            rows = [(share, number, body) for number, body in parts.items()]
            connection.executemany("INSERT OR IGNORE INTO part VALUES (?, ?, ?)", rows)

    def manifest(self, share: ShareId) -> Manifest:
        """The whole manifest, checked again. Raises BadData; NotFound if parts are missing."""
        known = self.layouts.get(share)
        if known is not None:
            return known.manifest
        root = self._decoded_root(share)
        return manifests.decode(share, root, self._parts(share, root), _let_others_run)

    def layout(self, share: ShareId) -> Layout:
        """The layout of the share's manifest, which stays in memory for a while. Raises as `manifest` does."""
        known = self.layouts.get(share)
        return known or self.layouts.keep(Layout(self.manifest(share)))

    def weight(self, share: ShareId) -> int:
        """How many bytes of memory the share takes while it is served. Raises NotFound, BadData."""
        if self.share(share) is None:
            raise NotFound("this peer does not share that")
        return weight(self._decoded_root(share))

    def _decoded_root(self, share: ShareId) -> ManifestRoot:
        body = self.root(share)
        if body is None:
            raise NotFound("this peer does not have the share's manifest")
        return manifests.decode_root(share, body, self.limits)

    def _parts(self, share: ShareId, root: ManifestRoot) -> Iterator[bytes]:
        for number in range(root.part_count):
            body = self.part(share, number)
            if body is None:
                raise NotFound("this peer does not have the share's whole manifest")
            yield body

    # Shares.

    def add(
        self,
        share: ShareId,
        root_body: bytes,
        parts: Sequence[bytes],
        paths: Sequence[Path],
        stamps: Sequence[Stamp],
        *,
        unlisted: bool,
        fetched: bool,
        exclude: Sequence[str] = (),
        names: Renames | None = None,
        lasts: bool = True,
    ) -> None:
        """Adds a share to the library, where it replaces an older share of the same paths.

        `names` are those that differ on the disk from those in the share. Unless it `lasts`, `end_passing` ends it.
        """
        root = manifests.decode_root(share, root_body, self.limits)
        places = json.dumps([str(path) for path in paths])
        with self._database.transaction() as connection:
            lasted = connection.execute("SELECT 1 FROM share WHERE id = ? AND lasts > 0", [share]).fetchone()
            connection.execute("DELETE FROM share WHERE id = ? OR (paths = ? AND NOT fetched)", [share, places])
            connection.execute("INSERT OR IGNORE INTO manifest VALUES (?, ?)", [share, root_body])
            if parts:
                connection.executemany(
                    "INSERT OR IGNORE INTO part VALUES (?, ?, ?)",
                    [(share, number, body) for number, body in enumerate(parts)],
                )
            connection.execute(
                "INSERT INTO share (id, name, size, files, paths, stamps, ctimes, unlisted, fetched, created, exclude, "
                "names, lasts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    share,
                    root.name,
                    root.size,
                    root.files,
                    places,
                    pack_stamps(stamps),
                    pack_ctimes(stamps),
                    unlisted,
                    fetched,
                    time.time(),
                    json.dumps(list(exclude)),
                    pack_names(names or {}),
                    lasts or lasted is not None,
                ],
            )
            _drop_orphans(connection)

    def restrict(self, share: ShareId) -> None:
        """Lets only some peers read the share. To be called before it is added, or fetched."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO restricted VALUES (?)", [share])
        self._restricted.add(share)

    def lift(self, share: ShareId) -> None:
        """Lets all peers read the share again. For one that did not come."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM restricted WHERE share = ?", [share])
        self._restricted.discard(share)

    def is_restricted(self, share: ShareId) -> bool:
        """Whether only some peers may read the share: `sharing.readers` says which. Does not block."""
        return share in self._restricted

    def shares(self) -> list[SharedRow]:
        """All shares, the newest first."""
        return [
            _row(row)
            for row in self._database.rows(f"SELECT {_LISTED} FROM {_ROWS} WHERE lasts >= 0 ORDER BY created DESC, id")
        ]

    def listed(self, start: int, most: int) -> list[messages.Listing]:
        """The shares that others may list, the newest first: at most this many, from the place `start`."""
        sql = (
            f"SELECT id, name, size, files FROM {_ROWS} WHERE lasts >= 0 AND NOT unlisted "
            "AND id NOT IN (SELECT share FROM restricted) ORDER BY created DESC, id LIMIT ? OFFSET ?"
        )
        return [messages.Listing(bytes(share), *rest) for share, *rest in self._database.rows(sql, [most, start])]

    def share(self, share: ShareId) -> SharedRow | None:
        row = self._database.row(f"SELECT {_LISTED} FROM {_ROWS} WHERE id = ? AND lasts >= 0", [share])
        return None if row is None else _row(row)

    def end_passing(self) -> None:
        """Ends the shares that were to last only as long as the peer that made them. Called when a peer starts."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE share SET lasts = -1 WHERE lasts = 0")
            connection.execute(
                "DELETE FROM share WHERE lasts < 0 AND id NOT IN "
                "(SELECT id FROM share WHERE lasts < 0 ORDER BY created DESC LIMIT ?)",
                [MAX_ENDED],
            )
            _drop_orphans(connection)

    def find_by_paths(self, paths: Sequence[Path]) -> ShareId | None:
        """The share made of exactly these paths, or None; it may have ended.

        Its unchanged files need not be hashed again.
        """
        places = json.dumps([str(path) for path in paths])
        row = self._database.row("SELECT id FROM share WHERE paths = ? AND NOT fetched", [places])
        return None if row is None else ShareId(bytes(row[0]))

    def exclude(self, share: ShareId) -> tuple[str, ...]:
        """The patterns that the share was made without; none if this peer does not share it."""
        row = self._database.row("SELECT exclude FROM share WHERE id = ?", [share])
        return () if row is None else tuple(json.loads(row[0]))

    def names(self, share: ShareId) -> Renames:
        """The names of a share's files that differ on the disk from those in the share."""
        row = self._database.row("SELECT names FROM share WHERE id = ?", [share])
        return {} if row is None else unpack_names(bytes(row[0]))

    def stamps(self, share: ShareId) -> Stamps:
        """The stamps of a share's entries, in manifest order. Raises NotFound."""
        row = self._database.row("SELECT stamps, ctimes FROM share WHERE id = ?", [share])
        if row is None:
            raise NotFound("this peer does not share that")
        return Stamps.unpack(*map(bytes, row))

    def renew_stamps(self, share: ShareId, stamps: Sequence[Stamp]) -> None:
        """Replaces the stamps of files that were found to be the same."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE share SET stamps = ?, ctimes = ? WHERE id = ?",
                [pack_stamps(stamps), pack_ctimes(stamps), share],
            )

    def remove(self, share: ShareId) -> None:
        """Removes the share from the library; its files stay. Raises NotFound."""
        with self._database.transaction() as connection:
            if not connection.execute("DELETE FROM share WHERE id = ?", [share]).rowcount:
                raise NotFound("This peer does not share that. `shoal shares` lists what it does.")
            _drop_orphans(connection)

    def mark_stale(self, share: ShareId, why: str) -> None:
        # SQLite would refuse a path that is not UTF-8 as text.
        why = why.encode("utf-8", "backslashreplace").decode()
        with self._database.transaction() as connection:
            connection.execute("UPDATE share SET stale = ? WHERE id = ?", [why, share])

    def mark_current(self, share: ShareId) -> None:
        """The opposite of `mark_stale`."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE share SET stale = NULL WHERE id = ?", [share])


def _let_others_run() -> None:
    """Lets another thread have Python's lock, without which the event loop would wait for it at every call."""
    time.sleep(0)


def _drop_orphans(connection: sqlite3.Connection) -> None:
    """Forgets the manifests that no share, fetch or fetched version needs."""
    used = "SELECT id FROM share UNION SELECT share FROM fetch UNION SELECT share FROM version"
    connection.execute(f"DELETE FROM part WHERE share NOT IN ({used})")
    connection.execute(f"DELETE FROM manifest WHERE share NOT IN ({used})")


class SharedFiles:
    """A share in the library, as it is served: its layout, and its files, which are opened in place."""

    def __init__(self, library: Library, share: ShareId) -> None:
        row = library.share(share)
        if row is None:
            raise NotFound("this peer does not share that")
        self.layout = library.layout(share)
        self._library = library
        self._paths = row.paths
        self._stamps = library.stamps(share)
        self._saved_at = -math.inf
        self._names = library.names(share)
        self.held = self.layout.everything & ~self.layout.chunks_of(self._stamps.not_held())
        """The chunks that can be served, as a bitmap."""

    @property
    def whole(self) -> bool:
        """Whether all chunks can be served."""
        return self.held == self.layout.everything

    def stamp(self, entry: int) -> Stamp:
        """The stamp that the entry's file must have."""
        return self._stamps[entry]

    @contextmanager
    def reading(self, entry: int) -> Iterator[tuple[int, Stamp | None]]:
        """Opens the entry's file for the body. Gives its descriptor, and the stamp it must have. Raises OSError."""
        # There may be thousands of small files: this makes no Path, and is the only context manager.
        place = _entry_place(self._paths, self.layout, entry, self._names)
        descriptor = os.open(place, os.O_RDONLY | posix.SAFELY)
        try:
            yield descriptor, self._stamps[entry]
        finally:
            os.close(descriptor)

    def changed(self, entry: int, seen: Stamp | None = None, check: Callable[[], None] = content.never) -> int:
        """Looks at an entry whose file does not have the stamp `seen`. Returns the chunks that are no longer held.

        If the file was only touched and has the same content, its stamp is renewed, and nothing is lost.
        """
        if seen is not None and seen != self._stamps[entry]:
            return 0  # another exchange has had it renewed
        stamp = self._stamp_if_same(entry, check)
        if stamp is None:
            return self.spoiled(entry, "changed or is gone; share it again")
        self._stamps[entry] = stamp
        if time.monotonic() - self._saved_at >= RENEWAL_INTERVAL_S:
            self._library.renew_stamps(self.layout.manifest.share_id, self._stamps)
            self._saved_at = time.monotonic()
        return 0

    def spoiled(self, entry: int, why: str, *, for_good: bool = False) -> int:
        """Stops serving an entry, and marks the share as stale. Returns the entry's chunks.

        If `for_good`, the entry is not served again before it has been hashed, whatever its stamp.
        """
        if for_good:
            self._stamps[entry] = NOT_HELD
            self._library.renew_stamps(self.layout.manifest.share_id, self._stamps)
        chunks = bitmap.span(*self.layout.range_of(entry))
        self.held &= ~chunks
        self._library.mark_stale(self.layout.manifest.share_id, f"{self.path(entry)} {why}")
        return chunks

    def _stamp_if_same(self, entry: int, check: Callable[[], None]) -> Stamp | None:
        """The new stamp of a file that has the same content, if its stamp is a reason to look; otherwise None."""
        try:
            with self.reading(entry) as (descriptor, stamp):
                found = Stamp.of(os.fstat(descriptor))
                same = stamp is not None and found.may_be(stamp)
                if same and content.is_same(descriptor, self.layout, entry, check) and found.fits(os.fstat(descriptor)):
                    return found
        except OSError:
            pass
        return None

    def are_unchanged(self, check: Callable[[], None], different: set[tuple[int, Stamp]]) -> bool:
        """Whether all files are as they were when they were hashed. One that was only touched gets its new stamp.

        `different` are the entries and stamps of files that have been hashed and are others; more are added.
        """
        touched: list[tuple[int, Stamp]] = []
        for entry, stamp in enumerate(self._stamps):
            check()
            if stamp == NOT_HELD:
                continue
            try:
                status = os.lstat(self.path(entry))
            except OSError:
                return False
            if not stamp.fits(status):
                found = Stamp.of(status)
                if not found.may_be(stamp) or (entry, found) in different:
                    return False
                touched.append((entry, found))
        for entry, found in touched:
            same = self._stamp_if_same(entry, check)
            if same is None:
                different.add((entry, found))
                return False
            self._stamps[entry] = same
        if touched:
            self._library.renew_stamps(self.layout.manifest.share_id, self._stamps)
        return True

    def path(self, entry: int) -> Path:
        """The path of an entry on this machine."""
        return entry_path(self._paths, self.layout, entry, self._names)


def entry_path(paths: Sequence[str], layout: Layout, entry: int, changes: Renames | None = None) -> Path:
    """The path of a share's entry on this machine, where `changes` are the names that differ."""
    return Path(_entry_place(paths, layout, entry, changes))


def _entry_place(paths: Sequence[str], layout: Layout, entry: int, changes: Renames | None) -> str:
    """The path of a share's entry on this machine, as a string."""
    root = layout.manifest.root
    parts = layout.manifest.entries[entry].path
    if changes and not root.single:
        parts = local_names.renamed((root.name, *parts), changes)[1:]
    if root.single:
        return paths[0]
    if len(paths) == 1:
        return "/".join((paths[0], *parts))
    for path in paths:
        if Path(path).name == parts[0]:
            return "/".join((path, *parts[1:]))
    raise StorageError(f"The share has no path for {parts!r}.")


def _row(row: tuple[Any, ...]) -> SharedRow:
    share, name, size, files, paths, unlisted, fetched, created, stale, lasts = row
    paths = tuple(json.loads(paths))
    return SharedRow(bytes(share), name, size, files, paths, bool(unlisted), bool(fetched), created, stale, bool(lasts))
