-- Whether a share outlives the peer that made it: 1, it does; 0, it ends with that peer; -1, it has ended, and is kept
-- only so that its files need not be hashed again.
ALTER TABLE share ADD COLUMN lasts INTEGER NOT NULL DEFAULT 1;
