-- The names under which files are on the disk, where it does not hold those of the share: a msgpack list of pairs, each
-- of a path in the share and the last name that it has here. Empty where all names are those of the share.
ALTER TABLE fetch ADD COLUMN names BLOB;  -- NULL: the disk has not been asked yet
ALTER TABLE share ADD COLUMN names BLOB NOT NULL DEFAULT x'';
ALTER TABLE version ADD COLUMN names BLOB NOT NULL DEFAULT x'';
