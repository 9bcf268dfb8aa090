"""Which hosts are not to be asked for a time: a handful, of all jobs, as JSON in one entry of the table ``info``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.rules import LONGEST_BACKOFF

_ENTRY = "hosts"


def read_hosts(connection: sqlite3.Connection) -> dict[str, Closed]:
    """Host → until when, how often in a row, and why."""
    row = connection.execute("SELECT value FROM info WHERE name = ?", (_ENTRY,)).fetchone()
    return {} if row is None else {name: Closed(*known) for name, known in json.loads(row[0]).items()}


def note_hosts(connection: sqlite3.Connection, news: Mapping[str, Closed | None], now: float) -> None:
    """Write what changed; None forgets a host. What ended long ago is forgotten with it."""
    hosts = {name: host for name, host in read_hosts(connection).items() if host.until > now - LONGEST_BACKOFF}
    for name, host in news.items():
        if host is None:
            hosts.pop(name, None)
        else:
            hosts[name] = host
    connection.execute(
        "INSERT INTO info (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_ENTRY, json.dumps(hosts, sort_keys=True)),
    )


def forget_hosts(connection: sqlite3.Connection) -> None:
    """Ask all of them again."""
    connection.execute("DELETE FROM info WHERE name = ?", (_ENTRY,))
