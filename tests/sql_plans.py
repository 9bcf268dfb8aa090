"""What the state db is asked while something is done, and how SQLite goes about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmeta import Metadir
from mmmeta.sqlite import database
from mmmeta.sqlite.connection import connect
from mmmeta.state.ledger.sqlite.offers import OFFERED


def statements(client: Metadir, work: Callable[[], object], *kinds: str) -> list[str]:
    """The SQL that a client's connections are told while something is done, values filled in.

    Args:
        kinds: how they begin; what reads and writes rows unless given.
    """
    said: list[str] = []

    def listening(path: Path, kind: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        connection = connect(path, kind, prepare)
        if path == client.layout.state:
            connection.set_trace_callback(said.append)
        return connection

    client.close()  # connections that are open already would say nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", listening)
        work()
        client.close()
    return [text for text in said if text.startswith(kinds or ("SELECT", "UPDATE", "INSERT", "DELETE"))]


def plans(client: Metadir, texts: list[str]) -> list[tuple[str, str]]:
    """Each step of SQLite's plan for these statements, beside the statement."""
    with client._backend.state.database.atomic() as connection:
        connection.execute(OFFERED)
        return [(row[3], text) for text in texts for row in connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]


def steps(client: Metadir, work: Callable[[], object], containing: str) -> list[str]:
    """The steps of the plans of those statements that contain a text, while something is done; there have to be some."""
    said = [text for text in statements(client, work) if containing in text]
    assert said
    return [step for step, _ in plans(client, said)]
