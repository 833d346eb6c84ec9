-- Shares that only some peers may read, such as environments of clusters. One stays so for good, whatever else has the
-- same id.
CREATE TABLE restricted (
    share BLOB PRIMARY KEY
) WITHOUT ROWID;
