-- The records that a unit of a job has skipped: how many, and reports of the first, as JSON. Unlike the unit's outputs,
-- they are kept when the action is finished.
CREATE TABLE job_skip (
    job BLOB NOT NULL,
    action INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    count INTEGER NOT NULL,
    reports BLOB NOT NULL,
    PRIMARY KEY (job, action, stage, partition)
) WITHOUT ROWID;
