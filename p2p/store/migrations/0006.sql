-- When each file's inode last changed, which no program can set: one unsigned 64-bit integer an entry, beside the
-- stamps; empty for what was recorded before, of which this is not known.
ALTER TABLE share ADD COLUMN ctimes BLOB NOT NULL DEFAULT x'';
ALTER TABLE version ADD COLUMN ctimes BLOB NOT NULL DEFAULT x'';
