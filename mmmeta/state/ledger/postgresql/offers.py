"""What becomes of a file's row in PostgreSQL when the file did; as ``sqlite.offers``, where it is told why.

What is told of files comes by COPY into a table of the session, is written into their rows, and then rows are looked at: every
change of status follows from a row's own columns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mmmeta.chunks import in_chunks
from mmmeta.masking import visible
from mmmeta.state.ledger.outcomes import Candidate
from mmmeta.state.ledger.places import GONE
from mmmeta.state.ledger.postgresql.once import GROUPS, IS_WAITED_FOR, Groups
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import kept, once_key, sort_key, why_unfit
from mmmeta.state.ledger.rules import ACTION, DELETED, DISMISSED, LEFT, REASONS, SAME, JobRules
from mmmeta.state.ledger.store import Current, Offered

_log = logging.getLogger(__name__)

OFFERED = "mmmeta_offered_1"
"""The candidates of one offer, in the order in which they came; ``news`` says whether they tell the ledger anything."""

_CREATE = (
    f'CREATE TEMP TABLE IF NOT EXISTS {OFFERED} (file text COLLATE "C" NOT NULL, priority bytea NOT NULL, '
    "wanted text NOT NULL, content text, rev bigint, deleted boolean NOT NULL, meant boolean NOT NULL, "
    'once text COLLATE "C", news boolean NOT NULL DEFAULT true, place bigint GENERATED ALWAYS AS IDENTITY) '
    "ON COMMIT DELETE ROWS"
)

_COLUMNS = "file, priority, wanted, content, rev, deleted, meant, once"

_TYPES = ("text", "bytea", "text", "text", "int8", "bool", "bool", "text")

_NEW_COLUMNS = f"job, status, selected_at, token, asked, {_COLUMNS}"

_MANY = 1_000
"""Rows from which on the planner is told of them at once, and not when the server comes round to it."""

_AT_ONCE = 5_000

_ASIDE = "SET status = 'skipped', error_type = %s, error_message = %s, error_lines = NULL, due = NULL, settled_at = %s"


class _Scope(NamedTuple):
    """A condition over ``ledger``: which rows are looked at."""

    sql: str
    parameters: tuple[Any, ...] = ()


_NEWS = _Scope(f"file IN (SELECT file FROM {OFFERED} WHERE news)")
_ALL = _Scope("true")
_GROUPS = _Scope(GROUPS)


def _these(files: Sequence[str]) -> _Scope:
    return _Scope("file = ANY(%s)", (list(files),))


class PostgresOffers:
    """The rows of one job, inside the caller's transaction.

    Args:
        stamp: the present moment, as the ledger writes it.
    """

    def __init__(self, transaction: Transaction, rules: JobRules, stamp: str) -> None:
        self._transaction = transaction
        self._rules = rules
        self._job = rules.name
        self._stamp = stamp
        self._groups = Groups(transaction, rules, stamp)

    def first(self, candidates: Iterable[Candidate]) -> Offered:
        """Take in candidates of a job that has no rows yet; they need no looking at."""
        self._stage(candidate for candidate in candidates if candidate.meant)
        count = self._insert_new()
        if count >= _MANY:
            self._transaction.execute("ANALYZE ledger")
        same, _ = self._look_at_groups(_ALL)
        return Offered(selected=self._count("pending"), same=same)

    def take(self, candidates: Iterable[Candidate], *, whole: bool, redefined: bool, is_all: bool = False) -> Offered:
        """Take in candidates of a job that has rows.

        Args:
            whole: what waits and is not among those that are meant leaves the selection.
            redefined: look at all rows, for the rules are others.
            is_all: these are all files that a client knows: what is not among them has vanished at the remote.
        """
        self._stage(candidates)
        if is_all:
            self._stage_vanished()
        news = self._sift()
        if not news and not whole and not redefined:
            return Offered()
        looked = _ALL if redefined else _NEWS
        if self._groups.are_asked_for:
            self._groups.begin()
            self._groups.touch(looked.sql)  # the groups that files leave
        if news:
            self._write()
        self._keep(looked)
        before = self._count("pending")
        if news:
            self._insert_new()
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
        if files:
            scope = _these(files)
            self._keep(scope)
            self._ask_again(scope)
            self._retract(scope)
            self._drop(scope)
        self.settled(files)

    def settled(self, files: Sequence[str]) -> None:
        """Files have left a worker's hands: look at those that are the same document, if the job asks for that."""
        if self._groups.are_asked_for and files:
            self._look_at_groups(_these(files))

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
        by_name = f"FROM {OFFERED} AS o WHERE ledger.job = %s AND ledger.file = o.file"
        if rules.once_per != known.once_per or not rules.compares_as(known):
            self._stage_current("true", current)
            if rules.once_per != known.once_per:
                self._transaction.execute(
                    "UPDATE ledger SET once = o.once, once_tried = o.once, "
                    f"once_basis = CASE WHEN status = 'done' THEN o.once END {by_name}",
                    (self._job,),
                )
            if not rules.compares_as(known):
                self._transaction.execute(
                    "UPDATE ledger SET wanted = o.wanted, content = o.content, rev = o.rev, priority = o.priority, "
                    "basis = CASE WHEN status = 'done' THEN o.wanted ELSE basis END, "
                    "tried = CASE WHEN status IN ('done', 'failed', 'dead') OR (status = 'skipped' AND error_type = %s "
                    "AND tried IS NOT DISTINCT FROM ledger.wanted) THEN o.wanted ELSE tried END, "
                    # A version that was tried under the old rules is another one under the new.
                    "attempts = CASE WHEN status = 'pending' AND NOT retract AND o.meant THEN 0 ELSE attempts END "
                    f"{by_name}",
                    (DISMISSED, self._job),
                )
                return
        if rules.order_by != known.order_by:
            self._stage_current("status NOT IN ('done', 'skipped')", current)
            self._transaction.execute(f"UPDATE ledger SET priority = o.priority {by_name}", (self._job,))

    def _stage_current(self, condition: str, current: Current) -> None:
        names = self._transaction.rows(f"SELECT file FROM ledger WHERE job = %s AND {condition}", (self._job,))
        self._stage(
            candidate for chunk in in_chunks((str(name) for (name,) in names), _AT_ONCE) for candidate in current(chunk)
        )

    # What is told, into the rows

    def _stage(self, candidates: Iterable[Candidate]) -> None:
        """Bring candidates into the session's table, each once; those that cannot be kept are named and left out."""
        self._transaction.execute(_CREATE)
        self._transaction.execute(f"DELETE FROM {OFFERED}")
        self._transaction.copy(f"COPY {OFFERED} ({_COLUMNS}) FROM STDIN", self._rows(candidates), _TYPES)

    def _stage_vanished(self) -> None:
        self._transaction.execute(
            f"INSERT INTO {OFFERED} ({_COLUMNS}) SELECT file, priority, wanted, content, rev, true, false, once FROM ledger "
            f"WHERE job = %s AND NOT deleted AND NOT EXISTS (SELECT 1 FROM {OFFERED} AS o WHERE o.file = ledger.file)",
            (self._job,),
        )

    def _rows(self, candidates: Iterable[Candidate]) -> Iterator[tuple[Any, ...]]:
        for file, priority, wanted, content, rev, deleted, meant, once in candidates:
            reason = why_unfit(file)
            if reason is not None:
                _log.warning(
                    "job %s: the file %s was left out: %s. Let something shorter and plainer identify files (config.yml's "
                    "metadata.unique), or keep the state in SQLite",
                    self._job,
                    visible(repr(file if len(file) <= 80 else file[:80] + "…")),
                    reason,
                )
                continue
            told = kept(wanted) or ""
            yield file, sort_key(priority), told, kept(content), rev, bool(deleted), bool(meant), once_key(once)

    def _sift(self) -> int:
        """Mark candidates that tell nothing new, or came before in this offer; how many tell something."""
        self._transaction.execute(
            f"DELETE FROM {OFFERED} AS later USING {OFFERED} AS o WHERE later.file = o.file AND later.place > o.place"
        )
        self._transaction.execute(
            f"UPDATE {OFFERED} AS o SET news = false FROM ledger WHERE ledger.job = %s AND ledger.file = o.file "
            "AND ledger.wanted = o.wanted AND ledger.deleted = o.deleted AND ledger.meant = o.meant "
            "AND (ledger.priority = o.priority OR NOT o.meant) AND ledger.status <> 'skipped' "
            "AND ledger.once IS NOT DISTINCT FROM o.once",
            (self._job,),
        )
        (count,) = self._transaction.one(f"SELECT count(*) FROM {OFFERED} WHERE news")
        return int(count)

    def _insert_new(self) -> int:
        base = self._token_base()
        return self._transaction.execute(
            f"INSERT INTO ledger ({_NEW_COLUMNS}) SELECT %s, 'pending', %s, %s, %s, {_COLUMNS} FROM {OFFERED} "
            "WHERE news AND meant ORDER BY place ON CONFLICT DO NOTHING",
            (self._job, self._stamp, base, base),
        ).rowcount

    def _write(self) -> None:
        """Note the version that counts, also of what is in somebody's hands or done long ago."""
        # A document of a deleted file may have been removed by anybody: a file that is back is looked for, and done.
        self._transaction.execute(
            f"UPDATE ledger SET basis = %s WHERE job = %s AND file IN (SELECT file FROM {OFFERED} WHERE news AND NOT deleted) "
            "AND deleted AND NOT retract AND status = 'done' "
            "AND target IN (SELECT id FROM targets WHERE job = %s AND naming <> '')",
            (GONE, self._job, self._job),
        )
        self._transaction.execute(
            "UPDATE ledger SET wanted = o.wanted, content = o.content, rev = o.rev, deleted = o.deleted, meant = o.meant, "
            "once = o.once, priority = CASE WHEN o.meant THEN o.priority ELSE ledger.priority END "
            f"FROM {OFFERED} AS o WHERE ledger.job = %s AND ledger.file = o.file AND o.news",
            (self._job,),
        )

    # What follows from the rows

    def _keep(self, scope: _Scope, back: str | None = None) -> int:
        """Let be what was to be undone, where the file is back or deletions are ignored by now; it is done as before.

        Args:
            back: SQL over ``ledger`` for another reason.
        """
        back = back or ("NOT deleted" if self._rules.on_delete == ACTION else "true")
        return self._transaction.execute(
            "UPDATE ledger SET status = CASE WHEN basis IS NULL THEN 'skipped' ELSE 'done' END, retract = false, attempts = 0, "
            f"token = token + 1, due = NULL WHERE job = %s AND {scope.sql} AND retract AND status <> 'claimed' AND ({back})",
            (self._job, *scope.parameters),
        ).rowcount

    def _ask_again(self, scope: _Scope) -> None:
        """Make pending what the selection means in a version that was not processed so already."""
        self._transaction.execute(
            "UPDATE ledger SET status = CASE WHEN status = 'skipped' AND basis IS NOT DISTINCT FROM wanted THEN 'done' "
            "ELSE 'pending' END, "
            "attempts = 0, token = CASE WHEN status = 'pending' THEN token ELSE token + 1 END, "
            # A file that changed waits since now, not since it was first selected.
            "selected_at = CASE WHEN status = 'pending' THEN selected_at ELSE %s END, "
            "error_type = CASE WHEN status = 'skipped' THEN NULL ELSE error_type END, "
            "error_message = CASE WHEN status = 'skipped' THEN NULL ELSE error_message END, due = NULL "
            f"WHERE job = %s AND {scope.sql} AND NOT retract AND NOT deleted AND meant AND ("
            "(status = 'skipped' AND NOT (error_type IS NOT DISTINCT FROM %s AND tried IS NOT DISTINCT FROM wanted) "
            # Of these it is said with their group.
            "AND NOT (error_type IS NOT DISTINCT FROM %s AND once IS NOT NULL)) "
            "OR (status = 'pending' AND attempts > 0 AND tried IS DISTINCT FROM wanted) "
            "OR (status = 'done' AND basis IS DISTINCT FROM wanted) "
            "OR (status IN ('failed', 'dead') AND tried IS DISTINCT FROM wanted))",
            (self._stamp, self._job, *scope.parameters, DISMISSED, SAME),
        )

    def _retract(self, scope: _Scope) -> int:
        """Make pending, to be undone, what was done with files that are deleted now, and what is left of it anyhow: a worker
        died while it did or undid it."""
        if self._rules.on_delete != ACTION:
            return 0
        waits = f"AND NOT {IS_WAITED_FOR} " if self._groups.are_asked_for else ""
        return self._transaction.execute(
            "UPDATE ledger SET status = 'pending', retract = true, attempts = 0, token = token + 1, due = NULL, "
            "selected_at = %s, error_type = NULL, error_message = NULL, error_lines = NULL "
            f"WHERE job = %s AND {scope.sql} AND deleted AND NOT retract AND status <> 'claimed' {waits}"
            "AND (basis IS NOT NULL OR (status <> 'skipped' AND (target IS NOT NULL OR EXISTS "
            "(SELECT 1 FROM older_places AS o WHERE o.job = ledger.job AND o.file = ledger.file))))",
            (self._stamp, self._job, *scope.parameters),
        ).rowcount

    def _drop(self, scope: _Scope) -> int:
        """Set aside what was deleted before its turn."""
        return self._transaction.execute(
            f"UPDATE ledger {_ASIDE} WHERE job = %s AND {scope.sql} AND deleted AND NOT retract "
            "AND status IN ('pending', 'failed', 'dead')",
            (DELETED, REASONS[DELETED], self._stamp, self._job, *scope.parameters),
        ).rowcount

    def _drop_unmeant(self) -> int:
        """After a change of the selection, set aside what it does not mean."""
        unmeant = f"NOT EXISTS (SELECT 1 FROM {OFFERED} AS o WHERE o.file = ledger.file AND o.meant)"
        self._transaction.execute(
            f"UPDATE ledger SET meant = false WHERE job = %s AND status = 'claimed' AND {unmeant}", (self._job,)
        )
        aside = (LEFT, REASONS[LEFT], self._stamp, self._job)
        # Nobody was to do these, and they stay set aside.
        self._transaction.execute(
            f"UPDATE ledger {_ASIDE}, meant = false WHERE job = %s AND status = 'skipped' AND error_type = %s AND {unmeant}",
            (*aside, SAME),
        )
        return self._transaction.execute(
            f"UPDATE ledger {_ASIDE}, meant = false WHERE job = %s AND status IN ('pending', 'failed', 'dead') "
            f"AND NOT retract AND {unmeant}",
            aside,
        ).rowcount

    def _done_unmeant(self) -> int:
        (count,) = self._transaction.one(
            "SELECT count(*) FROM ledger WHERE job = %s AND status = 'done' AND NOT deleted "
            f"AND NOT EXISTS (SELECT 1 FROM {OFFERED} AS o WHERE o.file = ledger.file AND o.meant)",
            (self._job,),
        )
        return int(count)

    def _count(self, status: str) -> int:
        (count,) = self._transaction.one(
            "SELECT coalesce(sum(files), 0)::bigint FROM ledger_counts WHERE job = %s AND status = %s",
            (self._job, status),
        )
        return int(count)

    def _token_base(self) -> int:
        (base,) = self._transaction.one("SELECT value::bigint FROM mmmeta_info WHERE name = 'token_base'")
        return int(base)
