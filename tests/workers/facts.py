"""What plain SQL and plain reads find where workers have been, without mmmeta; and how the tables are watched meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from audit import Facts
from publisher import STATE, TARGET, Publisher

LOADED = ("rows", "versions")
"""Jobs, and their tables."""

LAST_WORDS = 10.0
"""Seconds that a session has to end."""

Connection = psycopg.Connection[Any]


def empty(connection: Connection) -> None:
    """Leave nothing of ours at the server."""
    connection.execute(f"DROP SCHEMA IF EXISTS {STATE} CASCADE".encode())
    connection.execute(f"DROP SCHEMA IF EXISTS {TARGET} CASCADE".encode())


def watch(connection: Connection) -> None:
    """From now on the database itself notes each write to a row, and who did it, in the order in which they take effect."""
    effects = f"{TARGET}.effects"
    for sql in (
        f"CREATE TABLE {effects} (number bigint GENERATED ALWAYS AS IDENTITY, at text, id text, v bigint, who text)",
        f"CREATE FUNCTION {TARGET}.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN "
        f"INSERT INTO {effects} (at, id, who) VALUES (TG_TABLE_NAME, OLD.id, current_setting('application_name')); ELSE "
        f"INSERT INTO {effects} (at, id, v, who) VALUES (TG_TABLE_NAME, NEW.id, NEW.v, current_setting('application_name')); "
        "END IF; RETURN NULL; END $$",
        *(
            f"CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON {TARGET}.{table} FOR EACH ROW "
            f"EXECUTE FUNCTION {TARGET}.noted()"
            for table in LOADED
        ),
        *(
            f"INSERT INTO {effects} (at, id, v, who) SELECT '{table}', id, v, '' FROM {TARGET}.{table}"
            for table in LOADED
        ),
    ):
        connection.execute(sql.encode())


def due(connection: Connection) -> int:
    """Files that are not at their end in some job."""
    return int(
        ask(
            connection,
            f"SELECT coalesce(sum(files), 0) FROM {STATE}.ledger_counts WHERE status IN ('pending', 'claimed', 'failed')",
        )[0][0]
    )


def attempts(connection: Connection) -> int:
    """How many files of a job have ended, in whatever way."""
    return int(ask(connection, f"SELECT coalesce(max(id), 0) FROM {STATE}.attempts")[0][0])


def outcomes(connection: Connection) -> dict[str, int]:
    """How many attempts ended how."""
    return dict(ask(connection, f"SELECT status, count(*) FROM {STATE}.attempts GROUP BY status ORDER BY 1"))


def ended(connection: Connection, job: str) -> datetime:
    """When the last attempt of a job ended."""
    return datetime.fromisoformat(
        str(ask(connection, f"SELECT max(ended_at) FROM {STATE}.attempts WHERE job = '{job}'")[0][0])
    )


def waiting(connection: Connection) -> int:
    """Sessions that wait for a table."""
    return int(
        ask(connection, "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'relation' AND NOT granted")[0][0]
    )


def find(connection: Connection, publisher: Publisher, calls: Iterable[Path], hurt: set[str]) -> Facts:
    """All facts.

    Args:
        calls: what each process has called.
    """
    facts = Facts(dict(publisher.truth), dict(publisher.known), hurt)
    facts.rows = ask(connection, f"SELECT id, v, title FROM {TARGET}.rows")
    facts.versions = ask(connection, f"SELECT id, v FROM {TARGET}.versions")
    facts.effects = ask(connection, f"SELECT at, id, v, who FROM {TARGET}.effects ORDER BY number")
    facts.ledger = ask(connection, f"SELECT job, file, status FROM {STATE}.ledger")
    facts.counts = [
        (job, status, int(files))
        for job, status, files in ask(
            connection, f"SELECT job, status, sum(files) FROM {STATE}.ledger_counts GROUP BY job, status"
        )
    ]
    facts.done = ask(
        connection,
        f"SELECT job, file, count(*), count(DISTINCT token) FROM {STATE}.attempts WHERE status = 'done' GROUP BY job, file",
    )
    facts.receipts = ask(connection, f"SELECT job, file FROM {TARGET}._mmmeta_receipts WHERE version <> ''")
    facts.sessions = _sessions(connection)
    facts.disk = sorted(path.name for path in publisher.away.iterdir())
    for path in calls:
        for line in path.read_text().splitlines():
            name, version = line.split()
            facts.calls.append((path.stem, name, int(version)))
    return facts


def _sessions(connection: Connection) -> int:
    """Of mmmeta, at the server; one takes a moment to end after its client has gone."""
    until = time.monotonic() + LAST_WORDS
    while True:
        count = int(ask(connection, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mmmeta'")[0][0])
        if not count or time.monotonic() > until:
            return count
        time.sleep(0.1)


def ask(connection: Connection, sql: str) -> list[Any]:
    return connection.execute(sql.encode()).fetchall()
