-- A depth may be decoded in several bursts, and a rate may be fitted from bursts shorter than the output of its cell.
-- What older stores hold was decoded once and to its end.
CREATE TABLE timing_with_burst (
    id       INTEGER PRIMARY KEY,
    trial    INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    cell     INTEGER NOT NULL CHECK (cell >= 0),
    sequence INTEGER NOT NULL,
    burst    INTEGER NOT NULL DEFAULT 0 CHECK (burst >= 0),
    start_ns INTEGER NOT NULL,
    ttft_ns  INTEGER NOT NULL,
    token_ns BLOB NOT NULL CHECK (length(token_ns) % 8 = 0),
    UNIQUE (trial, cell, sequence, burst)
) STRICT;
INSERT INTO timing_with_burst (id, trial, cell, sequence, start_ns, ttft_ns, token_ns)
    SELECT id, trial, cell, sequence, start_ns, ttft_ns, token_ns FROM timing;
DROP TABLE timing;
ALTER TABLE timing_with_burst RENAME TO timing;

ALTER TABLE sample ADD COLUMN fitted INTEGER NOT NULL DEFAULT 0 CHECK (fitted IN (0, 1));
