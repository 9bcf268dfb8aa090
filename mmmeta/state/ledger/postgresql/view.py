"""What the ledger in PostgreSQL says: numbers for status.json, and rows for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from mmmeta.clock import from_text, to_text
from mmmeta.documents.hosts import Closed
from mmmeta.errors import JobError
from mmmeta.sqlite.statements import encodable
from mmmeta.state.ledger.copies import Cache, Copy
from mmmeta.state.ledger.outcomes import Elsewhere, Place, Pointing
from mmmeta.state.ledger.payloads import Told
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.postgresql.names import by_the_clock_of, read_hosts, renaming_of
from mmmeta.state.ledger.postgresql.payloads import read_told
from mmmeta.state.ledger.postgresql.places import count_elsewhere, others_at, were_given
from mmmeta.state.ledger.postgresql.progress import heard_of
from mmmeta.state.ledger.postgresql.schema import IS_SUSPECT, PLACE
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import fitting
from mmmeta.state.ledger.rules import POSTPONED, STATUSES, JobRules, latest_due, rules_from
from mmmeta.state.ledger.view import (
    ENDS,
    Attempt,
    Ended,
    EndedFile,
    LedgerEntry,
    LedgerView,
    Waiting,
    differences,
    entry_of,
    moment,
)
from mmmeta.state.status import JobStatus

_ENTRY = (
    "SELECT file, status, attempts, error_type, error_message, error_lines, run_id, bytes, retract, selected_at, "
    f"claimed_at, settled_at, due, {PLACE} FROM ledger"
)

_LAST = "SELECT max(id) FROM attempts WHERE id > %s AND job = %s AND status = ANY(%s) GROUP BY file"


class PostgresLedgerView(LedgerView):
    """What the ledger says to one transaction that only reads.

    Args:
        copy: what this client has merged.
        ahead: by how much the server's clock, by which the ledger keeps all moments, is ahead of this host's.
        cache: where that is; None for a client elsewhere, or without files.
    """

    def __init__(self, transaction: Transaction, copy: Copy, ahead: timedelta, cache: Cache | None = None) -> None:
        self._transaction = transaction
        self._copy = copy
        self._ahead = ahead
        self._cache = cache

    def jobs(self) -> list[str]:
        return [str(job) for (job,) in self._transaction.rows("SELECT job FROM jobs ORDER BY job")]

    def rules(self, job: str) -> JobRules | None:
        row = self._transaction.execute(
            "SELECT job, selection, rules, fingerprint FROM jobs WHERE job = %s", (job,)
        ).fetchone()
        return None if row is None else rules_from(*row)

    def status(self, job: str, now: datetime) -> JobStatus | None:
        heard = heard_of(self._transaction, job, self._copy, self._cache)
        if heard is None:
            return None
        run_id, heartbeat = self._transaction.one("SELECT run_id, heartbeat FROM jobs WHERE job = %s", (job,))
        counts: dict[str, int] = dict(
            self._transaction.rows(
                "SELECT status, sum(files)::bigint FROM ledger_counts WHERE job = %s GROUP BY status", (job,)
            )
        )
        there = now + self._ahead
        latest = latest_due(there)
        due_now, earliest, postponed = self._transaction.one(
            "SELECT count(*) FILTER (WHERE due <= %s OR due > %s), min(due) FILTER (WHERE due <= %s), "
            "count(*) FILTER (WHERE error_type = %s) FROM ledger WHERE job = %s AND status = 'failed'",
            (there.timestamp(), latest, latest, POSTPONED, job),
        )
        claim = self._transaction.execute(
            "SELECT lease_until - extract(epoch FROM clock_timestamp())::float8, run_id FROM ledger "
            "WHERE job = %s AND status = 'claimed' ORDER BY lease_until DESC LIMIT 1",
            (job,),
        ).fetchone()
        evaluated = self._copy.state_revision if heard.is_newer_than(self._copy) else heard.evaluated
        return JobStatus(
            fingerprint=heard.fingerprint,
            pending=counts.get("pending", 0),
            claimed=counts.get("claimed", 0),
            done=counts.get("done", 0),
            failed=counts.get("failed", 0) - postponed,
            postponed=postponed,
            dead=counts.get("dead", 0),
            skipped=counts.get("skipped", 0),
            due=counts.get("pending", 0) + due_now,
            earliest_due=None if earliest is None else datetime.fromtimestamp(earliest, now.tzinfo) - self._ahead,
            lease_until=None if claim is None else now + timedelta(seconds=claim[0]),
            heartbeat=None if heartbeat is None else from_text(heartbeat) - self._ahead,
            run_id=run_id if claim is None else claim[1],  # another run may have been the last one that was heard of
            evaluated=evaluated,
        )

    def payloads(self, files: Sequence[str]) -> dict[str, Told]:
        return read_told(self._transaction, files)

    def count(self, job: str, status: str) -> int:
        (count,) = self._transaction.one(
            "SELECT coalesce(sum(files), 0)::bigint FROM ledger_counts WHERE job = %s AND status = %s", (job, status)
        )
        return int(count)

    def due(self, job: str, now: datetime, *, descending: bool, limit: int | None = None) -> list[str]:
        order = "priority DESC, file DESC" if descending else "priority, file"
        there = now + self._ahead
        rows = self._transaction.rows(
            f"SELECT file FROM ((SELECT file, priority FROM ledger WHERE job = %s AND status = 'pending' AND NOT {IS_SUSPECT} "
            f"ORDER BY {order} LIMIT %s) UNION ALL SELECT file, priority FROM ledger "
            f"WHERE job = %s AND status = 'failed' AND (due <= %s OR due > %s)) AS waiting ORDER BY {order} LIMIT %s",
            (job, limit, job, there.timestamp(), latest_due(there), limit),
        )
        if limit is None or len(rows) < limit:
            rows += self._transaction.rows(
                f"SELECT file FROM ledger WHERE job = %s AND status = 'pending' AND {IS_SUSPECT} ORDER BY {order} LIMIT %s",
                (job, None if limit is None else limit - len(rows)),
            )
        return [str(file) for (file,) in rows]

    def names(self, job: str, statuses: Sequence[str]) -> list[str]:
        rows = self._transaction.rows(
            "SELECT file FROM ledger WHERE job = %s AND status = ANY(%s) ORDER BY file", (job, list(statuses))
        )
        return [str(file) for (file,) in rows]

    def next_done(self, job: str, name: str) -> str | None:
        row = self._transaction.execute(
            "SELECT file FROM ledger WHERE job = %s AND status = 'done' AND file >= %s ORDER BY file LIMIT 1",
            (job, name.replace("\0", "")),
        ).fetchone()
        return None if row is None else str(row[0])

    def places(self, job: str, files: Sequence[str]) -> dict[str, Place]:
        rows = self._transaction.rows(
            f"SELECT file, {PLACE} FROM ledger WHERE job = %s AND target IS NOT NULL AND file = ANY(%s)",
            (job, fitting(files)),
        )
        return {file: place for file, *at in rows if (place := read_place(at, file)) is not None}

    def statuses(self, job: str, files: Sequence[str]) -> dict[str, str]:
        return dict(
            self._transaction.rows(
                "SELECT file, CASE WHEN status = 'failed' AND error_type = %s THEN 'postponed' ELSE status END "
                "FROM ledger WHERE job = %s AND file = ANY(%s)",
                (POSTPONED, job, fitting(files)),
            )
        )

    def documents(self, files: Sequence[str]) -> dict[str, str]:
        # A row of a table goes by the file's own name: only documents are named by a rule.
        rows = self._transaction.rows(
            "SELECT ledger.file, t.target, coalesce(ledger.place, ledger.file) FROM ledger JOIN targets AS t "
            "ON t.id = ledger.target WHERE ledger.job IN (SELECT job FROM jobs) AND t.naming <> '' "
            "AND ledger.status = 'done' AND ledger.file = ANY(%s) ORDER BY t.id",
            (fitting(files),),
        )
        found: dict[str, str] = {}
        for file, folder, name in rows:
            found.setdefault(file, f"{folder}/{name}")
        return found

    def done_versions(self, job: str, files: Sequence[str]) -> dict[str, str]:
        sql = "SELECT file, basis FROM ledger WHERE job = %s AND basis IS NOT NULL AND file = ANY(%s)"
        return dict(self._transaction.rows(sql, (job, fitting(files))))

    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        return were_given(self._transaction, places)

    def others(self, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
        return others_at(self._transaction, places)

    def replaced(self, job: str, files: Sequence[str]) -> set[str]:
        sql = "SELECT file FROM ledger WHERE job = %s AND replaced_by IS NOT NULL AND file = ANY(%s)"
        return {str(file) for (file,) in self._transaction.rows(sql, (job, fitting(files)))}

    def elsewhere(self, job: str, pointing: Pointing) -> tuple[Elsewhere, ...]:
        return count_elsewhere(self._transaction, job, pointing)

    def entries(self, job: str, statuses: Sequence[str]) -> list[LedgerEntry]:
        for status in statuses:
            if status not in STATUSES:
                raise JobError(f"{status!r} is no status of a file; there are {', '.join(STATUSES)}")
        rows = self._transaction.rows(f"{_ENTRY} WHERE job = %s AND status = ANY(%s)", (job, list(statuses)))
        return sorted(
            map(entry_of, rows),
            key=lambda entry: (-(entry.settled_at.timestamp() if entry.settled_at else 0), entry.file),
        )

    def entry(self, job: str, file: str) -> LedgerEntry | None:
        rows = self._transaction.rows(f"{_ENTRY} WHERE job = %s AND file = ANY(%s)", (job, fitting([file])))
        return entry_of(rows[0]) if rows else None

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
        wanted = {"job = %s": job, "file = %s": file}
        conditions = [text for text, value in wanted.items() if value is not None]
        parameters: list[Any] = [value for value in wanted.values() if value is not None]
        if run_id is not None:
            # A range, which the index serves; no id has a character behind this one.
            conditions += ["run_id >= %s", "run_id < %s"]
            parameters += [run_id, run_id + "\U0010ffff"]
        if len(encodable(parameters)) < len(parameters) or any("\0" in text for text in parameters):
            return []
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        rows = self._transaction.rows(
            "SELECT job, file, status, run_id, worker, started_at, ended_at, error_type, error_message, bytes "
            f"FROM attempts {where}ORDER BY id DESC LIMIT %s",
            (*parameters, limit),
        )
        return [
            Attempt(job, file, status, run, worker, moment(started), moment(ended), kind, message, size)
            for job, file, status, run, worker, started, ended, kind, message, size in rows
        ]

    def done_by(self, job: str, run_id: str) -> list[str]:
        rows = self._transaction.rows(
            "SELECT DISTINCT file FROM attempts WHERE run_id = %s AND job = %s AND status = 'done'", (run_id, job)
        )
        return [str(file) for (file,) in rows]

    def done_since(self, job: str, attempt: int) -> list[str]:
        rows = self._transaction.rows(
            "SELECT DISTINCT file FROM attempts WHERE id > %s AND job = %s AND status = 'done'", (attempt, job)
        )
        return [str(file) for (file,) in rows]

    def last_attempt(self) -> int:
        (last,) = self._transaction.one("SELECT coalesce(max(id), 0) FROM attempts")
        return int(last)

    def ended_since(self, job: str, attempt: int, failures: int) -> Ended:
        which = (attempt, job, list(ENDS))
        counted = self._transaction.rows(
            "SELECT status, count(*), coalesce(sum(bytes), 0)::bigint FROM attempts "
            f"WHERE id IN ({_LAST}) GROUP BY status",
            which,
        )
        failed = self._transaction.rows(
            "SELECT a.file, a.status, a.error_type, a.error_message, coalesce(l.attempts, 1) FROM attempts AS a "
            f"LEFT JOIN ledger AS l ON l.job = a.job AND l.file = a.file WHERE a.id IN ({_LAST}) "
            "AND a.status IN ('failed', 'dead') ORDER BY a.id LIMIT %s",
            (*which, failures),
        )
        return Ended(
            {status: files for status, files, _ in counted},
            sum(size for _, _, size in counted),
            tuple(EndedFile(*row) for row in failed),
        )

    def oldest_pending(self, job: str) -> datetime | None:
        sql = "SELECT min(selected_at) FROM ledger WHERE job = %s AND status = 'pending'"
        oldest = moment(self._transaction.one(sql, (job,))[0])
        return None if oldest is None else oldest - self._ahead

    def hosts(self) -> dict[str, Closed]:
        return by_the_clock_of(read_hosts(self._transaction), -self._ahead)

    def waiting(self, job: str) -> list[Waiting]:
        rows = self._transaction.rows(
            "SELECT error_message, count(*), min(due) FROM ledger "
            "WHERE job = %s AND status = 'failed' AND error_type = %s GROUP BY error_message ORDER BY 3, 1",
            (job, POSTPONED),
        )
        return [
            Waiting(text, files, datetime.fromtimestamp(due, timezone.utc) - self._ahead) for text, files, due in rows
        ]

    def set_aside(self, job: str) -> dict[str, int]:
        rows = self._transaction.rows(
            "SELECT error_type, count(*) FROM ledger WHERE job = %s AND status = 'skipped' GROUP BY error_type", (job,)
        )
        return {reason: count for reason, count in rows if reason is not None}

    def set_aside_since(self, job: str, reason: str, since: datetime) -> int:
        (count,) = self._transaction.one(
            "SELECT count(*) FROM ledger WHERE job = %s AND status = 'skipped' AND error_type = %s AND settled_at >= %s",
            (job, reason, to_text(since + self._ahead)),
        )
        return int(count)

    def targets(self, job: str) -> list[str]:
        rows = self._transaction.rows("SELECT DISTINCT target FROM targets WHERE job = %s ORDER BY 1", (job,))
        return [str(target) for (target,) in rows]

    def renaming(self) -> tuple[str, str] | None:
        return renaming_of(self._transaction)

    def miscounts(self) -> list[tuple[str, str]]:
        kept = self._counted(
            "SELECT job, status, sum(files)::bigint FROM ledger_counts GROUP BY job, status HAVING sum(files) <> 0"
        )
        real = self._counted("SELECT job, status, count(*) FROM ledger GROUP BY job, status")
        return differences(kept, real)

    def _counted(self, sql: str) -> dict[tuple[str, str], int]:
        return {(job, status): count for job, status, count in self._transaction.rows(sql)}
