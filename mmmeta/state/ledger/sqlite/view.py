"""What the ledger in the state db says: numbers for status.json, and rows for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.clock import from_text, to_text
from mmmeta.documents.hosts import Closed
from mmmeta.errors import JobError
from mmmeta.sqlite.statements import encodable
from mmmeta.state.ledger.outcomes import Elsewhere, Place, Pointing
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.rules import POSTPONED, STATUSES, JobRules, latest_due, rules_from
from mmmeta.state.ledger.sqlite.attempts import done_since, ended_since
from mmmeta.state.ledger.sqlite.hosts import read_hosts
from mmmeta.state.ledger.sqlite.names import renaming_of
from mmmeta.state.ledger.sqlite.places import count_elsewhere, others_at, were_given
from mmmeta.state.ledger.sqlite.tables import IS_SUSPECT, PLACE
from mmmeta.state.ledger.view import Attempt, Ended, LedgerEntry, LedgerView, Waiting, differences, entry_of, moment
from mmmeta.state.liveness import boot_id, boot_seconds
from mmmeta.state.status import JobStatus

_ENTRY = (
    "SELECT file, status, attempts, error_type, error_message, error_lines, run_id, bytes, retract, selected_at, "
    f"claimed_at, settled_at, due, {PLACE} FROM ledger"
)


class SqliteLedgerView(LedgerView):
    """What the ledger says to one reading connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def jobs(self) -> list[str]:
        return [str(job) for (job,) in self._connection.execute("SELECT job FROM jobs ORDER BY job")]

    def rules(self, job: str) -> JobRules | None:
        row = self._connection.execute(
            "SELECT job, selection, rules, fingerprint FROM jobs WHERE job = ?", (job,)
        ).fetchone()
        return None if row is None else rules_from(*row)

    def status(self, job: str, now: datetime) -> JobStatus | None:
        row = self._connection.execute(
            "SELECT fingerprint, run_id, heartbeat, evaluated FROM jobs WHERE job = ?", (job,)
        ).fetchone()
        if row is None:
            return None
        counts = dict(
            self._connection.execute("SELECT status, files FROM ledger_counts WHERE job = ?", (job,)).fetchall()
        )
        due_now, earliest, postponed = self._connection.execute(
            "SELECT count(*) FILTER (WHERE due <= ?1 OR due > ?2), min(due) FILTER (WHERE due <= ?2), "
            "count(*) FILTER (WHERE error_type = ?4) FROM ledger INDEXED BY ledger_failed WHERE job = ?3 AND status = 'failed'",
            (now.timestamp(), latest_due(now), job, POSTPONED),
        ).fetchone()
        lease, boot = self._connection.execute(
            "SELECT max(lease_until), max(boot) FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed'",
            (job,),
        ).fetchone()
        lease_until = None
        if lease is not None:
            remaining = lease - boot_seconds() if boot == boot_id() else 0.0
            lease_until = datetime.fromtimestamp(now.timestamp() + remaining, now.tzinfo)
        return JobStatus(
            fingerprint=row[0],
            pending=counts.get("pending", 0),
            claimed=counts.get("claimed", 0),
            done=counts.get("done", 0),
            failed=counts.get("failed", 0) - postponed,
            postponed=postponed,
            dead=counts.get("dead", 0),
            skipped=counts.get("skipped", 0),
            due=counts.get("pending", 0) + due_now,
            earliest_due=None if earliest is None else datetime.fromtimestamp(earliest, now.tzinfo),
            lease_until=lease_until,
            heartbeat=None if row[2] is None else from_text(row[2]),
            run_id=row[1] if lease is None else self._run_of_claims(job),
            evaluated=row[3],
        )

    def _run_of_claims(self, job: str) -> str | None:
        """Whose the claims are; another run may have been the last one that was heard of."""
        row = self._connection.execute(
            "SELECT run_id FROM ledger INDEXED BY ledger_claimed WHERE job = ? AND status = 'claimed' "
            "ORDER BY lease_until DESC LIMIT 1",
            (job,),
        ).fetchone()
        return None if row is None else row[0]

    def count(self, job: str, status: str) -> int:
        row = self._connection.execute(
            "SELECT files FROM ledger_counts WHERE job = ? AND status = ?", (job, status)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def due(self, job: str, now: datetime, *, descending: bool, limit: int | None = None) -> list[str]:
        order = "priority DESC, file DESC" if descending else "priority, file"
        most = -1 if limit is None else limit
        # Three statements in one, so that each has its index; the first stops when it has enough, in the index's order.
        rows = self._connection.execute(
            "SELECT file FROM (SELECT * FROM (SELECT file, priority FROM ledger INDEXED BY ledger_pending "
            f"WHERE job = ?1 AND status = 'pending' AND NOT {IS_SUSPECT} ORDER BY {order} LIMIT ?3) "
            "UNION ALL SELECT file, priority FROM ledger INDEXED BY ledger_failed "
            "WHERE job = ?1 AND status = 'failed' AND due <= ?2 "
            "UNION ALL SELECT file, priority FROM ledger INDEXED BY ledger_failed "
            f"WHERE job = ?1 AND status = 'failed' AND due > ?4) ORDER BY {order} LIMIT ?3",
            (job, now.timestamp(), most, latest_due(now)),
        ).fetchall()
        if limit is None or len(rows) < limit:
            rows += self._connection.execute(
                f"SELECT file FROM ledger INDEXED BY ledger_pending WHERE job = ? AND status = 'pending' AND {IS_SUSPECT} "
                f"ORDER BY {order} LIMIT ?",
                (job, -1 if limit is None else limit - len(rows)),
            ).fetchall()
        return [str(file) for (file,) in rows]

    def names(self, job: str, statuses: Sequence[str]) -> list[str]:
        wanted = ", ".join("?" * len(statuses))
        rows = self._connection.execute(
            f"SELECT file FROM ledger WHERE job = ? AND status IN ({wanted}) ORDER BY file", (job, *statuses)
        )
        return [str(file) for (file,) in rows]

    def next_done(self, job: str, name: str) -> str | None:
        row = self._connection.execute(
            "SELECT file FROM ledger WHERE job = ? AND +status = 'done' AND file >= ? ORDER BY file LIMIT 1",
            (job, name),
        ).fetchone()
        return None if row is None else str(row[0])

    def places(self, job: str, files: Sequence[str]) -> dict[str, Place]:
        found = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            rows = self._connection.execute(
                f"SELECT file, {PLACE} FROM ledger WHERE job = ? AND target IS NOT NULL "
                f"AND file IN ({', '.join('?' * len(chunk))})",
                (job, *chunk),
            )
            found.update({file: place for file, *at in rows if (place := read_place(at, file)) is not None})
        return found

    def statuses(self, job: str, files: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            marks = ", ".join("?" * len(chunk))
            sql = (
                "SELECT file, CASE WHEN status = 'failed' AND error_type = ? THEN 'postponed' ELSE status END "
                f"FROM ledger WHERE job = ? AND file IN ({marks})"
            )
            found.update(self._connection.execute(sql, (POSTPONED, job, *chunk)).fetchall())
        return found

    def documents(self, files: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            marks = ", ".join("?" * len(chunk))
            # A row of a table goes by the file's own name: only documents are named by a rule.
            sql = (
                "SELECT ledger.file, t.target, ifnull(ledger.place, ledger.file) FROM ledger JOIN targets AS t "
                "ON t.id = ledger.target WHERE ledger.job IN (SELECT job FROM jobs) AND t.naming <> '' "
                f"AND +ledger.status = 'done' AND ledger.file IN ({marks}) ORDER BY t.id"
            )
            for file, folder, name in self._connection.execute(sql, chunk):
                found.setdefault(file, f"{folder}/{name}")
        return found

    def done_versions(self, job: str, files: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in in_chunks(files, PER_STATEMENT):
            marks = ", ".join("?" * len(chunk))
            sql = f"SELECT file, basis FROM ledger WHERE job = ? AND basis IS NOT NULL AND file IN ({marks})"
            found.update(self._connection.execute(sql, (job, *chunk)).fetchall())
        return found

    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        return were_given(self._connection, places)

    def others(self, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
        return others_at(self._connection, places)

    def replaced(self, job: str, files: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for chunk in in_chunks(files, PER_STATEMENT):
            rows = self._connection.execute(
                "SELECT file FROM ledger WHERE job = ? AND replaced_by IS NOT NULL "
                f"AND file IN ({', '.join('?' * len(chunk))})",
                (job, *chunk),
            )
            found.update(str(file) for (file,) in rows)
        return found

    def elsewhere(self, job: str, pointing: Pointing) -> tuple[Elsewhere, ...]:
        return count_elsewhere(self._connection, job, pointing)

    def entries(self, job: str, statuses: Sequence[str]) -> list[LedgerEntry]:
        found: list[LedgerEntry] = []
        for status in dict.fromkeys(statuses):
            if status not in STATUSES:
                raise JobError(f"{status!r} is no status of a file; there are {', '.join(STATUSES)}")
            index = "" if status == "done" else f"INDEXED BY ledger_{status}"  # all that is not done is found at once
            sql = f"{_ENTRY} {index} WHERE job = ? AND status = '{status}'"
            found += [entry_of(row) for row in self._connection.execute(sql, (job,))]
        return sorted(found, key=lambda entry: (-(entry.settled_at.timestamp() if entry.settled_at else 0), entry.file))

    def entry(self, job: str, file: str) -> LedgerEntry | None:
        row = self._connection.execute(f"{_ENTRY} WHERE job = ? AND file = ?", (job, file)).fetchone()
        return None if row is None else entry_of(row)

    def history(
        self,
        *,
        job: str | None = None,
        file: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[Attempt]:
        if run_id == "":
            raise JobError("the id of the run is empty; give it, or its beginning")
        wanted = {"job = ?": job, "file = ?": file}
        conditions = [text for text, value in wanted.items() if value is not None]
        parameters: list[Any] = [value for value in wanted.values() if value is not None]
        if run_id is not None:
            # A range, which the index serves; no id has a character behind this one.
            conditions += ["run_id >= ?", "run_id < ?"]
            parameters += [run_id, run_id + "\U0010ffff"]
        if len(encodable(parameters)) < len(parameters):
            return []
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        rows = self._connection.execute(
            "SELECT job, file, status, run_id, worker, started_at, ended_at, error_type, error_message, bytes "
            f"FROM attempts {where}ORDER BY id DESC LIMIT ?",
            (*parameters, -1 if limit is None else limit),
        ).fetchall()
        return [
            Attempt(job, file, status, run, worker, moment(started), moment(ended), kind, message, size)
            for job, file, status, run, worker, started, ended, kind, message, size in rows
        ]

    def done_by(self, job: str, run_id: str) -> list[str]:
        rows = self._connection.execute(
            "SELECT DISTINCT file FROM attempts WHERE run_id = ? AND job = ? AND status = 'done'", (run_id, job)
        )
        return [str(file) for (file,) in rows]

    def done_since(self, job: str, attempt: int) -> list[str]:
        return done_since(self._connection, job, attempt)

    def last_attempt(self) -> int:
        (last,) = self._connection.execute("SELECT ifnull(max(id), 0) FROM attempts").fetchone()
        return int(last)

    def ended_since(self, job: str, attempt: int, failures: int) -> Ended:
        return ended_since(self._connection, job, attempt, failures)

    def oldest_pending(self, job: str) -> datetime | None:
        (text,) = self._connection.execute(
            "SELECT min(selected_at) FROM ledger INDEXED BY ledger_pending WHERE job = ? AND status = 'pending'", (job,)
        ).fetchone()
        return moment(text)

    def hosts(self) -> dict[str, Closed]:
        return read_hosts(self._connection)

    def waiting(self, job: str) -> list[Waiting]:
        rows = self._connection.execute(
            "SELECT error_message, count(*), min(due) FROM ledger INDEXED BY ledger_failed "
            "WHERE job = ? AND status = 'failed' AND error_type = ? GROUP BY error_message ORDER BY 3, 1",
            (job, POSTPONED),
        )
        return [Waiting(text, files, datetime.fromtimestamp(due, timezone.utc)) for text, files, due in rows]

    def set_aside(self, job: str) -> dict[str, int]:
        rows = self._connection.execute(
            "SELECT error_type, count(*) FROM ledger INDEXED BY ledger_skipped WHERE job = ? AND status = 'skipped' "
            "GROUP BY error_type",
            (job,),
        )
        return {reason: count for reason, count in rows if reason is not None}

    def set_aside_since(self, job: str, reason: str, since: datetime) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM ledger INDEXED BY ledger_skipped WHERE job = ? AND status = 'skipped' "
            "AND error_type = ? AND settled_at >= ?",
            (job, reason, to_text(since)),
        ).fetchone()
        return int(count)

    def targets(self, job: str) -> list[str]:
        rows = self._connection.execute("SELECT DISTINCT target FROM targets WHERE job = ? ORDER BY 1", (job,))
        return [str(target) for (target,) in rows]

    def renaming(self) -> tuple[str, str] | None:
        return renaming_of(self._connection)

    def miscounts(self) -> list[tuple[str, str]]:
        kept = self._counted("SELECT job, status, files FROM ledger_counts WHERE files <> 0")
        real = self._counted("SELECT job, status, count(*) FROM ledger GROUP BY job, status")
        return differences(kept, real)

    def _counted(self, sql: str) -> dict[tuple[str, str], int]:
        return {(job, status): count for job, status, count in self._connection.execute(sql)}
