-- Words may have signs in them, as in C++ and R&B.
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (
    name, contents, detail = column, columnsize = 0, tokenize = "ascii tokenchars '&+#'", prefix = '2 3'
);

-- How the names in `words` were cut into words: `p2p.wire.keywords.VERSION`, or 0 while the table is empty.
CREATE TABLE indexed (version INTEGER NOT NULL) STRICT;
INSERT INTO indexed VALUES (0);
