-- Fetches as their user sees them: begun, paused, failed, done. Which chunks each has is in fetch.
CREATE TABLE kept_fetch (
    id BLOB PRIMARY KEY,
    request BLOB NOT NULL,      -- JSON, as the user asked
    state TEXT NOT NULL,        -- waiting, running, paused, failed, done
    of_node INTEGER NOT NULL,   -- 0: begun by a command that ran a peer of its own
    background INTEGER NOT NULL, -- 0: it is paused when the command that waits for it goes away
    created REAL NOT NULL,      -- seconds since 1970
    share BLOB,                 -- NULL: the share that a mutable link leads to is not known yet
    name TEXT NOT NULL,         -- of the share, as far as known
    size INTEGER NOT NULL,      -- bytes
    done INTEGER NOT NULL,      -- bytes, when it was last looked at
    outcome BLOB                -- JSON: the answer, or why it failed
) WITHOUT ROWID;
-- Jobs that the node goes on with when it starts, if they are not over.
CREATE TABLE job_background (
    job BLOB PRIMARY KEY,
    since REAL NOT NULL         -- seconds since 1970
) WITHOUT ROWID;
