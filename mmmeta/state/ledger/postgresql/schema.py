"""The ledger's tables in PostgreSQL, and the numbered steps that bring older ones up to date.

The same as in the state db, but for what the server does better: names order by their bytes (``COLLATE "C"``), what orders
files is bytes, places are told apart by digests, which fit into an index however long a path is, and counts are a sum of
differences, so that no two workers wait for each other to count.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from mmmeta.errors import FormatError, StateDbError
from mmmeta.state.ledger.rules import SUSPECTS
from mmmeta.state.ledger.transfer import broken_off

if TYPE_CHECKING:
    import psycopg

INFO = "mmmeta_info"

LEDGER = "ledger"
INCOMPLETE = "incomplete copy"
"""Entry ``role`` of it: a ledger, or only a part of another one that is being copied here."""

SOURCE = "copied_from"
"""Entry of it: where that is."""

_TEXT = 'text COLLATE "C"'

_TABLES = f"""
CREATE TABLE jobs (
    job {_TEXT} PRIMARY KEY,
    selection text NOT NULL,
    rules text NOT NULL,
    fingerprint text NOT NULL,
    evaluated_at {_TEXT} NOT NULL,
    metadata_id text,                   -- of the metadata db up to which the selection was evaluated
    revision bigint NOT NULL DEFAULT 0, -- and its revision
    run_id text,
    heartbeat text
);
CREATE TABLE followed (                 -- up to which of its own state revisions each client's cache has told each job
    job {_TEXT} NOT NULL,
    cache text NOT NULL,
    evaluated bigint NOT NULL,
    PRIMARY KEY (job, cache)
);
CREATE TABLE left_behind (              -- metadata dbs that another one has replaced: their copies are older ones
    metadata_id text PRIMARY KEY
);
CREATE TABLE ledger (
    job {_TEXT} NOT NULL,
    file {_TEXT} NOT NULL,
    status text NOT NULL,
    priority bytea NOT NULL,            -- by what the job orders, as `sort_key` writes it
    attempts integer NOT NULL DEFAULT 0,
    wanted text NOT NULL,
    tried text,
    basis text,
    content text,
    rev bigint,
    deleted boolean NOT NULL DEFAULT false,
    meant boolean NOT NULL DEFAULT true,
    once {_TEXT},
    once_tried {_TEXT},
    once_basis {_TEXT},
    token bigint NOT NULL DEFAULT 0,
    asked bigint NOT NULL DEFAULT 0,
    lease_until double precision,       -- seconds since 1970 by the server's clock
    since double precision,             -- when it was claimed, by the same clock
    worker text,
    run_id text,
    error_type text,
    error_message text,
    error_lines text,
    bytes bigint,
    selected_at {_TEXT},
    claimed_at {_TEXT},
    settled_at {_TEXT},
    due double precision,
    retract boolean NOT NULL DEFAULT false,
    target bigint,
    place text,
    mark text,
    replaced_by {_TEXT},
    PRIMARY KEY (job, file)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE targets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job {_TEXT} NOT NULL,
    target {_TEXT} NOT NULL,
    naming text NOT NULL,
    accepted boolean NOT NULL DEFAULT false,
    key bytea NOT NULL,                 -- digest of target and naming
    UNIQUE (job, key)
);
CREATE TABLE places (
    place bytea NOT NULL,               -- digest of the whole path
    file {_TEXT} NOT NULL,
    job {_TEXT} NOT NULL,
    PRIMARY KEY (place, file, job)
);
CREATE TABLE older_places (
    job {_TEXT} NOT NULL,
    file {_TEXT} NOT NULL,
    key bytea NOT NULL,                 -- digest of target and place
    target {_TEXT} NOT NULL,
    place {_TEXT} NOT NULL,
    mark text,
    PRIMARY KEY (job, file, key)
);
CREATE TABLE attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job {_TEXT} NOT NULL,
    file {_TEXT} NOT NULL,
    token bigint NOT NULL,
    run_id {_TEXT},
    worker text,
    started_at text,
    ended_at {_TEXT},
    status text NOT NULL,
    error_type text,
    error_message text,
    bytes bigint
);
CREATE TABLE ledger_counts (            -- differences; their sum is how many files of a job have a status
    job {_TEXT} NOT NULL,
    status text NOT NULL,
    files bigint NOT NULL
);
CREATE INDEX ledger_counts_job ON ledger_counts (job);
CREATE INDEX ledger_pending ON ledger (job, priority, file) WHERE status = 'pending';
CREATE INDEX ledger_failed ON ledger (job, due) WHERE status = 'failed';
CREATE INDEX ledger_claimed ON ledger (job, worker) WHERE status = 'claimed';
CREATE INDEX ledger_dead ON ledger (job) WHERE status = 'dead';
CREATE INDEX ledger_skipped ON ledger (job) WHERE status = 'skipped';
CREATE INDEX ledger_once ON ledger (job, once) WHERE once IS NOT NULL;
CREATE INDEX attempts_file ON attempts (job, file);
CREATE INDEX attempts_run ON attempts (run_id) WHERE run_id IS NOT NULL;
"""

_COUNTING = """
CREATE FUNCTION ledger_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO ledger_counts SELECT job, status, count(*) FROM came GROUP BY job, status;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO ledger_counts SELECT job, status, -count(*) FROM went GROUP BY job, status;
    ELSE
        INSERT INTO ledger_counts SELECT job, status, sum(files) FROM (
            SELECT job, status, 1 AS files FROM came UNION ALL SELECT job, status, -1 FROM went
        ) AS changed GROUP BY job, status HAVING sum(files) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_came AFTER INSERT ON ledger REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_counted();
CREATE TRIGGER ledger_went AFTER DELETE ON ledger REFERENCING OLD TABLE AS went
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_counted();
CREATE TRIGGER ledger_moved AFTER UPDATE ON ledger REFERENCING NEW TABLE AS came OLD TABLE AS went
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_counted();
"""

_FILES = f"""
CREATE TABLE payloads (                 -- what workers are told of a job's files; json, never jsonb: it stays as it is written
    file {_TEXT} NOT NULL,
    job {_TEXT} NOT NULL,
    revision bigint,
    payload json NOT NULL,
    PRIMARY KEY (file, job)
);
CREATE INDEX payloads_job ON payloads (job);
CREATE TABLE own_values (               -- what clients have set; NULL where they took it back
    file {_TEXT} NOT NULL,
    key {_TEXT} NOT NULL,
    value json,
    revision bigint NOT NULL,
    PRIMARY KEY (file, key)
);
CREATE INDEX own_values_revision ON own_values (revision);
ALTER TABLE jobs ADD COLUMN own_revision bigint NOT NULL DEFAULT 0; -- of the own values up to which it was evaluated
INSERT INTO {INFO} VALUES ('own_revision', '0'), ('common', '');
DELETE FROM followed;                   -- all tell all once more, with payloads
"""

_PATHS = """
ALTER TABLE places ADD COLUMN path text NOT NULL DEFAULT ''; -- the path itself, for whoever copies the ledger
"""

_RUNS = f"""
CREATE TABLE runs (                     -- signs of life of steps of runs
    run_id {_TEXT} NOT NULL,
    worker text NOT NULL,               -- names the lock that the step holds
    beat double precision NOT NULL,     -- when it was last heard of, in seconds since 1970 by the server's clock
    at_work boolean NOT NULL,           -- whether the step has not said that it is over
    PRIMARY KEY (run_id, worker)
);
"""

_MARKS = """
ALTER TABLE followed ADD COLUMN mark text NOT NULL DEFAULT ''; -- which the cache has as well, if it is this one that told
DELETE FROM followed;
"""

_WORDS = """
ALTER TABLE jobs ADD COLUMN digest text NOT NULL DEFAULT ''; -- of the metadata up to which it was evaluated
CREATE TABLE taken_back (               -- metadata that the remote went back from, where a person said that this is meant
    metadata_id text NOT NULL,
    revision bigint NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (metadata_id, revision, digest)
);
CREATE TABLE words (                    -- which were heeded
    word text PRIMARY KEY
);
"""

_STEPS = (_TABLES + _COUNTING, _FILES, _PATHS, _RUNS, _MARKS, _WORDS)
"""Step n makes format n + 1; a step that was released is never changed."""

FORMAT = len(_STEPS)
"""Of the tables; a newer one is refused."""

IS_SUSPECT = f"coalesce(error_type IN ({', '.join(map(repr, SUSPECTS))}), false)"
"""SQL: whether a file comes alone, after all others."""

PLACE = "(SELECT t.target FROM targets AS t WHERE t.id = ledger.target) AS at_target, ledger.place, ledger.mark"
"""Three columns of a query over ``ledger``, for ``read_place``."""

Row = tuple[Any, ...]


def ensure(
    connection: psycopg.Connection[Row],
    schema: str,
    where: str,
    *,
    incomplete: bool = False,
    source: str | None = None,
) -> None:
    """Bring the tables to this format, in a transaction of its own; two that come at once do it one after the other.

    Args:
        incomplete: what is there may be the beginning of a copy.
        source: what is made here is to be a copy of that, and is nothing else from its first moment on.

    Raises:
        FormatError: a newer mmmeta has made them.
        StateDbError: the schema is somebody else's, or holds the beginning of a copy.
    """
    if known_format(connection, schema, where, incomplete=incomplete) == FORMAT:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('mmmeta'), hashtext(%s))", (schema,))
        known = known_format(connection, schema, where, incomplete=incomplete)
        if not known:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.execute(f'SET LOCAL search_path TO "{schema}"')
        if not known:
            connection.execute(f"CREATE TABLE {INFO} (name {_TEXT} PRIMARY KEY, value text NOT NULL)")
            role = {"role": LEDGER} if source is None else {"role": INCOMPLETE, SOURCE: source}
            entries = role | {"format": "0", "id": uuid.uuid4().hex, "token_base": "0"}
            connection.cursor().executemany(f"INSERT INTO {INFO} VALUES (%s, %s)", list(entries.items()))
        for step in _STEPS[known:]:
            connection.execute(step.encode())
        connection.execute(f"UPDATE {INFO} SET value = %s WHERE name = 'format'", (str(FORMAT),))


def known_format(connection: psycopg.Connection[Row], schema: str, where: str, *, incomplete: bool = False) -> int:
    """The format of the tables that are there; 0 for none. Raises as ``ensure`` does."""
    names = {
        str(name)
        for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
    }
    if not names:
        return 0
    info: dict[str, str] = {}
    if INFO in names:
        info = dict(connection.execute(f'SELECT name, value FROM "{schema}".{INFO}').fetchall())
    if info.get("role") == INCOMPLETE and not incomplete:
        raise StateDbError(f"{where} {broken_off(info.get(SOURCE, 'another one'))}")
    if info.get("role") not in (LEDGER, INCOMPLETE):
        raise StateDbError(
            f"{where} has other tables in it ({', '.join(sorted(names)[:3])}) and was left untouched; "
            "name a schema of its own in `state:`, with ?schema=name"
        )
    known = int(info["format"])
    if known > FORMAT:
        raise FormatError(
            f"{where} has format {known}, made by a newer mmmeta; this one knows {FORMAT}: use that version, or name another "
            "schema in `state:`"
        )
    return known
