-- What listings show of a share, and whether it may be told of, without a look at its stamps: these are megabytes.
CREATE INDEX share_rows ON share (id, lasts, created, name, size, files, paths, unlisted, fetched, stale);
