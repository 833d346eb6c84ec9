-- What units of this peer's jobs printed, in the order in which it came.
CREATE TABLE job_log (
    number INTEGER PRIMARY KEY,
    job BLOB NOT NULL,
    action INTEGER NOT NULL,
    stage INTEGER NOT NULL,     -- -1: while the job was planned
    partition INTEGER NOT NULL,
    peer BLOB NOT NULL,         -- who ran it
    failure TEXT NOT NULL,      -- why it gave no result; empty where it did
    text BLOB NOT NULL
);
CREATE INDEX job_log_by_job ON job_log (job, action, stage, partition);
