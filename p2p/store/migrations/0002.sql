-- The work of this peer's node id in a network, done once.
CREATE TABLE nonce (
    network TEXT NOT NULL,
    bits INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    PRIMARY KEY (network, bits)
) WITHOUT ROWID;
-- Nodes of the DHT that answered last: ways in after a restart.
CREATE TABLE contact (
    network TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    PRIMARY KEY (network, host, port)
) WITHOUT ROWID;
-- What was published when: a restart publishes nothing twice.
CREATE TABLE publication (
    key BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL,
    content BLOB NOT NULL,    -- a hash of what it said
    published REAL NOT NULL   -- seconds since 1970
) WITHOUT ROWID;
-- The newest pointers seen, this peer's own among them.
CREATE TABLE pointer (
    publisher BLOB NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    share BLOB NOT NULL,
    record BLOB NOT NULL,     -- as it was signed, to be told to others
    seen REAL NOT NULL,       -- seconds since 1970
    PRIMARY KEY (publisher, name)
) WITHOUT ROWID;
-- The version of a pointer that was fetched last into a folder: its files are this peer's to replace.
CREATE TABLE version (
    publisher BLOB NOT NULL,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    share BLOB NOT NULL,
    stamps BLOB NOT NULL,     -- as in share
    PRIMARY KEY (publisher, name, folder)
) WITHOUT ROWID;
