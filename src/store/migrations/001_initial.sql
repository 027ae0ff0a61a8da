-- What a run is, in columns that a listing needs; its documents stand apart so that a listing never touches them.
CREATE TABLE run (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    identity     TEXT NOT NULL,
    created_utc  TEXT NOT NULL,
    model_name   TEXT NOT NULL,
    engine_name  TEXT NOT NULL,
    profile_name TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'finished', 'abandoned')),
    trials       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX run_by_identity ON run (identity);

CREATE TABLE run_document (
    run         INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
    request     TEXT NOT NULL,
    engine      TEXT NOT NULL,
    description TEXT NOT NULL,
    environment TEXT NOT NULL,
    space       TEXT NOT NULL,
    note        TEXT NOT NULL
) STRICT;

CREATE TABLE trial (
    id              INTEGER PRIMARY KEY,
    run             INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    phase           TEXT NOT NULL CHECK (phase IN ('search', 'confirm')),
    config          INTEGER NOT NULL CHECK (config >= 0),
    block           INTEGER NOT NULL,
    chunk           INTEGER NOT NULL,
    launch          INTEGER NOT NULL,
    fresh_process   INTEGER NOT NULL CHECK (fresh_process IN (0, 1)),
    status          TEXT NOT NULL,
    detail          TEXT NOT NULL,
    peak_bytes      INTEGER NOT NULL,
    peak_source     TEXT NOT NULL,
    model_bytes     INTEGER NOT NULL,
    kv_bytes        INTEGER NOT NULL,
    compute_bytes   INTEGER NOT NULL,
    load_ns         INTEGER NOT NULL,
    prepare_ns      INTEGER NOT NULL,
    warmup_ns       INTEGER NOT NULL,
    run_ns          INTEGER NOT NULL,
    worker_start_ns INTEGER NOT NULL,
    worker_end_ns   INTEGER NOT NULL,
    elapsed_ns      INTEGER NOT NULL,
    cost_ns         INTEGER NOT NULL,
    effective       TEXT NOT NULL,
    loaded          TEXT NOT NULL,
    loaded_ns       INTEGER NOT NULL,
    activity        TEXT NOT NULL
) STRICT;
CREATE INDEX trial_by_run ON trial (run);

-- The count is kept, not computed: a listing of 100,000 trials reads one row a run.
CREATE TRIGGER trial_counted AFTER INSERT ON trial BEGIN
    UPDATE run SET trials = trials + 1 WHERE id = new.run;
END;

CREATE TABLE sample (
    trial            INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    cell             INTEGER NOT NULL CHECK (cell >= 0),
    ttft_ns          INTEGER NOT NULL,
    ttft_worst_ns    INTEGER NOT NULL,
    decode_tok_per_s REAL NOT NULL,
    itl_p50_ns       REAL NOT NULL,
    itl_p95_ns       REAL NOT NULL,
    itl_p99_ns       REAL NOT NULL,
    PRIMARY KEY (trial, cell)
) STRICT, WITHOUT ROWID;

-- token_ns: one little-endian 64-bit clock reading of the worker a token.
CREATE TABLE timing (
    id       INTEGER PRIMARY KEY,
    trial    INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    cell     INTEGER NOT NULL CHECK (cell >= 0),
    sequence INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    ttft_ns  INTEGER NOT NULL,
    token_ns BLOB NOT NULL CHECK (length(token_ns) % 8 = 0),
    UNIQUE (trial, cell, sequence)
) STRICT;
