"""What becomes of a file's row when the file did: the only place where rows change their status by themselves.

What is told of files is first written into their rows, those of claimed files too. Then rows are looked at: every change
of status follows from a row's own columns. A file that leaves a worker's hands is looked at in the same way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.state.ledger.outcomes import Candidate
from mmmeta.state.ledger.places import GONE
from mmmeta.state.ledger.rules import ACTION, DELETED, DISMISSED, LEFT, REASONS, SAME, JobRules
from mmmeta.state.ledger.sqlite.once import GROUPS, IS_WAITED_FOR, Groups
from mmmeta.state.ledger.sqlite.tables import counted_at_once
from mmmeta.state.ledger.store import Current, Offered

OFFERED = (
    "CREATE TEMP TABLE IF NOT EXISTS offered (file TEXT PRIMARY KEY NOT NULL, priority, wanted TEXT NOT NULL, content TEXT, "
    "rev INTEGER, deleted INTEGER NOT NULL, meant INTEGER NOT NULL, once TEXT, news INTEGER NOT NULL DEFAULT 1)"
)
"""The candidates of one offer; ``news`` says whether they tell the ledger anything."""

_COLUMNS = "file, priority, wanted, content, rev, deleted, meant, once"

_NEW_COLUMNS = f"job, status, selected_at, token, asked, {_COLUMNS}"

_ROWS_AT_ONCE = 100
"""Rows in one statement."""

_ASIDE = "SET status = 'skipped', error_type = ?, error_message = ?, error_lines = NULL, due = NULL, settled_at = ?"


class _Scope(NamedTuple):
    """A condition over ``ledger``: which rows are looked at."""

    sql: str
    parameters: tuple[str, ...] = ()


_NEWS = _Scope("file IN (SELECT file FROM temp.offered WHERE news)")
_ALL = _Scope("1")
_GROUPS = _Scope(GROUPS)


class Offers:
    """The rows of one job, inside the caller's transaction.

    Args:
        stamp: the present moment, as the state db writes it.
    """

    def __init__(self, connection: sqlite3.Connection, rules: JobRules, stamp: str) -> None:
        self._connection = connection
        self._rules = rules
        self._job = rules.name
        self._stamp = stamp
        self._groups = Groups(connection, rules, stamp)

    def first(self, candidates: Iterable[Candidate]) -> Offered:
        """Take in candidates of a job that has no rows yet; they need no looking at."""
        parameters = (self._job, self._stamp, self._token_base())
        rows = ((*candidate[:5], candidate.once) for candidate in candidates if candidate.meant)
        # Many rows a statement: a statement costs more than a row.
        with counted_at_once(self._connection, self._job, "pending"):
            for chunk in in_chunks(rows, _ROWS_AT_ONCE):
                self._connection.execute(_insert_rows(len(chunk)), (*parameters, *chain.from_iterable(chunk)))
        same, _ = self._look_at_groups(_ALL)
        return Offered(selected=self._count("pending"), same=same)

    def take(self, candidates: Iterable[Candidate], *, whole: bool, redefined: bool) -> Offered:
        """Take in candidates of a job that has rows.

        Args:
            whole: what waits and is not among those that are meant leaves the selection.
            redefined: look at all rows, for the rules are others.
        """
        self._stage(candidates)
        looked = _ALL if redefined else _NEWS
        if self._groups.are_asked_for:
            self._groups.begin()
            self._groups.touch(looked.sql)  # the groups that files leave
        self._write()
        self._keep(looked)
        before = self._count("pending")
        self._connection.execute(
            f"INSERT OR IGNORE INTO ledger ({_NEW_COLUMNS}) SELECT ?1, 'pending', ?2, ?3, ?3, {_COLUMNS} "
            "FROM temp.offered WHERE news AND meant",
            (self._job, self._stamp, self._token_base()),
        )
        self._ask_again(looked)
        selected = self._count("pending") - before
        retract = self._retract(looked)
        left = self._drop(looked) + (self._drop_unmeant() if whole else 0)
        before = self._count("pending")
        same, undo = self._look_at_groups(_ALL if whole else looked, begin=False)
        # Neither is what is to be undone now, or not yet.
        selected = max(0, selected + self._count("pending") - before - undo)
        return Offered(selected, left, retract + undo, self._done_unmeant() if whole else 0, same)

    def look_again(self, files: Sequence[str]) -> None:
        """Look at files that were claimed until now."""
        for chunk in in_chunks(files, PER_STATEMENT):
            scope = _Scope(f"file IN ({', '.join('?' * len(chunk))})", tuple(chunk))
            self._keep(scope)
            self._ask_again(scope)
            self._retract(scope)
            self._drop(scope)
        self.settled(files)

    def settled(self, files: Sequence[str]) -> None:
        """Files have left a worker's hands: look at those that are the same document, if the job asks for that."""
        if self._groups.are_asked_for:
            for chunk in in_chunks(files, PER_STATEMENT):
                self._look_at_groups(_Scope(f"file IN ({', '.join('?' * len(chunk))})", tuple(chunk)))

    def regroup(self) -> None:
        """A person has decided something: look at all files that are the same document."""
        self._look_at_groups(_ALL)

    def _look_at_groups(self, scope: _Scope, *, begin: bool = True) -> tuple[int, int]:
        """How many files are newly set aside because another stands for them, and how many more are to be undone now that
        their document was done with another file; fewer where another file came that has it and was not done."""
        if not self._groups.are_asked_for:
            return 0, 0
        if begin:
            self._groups.begin()
        self._groups.touch(scope.sql, scope.parameters)
        same = self._groups.settle()
        waits = self._keep(_GROUPS, IS_WAITED_FOR)
        return same, self._retract(_GROUPS) - waits

    def redefine(self, known: JobRules, current: Current) -> None:
        """Write the versions of all files, or their priorities, as changed rules see them."""
        rules = self._rules
        if rules.once_per != known.once_per:
            self._connection.executemany(
                "UPDATE ledger SET once = ?1, once_tried = ?1, once_basis = CASE WHEN status = 'done' THEN ?1 END "
                "WHERE job = ?2 AND file = ?3",
                ((file.once, self._job, file.file) for file in self._current("1", current)),
            )
        if not rules.compares_as(known):
            sql = (
                "UPDATE ledger SET wanted = ?1, content = ?2, rev = ?3, priority = ?4, "
                "basis = CASE WHEN status = 'done' THEN ?1 ELSE basis END, "
                "tried = CASE WHEN status IN ('done', 'failed', 'dead') OR (status = 'skipped' AND error_type = ?8 "
                "AND tried IS wanted) THEN ?1 ELSE tried END, "
                # A version that was tried under the old rules is another one under the new.
                "attempts = CASE WHEN status = 'pending' AND NOT retract AND ?5 THEN 0 ELSE attempts END "
                "WHERE job = ?6 AND file = ?7"
            )
            self._connection.executemany(
                sql,
                (
                    (file.wanted, file.content, file.rev, file.priority, file.meant, self._job, file.file, DISMISSED)
                    for file in self._current("1", current)
                ),
            )
        elif rules.order_by != known.order_by:
            self._connection.executemany(
                "UPDATE ledger SET priority = ? WHERE job = ? AND file = ?",
                (
                    (file.priority, self._job, file.file)
                    for file in self._current("status NOT IN ('done', 'skipped')", current)
                ),
            )

    def _current(self, condition: str, current: Current) -> Iterator[Candidate]:
        names = [
            str(name)
            for (name,) in self._connection.execute(
                f"SELECT file FROM ledger WHERE job = ? AND {condition}", (self._job,)
            )
        ]
        for chunk in in_chunks(names, PER_STATEMENT):
            yield from current(chunk)

    # What is told, into the rows

    def _stage(self, candidates: Iterable[Candidate]) -> None:
        """Write candidates into ``temp.offered``, and mark those that tell nothing new."""
        self._connection.execute(OFFERED)
        self._connection.execute("DELETE FROM temp.offered")
        self._connection.executemany(
            f"INSERT OR IGNORE INTO temp.offered ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", candidates
        )
        self._connection.execute(
            "UPDATE temp.offered SET news = 0 WHERE EXISTS (SELECT 1 FROM ledger WHERE job = ? AND file = offered.file "
            "AND ledger.wanted = offered.wanted AND ledger.deleted = offered.deleted AND ledger.meant = offered.meant "
            "AND (ledger.priority IS offered.priority OR NOT offered.meant) AND ledger.status <> 'skipped' "
            "AND ledger.once IS offered.once)",
            (self._job,),
        )

    def _write(self) -> None:
        """Note the version that counts, also of what is in somebody's hands or done long ago."""
        # A document of a deleted file may have been removed by anybody: a file that is back is looked for, and done.
        self._connection.execute(
            "UPDATE ledger SET basis = ?1 WHERE job = ?2 AND file IN (SELECT file FROM temp.offered WHERE news AND NOT deleted) "
            "AND deleted AND NOT retract AND +status = 'done' "
            "AND target IN (SELECT id FROM targets WHERE job = ?2 AND naming <> '')",
            (GONE, self._job),
        )
        self._connection.execute(
            "UPDATE ledger SET (wanted, content, rev, deleted, meant, once, priority) = (SELECT offered.wanted, "
            "offered.content, offered.rev, offered.deleted, offered.meant, offered.once, "
            "CASE WHEN offered.meant THEN offered.priority ELSE ledger.priority END "
            f"FROM temp.offered WHERE offered.file = ledger.file) WHERE job = ? AND {_NEWS.sql}",
            (self._job,),
        )

    # What follows from the rows. The plus before a status keeps SQLite from reading all that have it.

    def _keep(self, scope: _Scope, back: str | None = None) -> int:
        """Let be what was to be undone, where the file is back or deletions are ignored by now; it is done as before.

        Args:
            back: SQL over ``ledger`` for another reason.
        """
        back = back or ("NOT deleted" if self._rules.on_delete == ACTION else "1")
        return self._connection.execute(
            "UPDATE ledger SET status = CASE WHEN basis IS NULL THEN 'skipped' ELSE 'done' END, retract = 0, attempts = 0, "
            f"token = token + 1, due = NULL WHERE job = ? AND {scope.sql} AND retract AND +status <> 'claimed' AND ({back})",
            (self._job, *scope.parameters),
        ).rowcount

    def _ask_again(self, scope: _Scope) -> None:
        """Make pending what the selection means in a version that was not processed so already."""
        self._connection.execute(
            "UPDATE ledger SET status = CASE WHEN status = 'skipped' AND basis IS wanted THEN 'done' ELSE 'pending' END, "
            "attempts = 0, token = CASE WHEN status = 'pending' THEN token ELSE token + 1 END, "
            # A file that changed waits since now, not since it was first selected.
            "selected_at = CASE WHEN status = 'pending' THEN selected_at ELSE ? END, "
            "error_type = CASE WHEN status = 'skipped' THEN NULL ELSE error_type END, "
            "error_message = CASE WHEN status = 'skipped' THEN NULL ELSE error_message END, due = NULL "
            f"WHERE job = ? AND {scope.sql} AND NOT retract AND NOT deleted AND meant AND ("
            "(+status = 'skipped' AND NOT (error_type IS ? AND tried IS wanted) "
            # Of these it is said with their group.
            "AND NOT (error_type IS ? AND once IS NOT NULL)) "
            "OR (+status = 'pending' AND attempts > 0 AND tried IS NOT wanted) "
            "OR (+status = 'done' AND basis IS NOT wanted) OR (+status IN ('failed', 'dead') AND tried IS NOT wanted))",
            (self._stamp, self._job, *scope.parameters, DISMISSED, SAME),
        )

    def _retract(self, scope: _Scope) -> int:
        """Make pending, to be undone, what was done with files that are deleted now, and what is left of it anyhow: a worker
        died while it did or undid it."""
        if self._rules.on_delete != ACTION:
            return 0
        waits = f"AND NOT ({IS_WAITED_FOR}) " if self._groups.are_asked_for else ""
        return self._connection.execute(
            "UPDATE ledger SET status = 'pending', retract = 1, attempts = 0, token = token + 1, due = NULL, "
            "selected_at = ?, error_type = NULL, error_message = NULL, error_lines = NULL "
            f"WHERE job = ? AND {scope.sql} AND deleted AND NOT retract AND +status <> 'claimed' {waits}AND (basis IS NOT NULL "
            "OR (+status <> 'skipped' AND (target IS NOT NULL OR EXISTS (SELECT 1 FROM older_places AS o "
            "WHERE o.job = ledger.job AND o.file = ledger.file))))",
            (self._stamp, self._job, *scope.parameters),
        ).rowcount

    def _drop(self, scope: _Scope) -> int:
        """Set aside what was deleted before its turn."""
        return self._connection.execute(
            f"UPDATE ledger {_ASIDE} WHERE job = ? AND {scope.sql} AND deleted AND NOT retract "
            "AND +status IN ('pending', 'failed', 'dead')",
            (DELETED, REASONS[DELETED], self._stamp, self._job, *scope.parameters),
        ).rowcount

    def _drop_unmeant(self) -> int:
        """After a change of the selection, set aside what it does not mean."""
        unmeant = "file NOT IN (SELECT file FROM temp.offered WHERE meant)"
        self._connection.execute(
            f"UPDATE ledger INDEXED BY ledger_claimed SET meant = 0 WHERE job = ? AND status = 'claimed' AND {unmeant}",
            (self._job,),
        )
        # Nobody was to do these, and they stay set aside.
        self._connection.execute(
            f"UPDATE ledger INDEXED BY ledger_skipped {_ASIDE}, meant = 0 WHERE job = ? AND status = 'skipped' "
            f"AND error_type = ? AND {unmeant}",
            (LEFT, REASONS[LEFT], self._stamp, self._job, SAME),
        )
        return sum(
            self._connection.execute(
                f"UPDATE ledger INDEXED BY ledger_{status} {_ASIDE}, meant = 0 WHERE job = ? AND status = '{status}' "
                f"AND NOT retract AND {unmeant}",
                (LEFT, REASONS[LEFT], self._stamp, self._job),
            ).rowcount
            for status in ("pending", "failed", "dead")
        )

    def _done_unmeant(self) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM ledger WHERE job = ? AND status = 'done' AND NOT deleted "
            "AND file NOT IN (SELECT file FROM temp.offered WHERE meant)",
            (self._job,),
        ).fetchone()
        return int(count)

    def _count(self, status: str) -> int:
        row = self._connection.execute(
            "SELECT files FROM ledger_counts WHERE job = ? AND status = ?", (self._job, status)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _token_base(self) -> int:
        (base,) = self._connection.execute("SELECT value FROM info WHERE name = 'token_base'").fetchone()
        return int(base)


@lru_cache(maxsize=2)
def _insert_rows(count: int) -> str:
    """The statement that inserts so many new rows: ?1 to ?3 are the job, the moment and the token, then six a row."""
    rows = ([f"?{4 + 6 * row + column}" for column in range(6)] for row in range(count))
    values = ", ".join(f"(?1, 'pending', ?2, ?3, ?3, {', '.join(row[:5])}, 0, 1, {row[5]})" for row in rows)
    return f"INSERT OR IGNORE INTO ledger ({_NEW_COLUMNS}) VALUES {values}"
