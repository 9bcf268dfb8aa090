"""All that the ledger keeps under a job's name in PostgreSQL: forgotten, or given another name; and hosts that wait."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

from mmmeta.documents.hosts import Closed
from mmmeta.errors import JobError
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.worker import living
from mmmeta.state.ledger.rules import LONGEST_BACKOFF

TABLES = ("jobs", "followed", "ledger", "payloads", "ledger_counts", "attempts", "places", "older_places", "targets")
"""Which have a column ``job``."""

Host = TypeVar("Host", Closed, Closed | None)

_RENAMING = "renaming"
_HOSTS = "hosts"
"""Entries of the ledger's own table."""


def forget_job(transaction: Transaction, job: str) -> int:
    """Remove all that is known of a job; of how many files. Tokens go on from where they were."""
    _raise_tokens(transaction, job)
    count = transaction.execute("DELETE FROM ledger WHERE job = %s", (job,)).rowcount
    for table in TABLES:
        transaction.execute(f"DELETE FROM {table} WHERE job = %s", (job,))
    return int(count)


def rename_job(transaction: Transaction, old: str, new: str) -> int:
    """Give all that is known of the job another name; of how many files. Raises as ``Ledger.rename`` does."""
    rows = transaction.rows("SELECT DISTINCT worker FROM ledger WHERE job = %s AND status = 'claimed'", (old,))
    workers = [worker for (worker,) in rows]
    if None in workers or living(transaction, workers):
        raise JobError(f"a run is at work, so {old!r} cannot be renamed now: wait for its end, or end it")
    if _has_tried(transaction, new):
        raise JobError(
            f"the ledger knows a job {new!r} already, which has worked: give another name, or let it be forgotten first "
            f"(`mmmeta jobs forget {new}`)"
        )
    # What an update has selected for it, because the project file has the new name already, is selected again.
    forget_job(transaction, new)
    _raise_tokens(transaction, old)
    for table in TABLES:
        if table != "ledger_counts":
            transaction.execute(f"UPDATE {table} SET job = %s WHERE job = %s", (new, old))
    write_entry(transaction, _RENAMING, f"{old} {new}")
    (count,) = transaction.one("SELECT coalesce(sum(files), 0) FROM ledger_counts WHERE job = %s", (new,))
    return int(count)


def end_renaming(transaction: Transaction) -> None:
    """Nothing outside has the old name any more."""
    transaction.execute("DELETE FROM mmmeta_info WHERE name = %s", (_RENAMING,))


def renaming_of(transaction: Transaction) -> tuple[str, str] | None:
    """Old and new name of a renaming that was broken off."""
    old, _, new = (read_entry(transaction, _RENAMING) or "").partition(" ")
    return (old, new) if new else None


def read_hosts(transaction: Transaction) -> dict[str, Closed]:
    """Host → until when it is not to be asked, how often in a row, and why."""
    return {name: Closed(*known) for name, known in json.loads(read_entry(transaction, _HOSTS) or "{}").items()}


def note_hosts(transaction: Transaction, news: Mapping[str, Closed | None], now: float) -> None:
    """Write what changed; None forgets a host. What ended long ago is forgotten with it."""
    # Two that note at once must not forget each other's.
    transaction.execute("INSERT INTO mmmeta_info VALUES (%s, '{}') ON CONFLICT (name) DO NOTHING", (_HOSTS,))
    transaction.execute("SELECT 1 FROM mmmeta_info WHERE name = %s FOR UPDATE", (_HOSTS,))
    hosts = {name: host for name, host in read_hosts(transaction).items() if host.until > now - LONGEST_BACKOFF}
    for name, host in news.items():
        if host is None:
            hosts.pop(name, None)
        else:
            hosts[name] = host
    write_entry(transaction, _HOSTS, json.dumps(hosts, sort_keys=True))


def by_the_clock_of(hosts: Mapping[str, Host], ahead: timedelta) -> dict[str, Host]:
    """Hosts that wait, as a clock says it that is ahead of ours by so much."""
    shift = ahead.total_seconds()
    return {name: host and host._replace(until=host.until + shift) for name, host in hosts.items()}


def forget_hosts(transaction: Transaction) -> None:
    """Ask all of them again."""
    transaction.execute("DELETE FROM mmmeta_info WHERE name = %s", (_HOSTS,))


def read_entry(transaction: Transaction, name: str) -> str | None:
    """An entry of the ledger's own table."""
    row = transaction.execute("SELECT value FROM mmmeta_info WHERE name = %s", (name,)).fetchone()
    return None if row is None else str(row[0])


def write_entry(transaction: Transaction, name: str, value: str) -> None:
    """Write one."""
    transaction.execute(
        "INSERT INTO mmmeta_info VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def _raise_tokens(transaction: Transaction, job: str) -> None:
    """Receipts in a target outlive the ledger, and would refuse smaller tokens."""
    transaction.execute(
        "UPDATE mmmeta_info SET value = greatest(value::bigint, (SELECT coalesce(max(token), 0) + 1 FROM ledger "
        "WHERE job = %s))::text WHERE name = 'token_base'",
        (job,),
    )


def _has_tried(transaction: Transaction, job: str) -> bool:
    (tried,) = transaction.one(
        "SELECT EXISTS (SELECT 1 FROM attempts WHERE job = %s) OR EXISTS (SELECT 1 FROM ledger WHERE job = %s "
        "AND (status NOT IN ('pending', 'skipped') OR tried IS NOT NULL))",
        (job, job),
    )
    return bool(tried)
