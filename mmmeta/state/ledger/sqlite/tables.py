"""The ledger's tables: ``jobs``, ``ledger``, ``attempts``, what they know of places, and the counts that triggers keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mmmeta.state.ledger.rules import SUSPECTS

INCOMPLETE = "copying"
"""Entry of ``info``, while the ledger is only a part of another one that is being copied here: where from."""

_JOBS = """
CREATE TABLE jobs (
    job TEXT PRIMARY KEY NOT NULL,
    selection TEXT NOT NULL,            -- canonical JSON of the condition
    rules TEXT NOT NULL,                -- canonical JSON of rerun_on, attempts, ...
    selection_fingerprint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,          -- of selection, rules and action
    evaluated INTEGER NOT NULL,         -- state revision up to which the selection was evaluated
    evaluated_at TEXT NOT NULL,         -- moment of an evaluation: what time has brought in since then is looked for
    run_id TEXT,                        -- of the last run
    heartbeat TEXT                      -- when a run of this job last said that it lives
)"""

_LEDGER = """
CREATE TABLE ledger (
    job TEXT NOT NULL,
    file TEXT NOT NULL,
    status TEXT NOT NULL,               -- pending, claimed, done, failed, dead, skipped
    priority,                           -- value of the key that the job orders by
    attempts INTEGER NOT NULL DEFAULT 0,
    wanted TEXT NOT NULL,               -- what rerun_on compares, of the version that counts now
    tried TEXT,                         -- the same, of the version last claimed
    basis TEXT,                         -- the same, of the version last done
    content TEXT,                       -- value of the content key, of the version that counts
    rev INTEGER,                        -- revision of the metadata db that brought this version
    deleted INTEGER NOT NULL DEFAULT 0, -- whether the file is marked deleted
    meant INTEGER NOT NULL DEFAULT 1,   -- whether the selection means the version that counts
    once TEXT,                          -- what once_per compares, of the version that counts; NULL: a document of its own
    once_tried TEXT,                    -- the same, of the version last claimed
    once_basis TEXT,                    -- the same, of the version last done
    token INTEGER NOT NULL DEFAULT 0,   -- fencing token of the last claim or reset
    asked INTEGER NOT NULL DEFAULT 0,   -- token when a person last asked for it anew; receipts up to it do not count
    lease_until REAL,                   -- seconds of the boot-time clock
    boot TEXT,                          -- boot that lease_until counts in
    worker TEXT,
    run_id TEXT,
    error_type TEXT,
    error_message TEXT,
    error_lines TEXT,
    bytes INTEGER,
    selected_at TEXT,
    claimed_at TEXT,
    settled_at TEXT,
    due REAL,                           -- failed: seconds since 1970 from when it may be tried again
    retract INTEGER NOT NULL DEFAULT 0, -- the file was deleted: what is due is to undo it
    target INTEGER,                     -- where the result is: id in `targets`
    place TEXT,                         -- and its name there; NULL where it is the file's own
    mark TEXT,                          -- by what it is known again: digest or bytes
    replaced_by TEXT,                   -- the later version of the document that has taken its place
    PRIMARY KEY (job, file)
)"""

_TARGETS = """
CREATE TABLE targets (                  -- where each job has ever put results
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    target TEXT NOT NULL,               -- folder, or database and table
    naming TEXT NOT NULL,               -- rule by which names are given there
    accepted INTEGER NOT NULL DEFAULT 0, -- the job points elsewhere by now, and a person took what is here as it is
    UNIQUE (job, target, naming)
)"""

_PLACES = """
CREATE TABLE places (                   -- who was given a place; it counts while that file is claimed, or done there
    place TEXT NOT NULL,                -- the whole path, neither case nor Unicode form of the name counting
    file TEXT NOT NULL,
    job TEXT NOT NULL,
    PRIMARY KEY (place, file, job)
) WITHOUT ROWID"""

_OLDER_PLACES = """
CREATE TABLE older_places (             -- where results of earlier versions still are
    job TEXT NOT NULL,
    file TEXT NOT NULL,
    target TEXT NOT NULL,
    place TEXT NOT NULL,
    mark TEXT,
    PRIMARY KEY (job, file, target, place)
) WITHOUT ROWID"""

_ATTEMPTS = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    file TEXT NOT NULL,
    token INTEGER NOT NULL,
    run_id TEXT,
    worker TEXT,
    started_at TEXT,
    ended_at TEXT,
    status TEXT NOT NULL,
    error_type TEXT,
    error_message TEXT,
    bytes INTEGER
)"""

_COUNTS = """
CREATE TABLE ledger_counts (            -- kept by triggers: nobody counts a million rows to say "nothing to do"
    job TEXT NOT NULL,
    status TEXT NOT NULL,
    files INTEGER NOT NULL,
    PRIMARY KEY (job, status)
) WITHOUT ROWID"""

_COUNT_ONE = "INSERT INTO ledger_counts VALUES (new.job, new.status, 1) ON CONFLICT (job, status) DO UPDATE SET files = files + 1;"
_COUNT_OFF = "UPDATE ledger_counts SET files = files - 1 WHERE job = old.job AND status = old.status;"
_COUNT_NEW = f"CREATE TRIGGER ledger_came AFTER INSERT ON ledger BEGIN {_COUNT_ONE} END"
_TRIGGERS = (
    _COUNT_NEW,
    f"CREATE TRIGGER ledger_went AFTER DELETE ON ledger BEGIN {_COUNT_OFF} END",
    "CREATE TRIGGER ledger_moved AFTER UPDATE OF status ON ledger WHEN old.status <> new.status "
    f"BEGIN {_COUNT_OFF} {_COUNT_ONE} END",
)

_INDEXES = (
    "CREATE INDEX ledger_pending ON ledger (job, priority, file) WHERE status = 'pending'",
    "CREATE INDEX ledger_failed ON ledger (job, due, error_type) WHERE status = 'failed'",
    "CREATE INDEX ledger_claimed ON ledger (job, lease_until) WHERE status = 'claimed'",
    "CREATE INDEX ledger_dead ON ledger (job) WHERE status = 'dead'",
    "CREATE INDEX ledger_skipped ON ledger (job) WHERE status = 'skipped'",
    "CREATE INDEX ledger_once ON ledger (job, once) WHERE once IS NOT NULL",
    "CREATE INDEX attempts_file ON attempts (job, file)",
    "CREATE INDEX attempts_run ON attempts (run_id) WHERE run_id IS NOT NULL",
)

IS_SUSPECT = f"ifnull(error_type IN ({', '.join(map(repr, SUSPECTS))}), 0)"
"""SQL: 1 for a file that comes alone, after all others; else 0."""


PLACE = "(SELECT t.target FROM targets AS t WHERE t.id = ledger.target), ledger.place, ledger.mark"
"""Three columns of a query over ``ledger``, for ``read_place``."""


def create_ledger(connection: sqlite3.Connection) -> None:
    """Make the empty tables, in the caller's transaction."""
    for sql in (_JOBS, _LEDGER, _TARGETS, _PLACES, _OLDER_PLACES, _COUNTS, _ATTEMPTS, *_TRIGGERS, *_INDEXES):
        connection.execute(sql)


@contextmanager
def counted_at_once(connection: sqlite3.Connection, job: str, status: str) -> Iterator[None]:
    """A block that adds many rows of one status to a job that has none: they are counted at its end, and not row by row,
    which would take a third of the time."""
    connection.execute("DROP TRIGGER ledger_came")
    yield
    connection.execute("DELETE FROM ledger_counts WHERE job = ?", (job,))
    connection.execute(
        "INSERT INTO ledger_counts SELECT job, status, count(*) FROM ledger WHERE job = ? AND status = ? GROUP BY 1, 2",
        (job, status),
    )
    connection.execute(_COUNT_NEW)
