-- The folders that fetches have made in their output folders, for what. Other shares may go into one only if the user
-- says so.
CREATE TABLE made (
    folder TEXT NOT NULL,     -- the absolute output folder
    name TEXT NOT NULL,       -- empty: whatever name the share got, by an earlier version that did not record it
    maker BLOB NOT NULL,      -- the share; or the mutable link: its publisher, then its name
    done INTEGER NOT NULL,    -- 0: it was about to be made
    PRIMARY KEY (folder, name, maker)
) WITHOUT ROWID;
INSERT OR IGNORE INTO made SELECT folder, '', CAST(publisher || CAST(name AS BLOB) AS BLOB), 1 FROM version;
INSERT OR IGNORE INTO made SELECT folder, '', share, 1 FROM fetch WHERE names IS NOT NULL AND durable != x'';
-- Of a path, what is before its last slash, and what is after it.
INSERT OR IGNORE INTO made
SELECT
    coalesce(nullif(rtrim(rtrim(path, replace(path, '/', '')), '/'), ''), '/'),
    substr(path, length(rtrim(path, replace(path, '/', ''))) + 1),
    id,
    1
FROM (SELECT id, json_extract(paths, '$[0]') AS path FROM share WHERE fetched AND json_valid(paths));
