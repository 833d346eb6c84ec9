"""Lists a folder of a share, from its manifest."""

from p2p import ids
from p2p.core.shares import folders
from p2p.core.shares.folders import Path
from p2p.core.shares.manifest import Entry, Manifest, TimedEntry
from p2p.sharing.listing import Listing, Row

MAX_LISTED = 5000
"""The most entries of one answer."""


def listing(manifest: Manifest, path: Path, after: str) -> Listing:
    """Lists a folder that the share has, from the first name after `after` on. To be called in a thread."""
    rows: list[Row] = []
    more = False
    for child in folders.children(manifest.entries, path, after):
        more = len(rows) == MAX_LISTED
        if more:
            break
        rows.append(Row(child.name, "folder") if child.file is None else row(child.file))
    last = rows[-1].name if more else None
    return Listing(ids.to_text(manifest.share_id), manifest.root.name, "/".join(path), tuple(rows), last)


def row(file: Entry) -> Row:
    """The row of a file."""
    modified = file.modified_ns / 1e9 if isinstance(file, TimedEntry) else None
    return Row(file.path[-1], "file", file.size, modified, ids.to_text(file.file_id))
