-- Jobs that this peer owns. What a running one has done is in job_unit and job_action.
CREATE TABLE job (
    id BLOB PRIMARY KEY,
    description BLOB NOT NULL,  -- JSON, of the owner's own making: bundle, inputs, runtime, limits, how it was asked for
    state TEXT NOT NULL,        -- running, done, failed, cancelled
    ending BLOB NOT NULL,       -- JSON: its result, or why it failed
    created REAL NOT NULL,      -- seconds since 1970
    bytes INTEGER NOT NULL      -- of what is kept of its units and actions
) WITHOUT ROWID;
-- Results of units that were accepted, of the action that runs now: no unit of an earlier one runs again.
CREATE TABLE job_unit (
    job BLOB NOT NULL,
    action INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    unit BLOB NOT NULL,         -- its id: a hash of all that it was made of
    digest BLOB NOT NULL,
    holder BLOB,                -- the peer that has the outputs; NULL: this one
    sizes BLOB NOT NULL,        -- msgpack list: bytes of each output
    outputs BLOB,               -- the outputs, one after the other; NULL: the holder has them, or a file here
    PRIMARY KEY (job, action, stage, partition)
);
CREATE TABLE job_action (
    job BLOB NOT NULL,
    action INTEGER NOT NULL,
    digest BLOB NOT NULL,
    result BLOB NOT NULL,
    PRIMARY KEY (job, action)
);
