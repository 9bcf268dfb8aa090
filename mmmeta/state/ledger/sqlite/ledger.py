"""One job's part of the ledger in a transaction of the state db: what it is told, and what people ask for.

What workers do with it is in ``claims``, what becomes of rows when files change in ``offers``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache

from mmmeta.clock import from_text, to_text
from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.outcomes import Adopted, Candidate, Place, Pointing
from mmmeta.state.ledger.payloads import Teller
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.rules import (
    DISMISSED,
    HISTORY_DAYS,
    HISTORY_KEPT,
    REASONS,
    SAME,
    JobRules,
    latest_due,
    rules_from,
)
from mmmeta.state.ledger.sqlite.claims import SqliteClaims
from mmmeta.state.ledger.sqlite.hosts import forget_hosts, note_hosts
from mmmeta.state.ledger.sqlite.names import end_renaming, forget_job, rename_job
from mmmeta.state.ledger.sqlite.tables import PLACE
from mmmeta.state.ledger.store import Current, KnownJob, Offered
from mmmeta.values import RESERVED_PREFIX

_ADOPTABLE = (
    "status = 'pending'",
    "status = 'failed'",
    "status = 'dead'",
    f"status = 'skipped' AND error_type = '{SAME}' AND meant AND NOT deleted",
)
"""SQL over ``ledger``: what may be taken for done."""


class SqliteLedger(SqliteClaims):
    """One job's part of the ledger; see ``SqliteClaims`` for how it is made."""

    # What the selection means

    def known(self) -> KnownJob | None:
        row = self._connection.execute(
            "SELECT selection, rules, fingerprint, evaluated, evaluated_at FROM jobs WHERE job = ?", (self.rules.name,)
        ).fetchone()
        if row is None:
            return None
        return KnownJob(rules_from(self.rules.name, *row[:3]), row[3], from_text(row[4]))

    def under(self, rules: JobRules) -> SqliteLedger:
        return SqliteLedger(self._connection, rules, self._workers, self._now)

    def offer(
        self,
        candidates: Iterable[Candidate],
        up_to: int | None,
        *,
        whole: bool = False,
        teller: Teller | None = None,
    ) -> Offered:
        rules = self.rules
        row = self._connection.execute("SELECT rules FROM jobs WHERE job = ?", (rules.name,)).fetchone()
        redefined = up_to is not None and row is not None and row[0] != rules.rules
        if row is None and not self._has_rows():
            offered = self._offers.first(candidates)
        elif candidates or redefined:
            offered = self._offers.take(candidates, whole=whole, redefined=redefined)
        else:
            offered = Offered()
        if up_to is None:
            return offered
        self._connection.execute(
            "INSERT INTO jobs (job, selection, rules, selection_fingerprint, fingerprint, evaluated, evaluated_at) "
            "VALUES (?1, ?2, ?3, ?2, ?4, ?5, ?6) ON CONFLICT (job) DO UPDATE SET selection = ?2, rules = ?3, "
            "selection_fingerprint = ?2, fingerprint = ?4, evaluated = ?5, evaluated_at = ?6 WHERE evaluated <> ?5 "
            "OR fingerprint <> ?4 OR selection <> ?2 OR rules <> ?3 OR ?7",
            (
                rules.name,
                rules.selection,
                rules.rules,
                rules.fingerprint,
                up_to,
                self._stamp,
                # Where time has brought nothing in, nothing is written: the next evaluation looks at a longer time.
                offered.selected > 0,
            ),
        )
        return offered

    def _has_rows(self) -> bool:
        sql = "SELECT EXISTS (SELECT 1 FROM ledger WHERE job = ?)"
        return bool(self._connection.execute(sql, (self.rules.name,)).fetchone()[0])

    def redefine(self, known: JobRules, current: Current) -> None:
        self._offers.redefine(known, current)

    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        note_hosts(self._connection, news, self._now.timestamp())

    # What people ask for

    def retry(self, *, dead: bool, files: Sequence[str] | None) -> int:
        again = (
            "SET status = 'pending', attempts = 0, token = token + 1, due = NULL, "
            "asked = CASE WHEN status = 'done' THEN token + 1 ELSE asked END, "
            "error_type = CASE WHEN status = 'skipped' THEN NULL ELSE error_type END, "
            # It waits since it was asked for, not since it was first selected.
            "selected_at = CASE WHEN status = 'failed' THEN selected_at ELSE ? END WHERE job = ?"
        )
        forget_hosts(self._connection)
        name = self.rules.name
        if files is None:
            count = sum(
                self._connection.execute(
                    f"UPDATE ledger INDEXED BY ledger_{status} {again} AND status = '{status}'", (self._stamp, name)
                ).rowcount
                for status in (("failed", "dead") if dead else ("failed",))
            )
            self._offers.regroup()
            return count
        count = sum(
            self._connection.execute(
                f"UPDATE ledger {again} AND file = ? AND (+status IN ('failed', 'dead') "
                "OR (+status = 'done' AND NOT deleted) OR (+status = 'skipped' AND error_type = ? AND NOT deleted))",
                (self._stamp, name, file, DISMISSED),
            ).rowcount
            for file in files
        )
        self._offers.regroup()
        return count

    def dismiss(self, files: Sequence[str] | None) -> int:
        which = [] if files is None else sorted(set(files))
        scopes = [("", ())] if files is None else [(" AND file = ?", (file,)) for file in which]
        count = sum(self._dismiss(scope, parameters) for scope, parameters in scopes)
        self._offers.regroup()
        return count

    def _dismiss(self, scope: str, parameters: tuple[str, ...]) -> int:
        where = f"WHERE job = ? AND status = 'dead'{scope}"
        self._connection.execute(
            "INSERT INTO attempts (job, file, token, started_at, ended_at, status, error_type, error_message) "
            f"SELECT job, file, token + 1, ?, ?, 'dismissed', error_type, error_message FROM ledger {where} ORDER BY file",
            (self._stamp, self._stamp, self.rules.name, *parameters),
        )
        return self._connection.execute(
            "UPDATE ledger SET status = 'skipped', error_type = ?, error_message = ?, token = token + 1, due = NULL, "
            # What failed to be undone is dismissed only while it is deleted: if it comes back it is to be done anew.
            "tried = CASE WHEN retract THEN NULL ELSE tried END, retract = 0, run_id = NULL, settled_at = ? "
            f"{where}",
            (DISMISSED, REASONS[DISMISSED], self._stamp, self.rules.name, *parameters),
        ).rowcount

    def adopt(self, files: Mapping[str, Place | None]) -> Adopted:
        connection, name = self._connection, self.rules.name
        taken = self._taken_among(files)
        self._places.ended(files)  # nothing is written there
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS adopted (file TEXT PRIMARY KEY, target INTEGER, place TEXT, mark TEXT, "
            "taken INTEGER)"
        )
        connection.execute("DELETE FROM temp.adopted")
        connection.executemany(
            "INSERT INTO temp.adopted VALUES (?, ?, ?, ?, ?)",
            [
                (
                    file,
                    *((None, None) if place is None else self._places.stored(place, file)),
                    None if place is None else place.mark,
                    file in taken,
                )
                for file, place in files.items()
            ],
        )
        which = (
            f"job = ? AND (({') OR ('.join(_ADOPTABLE)})) AND NOT retract "
            "AND file IN (SELECT file FROM temp.adopted WHERE NOT taken)"
        )
        self._remember_older(which, files)
        connection.execute(
            "INSERT INTO attempts (job, file, token, started_at, ended_at, status) "
            f"SELECT job, file, token + 1, ?, ?, 'adopted' FROM ledger WHERE {which} ORDER BY file",
            (self._stamp, self._stamp, name),
        )
        adopted = connection.execute(
            "UPDATE ledger SET status = 'done', basis = wanted, tried = wanted, once_basis = once, once_tried = once, attempts = 0, token = token + 1, "
            "due = NULL, run_id = NULL, error_type = NULL, error_message = NULL, error_lines = NULL, settled_at = ?, "
            "replaced_by = NULL, (target, place, mark) = (SELECT a.target, a.place, a.mark FROM temp.adopted AS a "
            "WHERE a.file = ledger.file) "
            f"WHERE {which}",
            (self._stamp, name),
        ).rowcount
        self._offers.regroup()
        statuses = connection.execute(
            "SELECT ledger.status, count(*) FROM temp.adopted LEFT JOIN ledger ON ledger.job = ? "
            "AND ledger.file = temp.adopted.file GROUP BY 1",
            (name,),
        ).fetchall()
        strangers = connection.execute(
            "SELECT file FROM temp.adopted WHERE file NOT IN (SELECT file FROM ledger WHERE job = ?) ORDER BY rowid",
            (name,),
        ).fetchall()
        return Adopted(
            named=sum(count for _, count in statuses),
            adopted=adopted,
            statuses={status: count for status, count in statuses if status is not None},
            strangers=tuple(file for (file,) in strangers),
        )

    def _remember_older(self, which: str, files: Mapping[str, Place | None]) -> None:
        """Note what earlier versions of files that are adopted have left at other places."""
        rows = self._connection.execute(
            f"SELECT file, {PLACE} FROM ledger WHERE {which} AND target IS NOT NULL", (self.rules.name,)
        ).fetchall()
        for file, *at in rows:
            before, now = read_place(at, file), files[file]
            if before is not None and not (now is not None and before.is_at(now)):
                self._places.remember_older(file, before)

    def forget(self) -> int:
        return forget_job(self._connection, self.rules.name)

    def rename(self, new: str) -> int:
        return rename_job(self._connection, self.rules.name, new, self._workers)

    def end_renaming(self) -> None:
        end_renaming(self._connection)

    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        return self._places.files_elsewhere(pointing)

    def accept_elsewhere(self, pointing: Pointing) -> int:
        count = len(self._places.files_elsewhere(pointing))
        self._places.accept(pointing)
        return count

    def trim_history(self) -> None:
        self._places.trim()
        before = to_text(self._now - timedelta(days=HISTORY_DAYS))
        first = "SELECT id, ended_at FROM attempts ORDER BY id LIMIT 1"
        row = self._connection.execute(first).fetchone()
        (last,) = self._connection.execute("SELECT max(id) FROM attempts").fetchone()
        while row is not None and row[0] <= last - HISTORY_KEPT and row[1] < before:
            # The oldest come first, so nothing is read that stays.
            deleted = self._connection.execute(
                "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts ORDER BY id LIMIT 1000) AND ended_at < ? AND id <= ?",
                (before, last - HISTORY_KEPT),
            ).rowcount
            row = self._connection.execute(first).fetchone() if deleted else None

    def due(self) -> list[str]:
        rows = self._connection.execute(
            "SELECT file FROM ledger INDEXED BY ledger_pending WHERE job = ?1 AND status = 'pending' "
            "UNION ALL SELECT file FROM ledger INDEXED BY ledger_failed WHERE job = ?1 AND status = 'failed' AND due <= ?2 "
            "UNION ALL SELECT file FROM ledger INDEXED BY ledger_failed WHERE job = ?1 AND status = 'failed' AND due > ?3",
            (self.rules.name, self._now.timestamp(), latest_due(self._now)),
        )
        return [str(file) for (file,) in rows]

    def adoptable(self) -> list[str]:
        return [
            str(file)
            for which in _ADOPTABLE
            for (file,) in self._connection.execute(
                f"SELECT file FROM ledger WHERE job = ? AND {which} AND NOT retract", (self.rules.name,)
            )
        ]


def note_saved(connection: sqlite3.Connection, keys: Collection[str], revision: int) -> bool:
    """After a client has set these keys of a file, in the same transaction: whether a job has to look at it.

    The others, if they were up to date, stay so: somebody who marks files all day shall not have every job evaluated for it.

    Args:
        revision: the state revision that the save has taken.
    """
    rows = connection.execute("SELECT job, selection, rules, evaluated FROM jobs").fetchall()
    unconcerned = [
        job
        for job, selection, rules, evaluated in rows
        if evaluated == revision - 1 and not _concern(keys, selection, rules)
    ]
    connection.execute(
        f"UPDATE jobs SET evaluated = ? WHERE job IN ({', '.join('?' * len(unconcerned))})", (revision, *unconcerned)
    )
    return len(unconcerned) < len(rows)


def _concern(keys: Collection[str], selection: str, rules: str) -> bool:
    """Whether a job with this selection and these rules asks for one of the keys."""
    asked = _asked_keys(selection, rules)
    # What mmmeta itself keeps of a file, such as when it was saved, changes with every save.
    return not asked.isdisjoint(keys) or any(key.startswith(RESERVED_PREFIX) for key in asked)


@lru_cache(maxsize=256)
def _asked_keys(selection: str, rules: str) -> frozenset[str]:
    return rules_from("", selection, rules, "").asked_keys
