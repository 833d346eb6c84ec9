-- Manifests of what is shared or being fetched. Parts arrive one by one.
CREATE TABLE manifest (
    share BLOB PRIMARY KEY,
    root BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE part (
    share BLOB NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (share, number)
);
-- What this peer serves, in place.
CREATE TABLE share (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    files INTEGER NOT NULL,
    paths TEXT NOT NULL,      -- JSON list of the absolute paths that were shared, or the one that was fetched
    stamps BLOB NOT NULL,     -- three unsigned 64-bit integers an entry: inode, size, mtime_ns; zeros where not held
    unlisted INTEGER NOT NULL,
    fetched INTEGER NOT NULL,
    created REAL NOT NULL,    -- seconds since 1970
    stale TEXT                -- what changed, once something did
) WITHOUT ROWID;
-- Fetches that have begun. Which chunks are written is in a bitmap file of its own, named by the id.
CREATE TABLE fetch (
    id INTEGER PRIMARY KEY,
    share BLOB NOT NULL,
    folder TEXT NOT NULL,     -- the absolute output folder
    boot TEXT NOT NULL,       -- the boot of the machine in which the bitmap file may be believed
    durable BLOB NOT NULL,    -- the bitmap of chunks known to have reached the disk
    sources TEXT NOT NULL,    -- JSON list of peer hints, as in links
    UNIQUE (share, folder)
);
