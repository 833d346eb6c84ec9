-- Who announced. What it announced before its present generation no longer counts and is swept away in pieces.
CREATE TABLE peers (
    id INTEGER PRIMARY KEY,
    peer BLOB NOT NULL UNIQUE,
    first_heard REAL NOT NULL,
    heard REAL NOT NULL,
    expires REAL NOT NULL,
    sequence INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    sweep_at REAL NOT NULL DEFAULT 0,
    subject TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    dialable INTEGER,
    shares INTEGER NOT NULL DEFAULT 0, -- of the present generation
    rows INTEGER NOT NULL DEFAULT 0,   -- of all generations
    text INTEGER NOT NULL DEFAULT 0,
    cores INTEGER NOT NULL DEFAULT 0,
    memory INTEGER NOT NULL DEFAULT 0,
    idle REAL NOT NULL DEFAULT 0,
    runtimes TEXT NOT NULL DEFAULT '',
    capacity BLOB
) STRICT;
CREATE INDEX peers_by_expiry ON peers (expires);
CREATE INDEX peers_by_subject ON peers (subject, expires);
CREATE INDEX peers_to_sweep ON peers (sweep_at) WHERE rows > shares;
CREATE INDEX volunteers ON peers (idle DESC, id DESC) WHERE cores > 0;

-- What is announced, by provider key; the id is known of listed shares only.
CREATE TABLE shares (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    share BLOB,
    live INTEGER NOT NULL
) STRICT;

-- A share under one name: there may be several, by different announcers.
CREATE TABLE listings (
    id INTEGER PRIMARY KEY,
    share INTEGER NOT NULL,
    digest BLOB NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    files INTEGER NOT NULL,
    contents BLOB,
    text INTEGER NOT NULL,
    heard REAL NOT NULL,
    signer BLOB NOT NULL,
    backers INTEGER NOT NULL
) STRICT;
CREATE INDEX listings_by_share ON listings (share);
CREATE INDEX listings_by_place ON listings (place);

CREATE TABLE sources (
    share INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    listing INTEGER,
    PRIMARY KEY (share, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_by_peer ON sources (peer, share);
CREATE INDEX sources_that_seek ON sources (share, peer) WHERE whole = 0;

-- The words of listings; the rowid is the listing's place.
CREATE VIRTUAL TABLE words USING fts5 (
    name, contents, detail = column, columnsize = 0, tokenize = 'ascii', prefix = '2 3'
);

CREATE TABLE moments (
    time INTEGER PRIMARY KEY,
    peers INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    cores INTEGER NOT NULL
) STRICT;

CREATE TABLE totals (listings INTEGER NOT NULL, bytes INTEGER NOT NULL, text INTEGER NOT NULL, rows INTEGER NOT NULL) STRICT;
INSERT INTO totals VALUES (0, 0, 0, 0);
