"""A PostgreSQL for tests of the ledger: the one that MMMETA_TEST_POSTGRES names, a schema of which may be emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from databases import named
from hypothesis import settings

from mmmeta import Metadir

SCHEMA = "mmmeta_test"


def server() -> str:
    """The URL of the server."""
    return named("MMMETA_TEST_POSTGRES")


def with_option(url: str, option: str) -> str:
    """A URL with one more option."""
    return f"{url}{'&' if '?' in url else '?'}{option}"


@contextmanager
def connected() -> Iterator[psycopg.Connection[Any]]:
    """A connection beside mmmeta's own; each statement is a transaction."""
    with psycopg.connect(server().replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as connection:
        connection.execute(f"SET search_path TO {SCHEMA}")
        yield connection


def emptied_server(schema: str = SCHEMA) -> str:
    """The URL of a ledger that is not there yet."""
    url = server()
    with connected() as connection:
        # What an earlier test has forgotten to close may be at work still.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'mmmeta' "
            "AND datname = current_database()"
        )
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    return with_option(url, f"schema={schema}")


def query(client: Metadir, sql: str) -> list[tuple[Any, ...]]:
    """What a client's ledger answers, wherever it is."""
    if client.layout.ledger is not None:
        with connected() as connection:
            return connection.execute(sql.encode()).fetchall()
    with client._backend.state.database.reading() as state:
        return state.execute(sql).fetchall()


def fewer(shared: bool) -> settings:
    """The settings for random histories; each step of one costs more with a server."""
    known = settings.get_current_profile_name()
    profile = settings.get_profile(known)
    return settings(profile, max_examples=max(10, profile.max_examples // 4)) if shared else profile


def end_leases(client: Metadir) -> None:
    """What is claimed may be taken by anybody from now on."""
    sql = "UPDATE ledger SET lease_until = 0 WHERE status = 'claimed'"
    if client.layout.ledger is not None:
        with connected() as connection:
            connection.execute(sql)
        return
    with client._backend.state.database.atomic() as state:
        state.execute(sql)


def dump(client: Metadir) -> list[Any]:
    """All that a client's ledger holds."""
    return [query(client, f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("ledger", "jobs", "attempts")]
