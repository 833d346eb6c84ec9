-- The patterns that a share was made without: it is shared again without them.
ALTER TABLE share ADD COLUMN exclude TEXT NOT NULL DEFAULT '[]';  -- JSON list, in the syntax of .gitignore
