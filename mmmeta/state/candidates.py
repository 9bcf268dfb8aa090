"""Which files a job has before it: the selection, evaluated over what changed and written as ``pending`` rows.

A row stays until it is settled, whatever becomes of the selection: a file that "the last 7 days" have passed by while the
machine was off is still done. Nothing that is done is undone by a change of the definition.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.indexes import make_missing
from mmmeta.catalog.tables import read_info
from mmmeta.clock import to_text
from mmmeta.filters import Compare, Condition, from_json, grows_with_time, to_json, walk
from mmmeta.filters.conditions import condition_keys
from mmmeta.values import RESERVED_PREFIX

log = logging.getLogger(__name__)

CONTENT = "content"
METADATA = "metadata"
NEVER = "never"

SIZE_KEYS = ("size", "file_size", "_file_size", "content_length", "headers:content-length")
"""Where metadata tells how many bytes a document has; the first that a file has counts."""

IGNORE = "ignore"
ACTION = "action"
"""What ``on_delete`` says."""

DELETED = "Deleted"
LEFT = "LeftSelection"
RETRACTED = "Retracted"
"""Why files are set aside, in place of an error's type."""

_ASIDE = "SET status = 'skipped', error_type = ?, error_message = ?, error_lines = NULL, due = NULL, settled_at = ? WHERE job = ?"

REASONS = {
    DELETED: "the file was deleted before it was processed",
    LEFT: "left the selection when the job's definition changed",
    RETRACTED: "the file was deleted, and what the job had done with it was undone",
}


@dataclass(frozen=True)
class JobRules:
    """What the ledger needs to know of a job.

    Attributes:
        rerun_on: ``"content"``, ``"metadata"``, ``"never"``, or the keys whose change makes a file pending again.
        content_key: config.yml's ``metadata.content``.
        attempts: tries before a file is dead.
        backoff: seconds before the second try; doubled for each further one, with jitter.
        on_delete: ``"ignore"``, or ``"action"``: a file that is deleted after it was done is handed to the action.
        fingerprint: of the whole definition, the action included.
        index: make indexes over the keys that the condition selects on.
    """

    name: str
    condition: Condition
    rerun_on: str | tuple[str, ...]
    content_key: str
    attempts: int
    backoff: float
    order_by: str | None
    fingerprint: str
    on_delete: str = IGNORE
    index: bool = True

    @property
    def selection(self) -> str:
        """Canonical JSON of the condition."""
        return json.dumps(to_json(self.condition), sort_keys=True)

    @property
    def rules(self) -> str:
        """Canonical JSON of what else the ledger depends on."""
        rerun_on = self.rerun_on if isinstance(self.rerun_on, str) else list(self.rerun_on)
        return json.dumps(
            {
                "rerun_on": rerun_on,
                "content_key": self.content_key,
                "attempts": self.attempts,
                "backoff": self.backoff,
                "order_by": self.order_by,
                "on_delete": self.on_delete,
            },
            sort_keys=True,
        )


def rules_from(name: str, selection: str, rules: str, fingerprint: str) -> JobRules:
    """The rules of a job as its last run left them in the table ``jobs``."""
    values = json.loads(rules)
    rerun_on = values["rerun_on"]
    return JobRules(
        name=name,
        condition=from_json(json.loads(selection)),
        rerun_on=rerun_on if isinstance(rerun_on, str) else tuple(rerun_on),
        content_key=values["content_key"],
        attempts=values["attempts"],
        backoff=values["backoff"],
        order_by=values["order_by"],
        fingerprint=fingerprint,
        on_delete=values["on_delete"],
    )


class _Scope(NamedTuple):
    """Which files are looked at.

    Attributes:
        files: the table, with the index by which the condition finds its rows; SQLite would rather take one over a key
            that the job selects on, and look at all files that it means.
        changed: a condition over ``files``.
        gone: a condition over ``ledger``, for those of them that are deleted.
        parameters: of either.
    """

    files: str
    changed: str
    gone: str
    parameters: tuple[str | int, ...]


@dataclass(frozen=True)
class Evaluation:
    """What evaluating a selection did.

    Attributes:
        selected: files newly pending.
        left: files set aside unprocessed: deleted, or not meant by a changed definition.
        retract: files that were done and are deleted now, handed to the action.
        changed: whether the definition's selection was another one before.
        indexed: keys over which an index was made.
    """

    selected: int = 0
    left: int = 0
    retract: int = 0
    changed: bool = False
    indexed: tuple[str, ...] = ()


class Selection:
    """One job's selection; every method works inside the caller's transaction of the state db.

    Args:
        now: aware UTC.
    """

    def __init__(self, connection: sqlite3.Connection, catalog: Catalog, rules: JobRules, now: datetime) -> None:
        self._connection = connection
        self._catalog = catalog
        self._rules = rules
        self._stamp = to_text(now)
        self._now = now

    def evaluate(self, state_revision: int) -> Evaluation:
        """Bring the pending rows up to the state revision, and the table ``jobs`` up to the rules."""
        rules = self._rules
        row = self._connection.execute(
            "SELECT selection, rules, evaluated FROM jobs WHERE job = ?", (rules.name,)
        ).fetchone()
        known_selection, known_rules, evaluated = row if row is not None else (rules.selection, rules.rules, 0)
        changed = known_selection != rules.selection
        adopted = known_rules != rules.rules
        new = row is None or changed or adopted
        # A key may get its column with any merge; where nothing is new, nobody has to look.
        indexed = self._index() if new or evaluated < state_revision else ()
        if adopted:
            self._adopt_rules(known_selection, known_rules, evaluated)
        result = Evaluation(changed=changed)
        everything = new or grows_with_time(rules.condition)
        if everything or evaluated < state_revision:
            scope = self._everything() if everything else self._since(evaluated)
            if rules.on_delete == ACTION or adopted:
                self._keep(scope)
            selected = self._select(scope)
            retract = self._retract(scope)
            left = self._drop(scope) + (self._drop_unmeant() if changed else 0)
            result = Evaluation(selected, left, retract, changed, indexed)
        self._connection.execute(
            "INSERT INTO jobs (job, selection, rules, selection_fingerprint, fingerprint, evaluated) "
            "VALUES (?1, ?2, ?3, ?2, ?4, ?5) ON CONFLICT (job) DO UPDATE SET selection = ?2, rules = ?3, "
            "selection_fingerprint = ?2, fingerprint = ?4, evaluated = ?5 WHERE evaluated <> ?5 OR fingerprint <> ?4 "
            "OR selection <> ?2 OR rules <> ?3",
            (rules.name, rules.selection, rules.rules, rules.fingerprint, state_revision),
        )
        return result

    def look_again(self, files: Sequence[str]) -> None:
        """Look at files that were claimed until now: an evaluation leaves what is claimed to its worker, and does not
        come back to what changed meanwhile."""
        for start in range(0, len(files), 500):
            scope = self._named(files[start : start + 500])
            self._keep(scope)
            self._select(scope)
            self._retract(scope)
            self._drop(scope)

    def _index(self) -> tuple[str, ...]:
        """Make the indexes that the selection is in need of; the keys that got one."""
        rules = self._rules
        made = make_missing(self._connection, self._catalog, rules.condition) if rules.index else ()
        if made:
            log.info("job %s: made an index over %s", rules.name, ", ".join(made))
        return made

    def _everything(self) -> _Scope:
        """All files, found as the selection finds them best."""
        return _Scope("files", "1", f"file IN (SELECT {self._catalog.unique_sql} FROM files WHERE files.__deleted)", ())

    def _since(self, revision: int) -> _Scope:
        """What changed after a state revision."""
        gone = f"file IN (SELECT {self._catalog.unique_sql} FROM files WHERE files.__state_rev > ? AND files.__deleted)"
        return _Scope("files INDEXED BY files_state_rev", "files.__state_rev > ?", gone, (revision,))

    def _named(self, files: Sequence[str]) -> _Scope:
        names = f"({', '.join('?' * len(files))})"
        unique = self._catalog.unique_sql
        alive = f"SELECT 1 FROM files WHERE {unique} = ledger.file AND NOT files.__deleted"
        gone = f"file IN {names} AND NOT EXISTS ({alive})"
        return _Scope("files INDEXED BY sqlite_autoindex_files_1", f"{unique} IN {names}", gone, tuple(files))

    def _keep(self, scope: _Scope) -> None:
        """Let be what was to be undone, where the file is back or deletions are ignored by now; it is done as before."""
        ignored = "OR 1" if self._rules.on_delete != ACTION else ""
        self._connection.execute(
            "UPDATE ledger SET status = CASE WHEN basis IS NULL THEN 'skipped' ELSE 'done' END, retract = 0, attempts = 0, "
            "token = token + 1, due = NULL WHERE job = ? AND retract AND +status <> 'claimed' "
            f"AND file IN (SELECT {self._catalog.unique_sql} FROM files WHERE {scope.changed} "
            f"AND (NOT files.__deleted {ignored}))",
            (self._rules.name, *scope.parameters),
        )

    def _select(self, scope: _Scope) -> int:
        """Make pending what the selection finds, where it was not processed so already.

        What is claimed is left to its worker; ``look_again`` follows.
        """
        where, parameters = self._catalog.where(self._rules.condition)
        before = self._count("pending")
        self._connection.execute(
            f"INSERT INTO ledger (job, file, status, priority, tried, selected_at, token, asked) "
            f"SELECT ?, {self._catalog.unique_sql}, 'pending', {self.priority_sql}, {self.basis_sql}, ?, "
            "(SELECT value FROM info WHERE name = 'token_base'), (SELECT value FROM info WHERE name = 'token_base') "
            f"FROM {scope.files} WHERE {scope.changed} AND {where} "
            "ON CONFLICT (job, file) DO UPDATE SET priority = excluded.priority, "
            "status = CASE WHEN status = 'skipped' AND basis IS excluded.tried THEN 'done' ELSE 'pending' END, "
            "attempts = CASE WHEN status = 'pending' AND tried IS excluded.tried THEN attempts ELSE 0 END, "
            "token = CASE WHEN status = 'pending' THEN token ELSE token + 1 END, "
            # A file that changed waits since now, not since it was first selected.
            "selected_at = CASE WHEN status = 'pending' THEN selected_at ELSE excluded.selected_at END, "
            "error_type = CASE WHEN status = 'skipped' THEN NULL ELSE error_type END, "
            "error_message = CASE WHEN status = 'skipped' THEN NULL ELSE error_message END, "
            "due = NULL WHERE NOT retract AND (status = 'skipped' "
            "OR (status = 'pending' AND (priority IS NOT excluded.priority OR (attempts > 0 AND tried IS NOT excluded.tried))) "
            "OR (status = 'done' AND basis IS NOT excluded.tried) "
            "OR (status IN ('failed', 'dead') AND tried IS NOT excluded.tried))",
            (self._rules.name, self._stamp, *scope.parameters, *parameters),
        )
        return max(0, self._count("pending") - before)

    def _retract(self, scope: _Scope) -> int:
        """Make pending, to be undone, what was done with files that are deleted now."""
        if self._rules.on_delete != ACTION:
            return 0
        return self._connection.execute(
            "UPDATE ledger SET status = 'pending', retract = 1, attempts = 0, token = token + 1, due = NULL, "
            "selected_at = ?, error_type = NULL, error_message = NULL, error_lines = NULL "
            "WHERE job = ? AND basis IS NOT NULL AND NOT retract AND status <> 'claimed' "
            f"AND {scope.gone}",
            (self._stamp, self._rules.name, *scope.parameters),
        ).rowcount

    def _drop(self, scope: _Scope) -> int:
        """Set aside what was deleted before its turn."""
        # The plus keeps SQLite from reading all that is pending instead of the few that are gone.
        return self._connection.execute(
            f"UPDATE ledger {_ASIDE} AND +status IN ('pending', 'failed', 'dead') AND NOT retract AND {scope.gone}",
            (DELETED, REASONS[DELETED], self._stamp, self._rules.name, *scope.parameters),
        ).rowcount

    def _drop_unmeant(self) -> int:
        """After a change of the definition, set aside what it does not mean."""
        where, parameters = self._catalog.where(self._rules.condition)
        meant = f"SELECT {self._catalog.unique_sql} FROM files WHERE {where}"
        return sum(
            self._connection.execute(
                f"UPDATE ledger INDEXED BY ledger_{status} {_ASIDE} AND status = '{status}' AND NOT retract "
                f"AND file NOT IN ({meant})",
                (LEFT, REASONS[LEFT], self._stamp, self._rules.name, *parameters),
            ).rowcount
            for status in ("pending", "failed", "dead")
        )

    def done_unmeant(self) -> int:
        """How many files that are done the definition does not mean, deleted ones left out; they stay done."""
        where, parameters = self._catalog.where(self._rules.condition)
        files = f"SELECT {self._catalog.unique_sql} FROM files WHERE"
        (count,) = self._connection.execute(
            "SELECT count(*) FROM ledger WHERE job = ? AND status = 'done' "
            f"AND file IN ({files} NOT files.__deleted) AND file NOT IN ({files} {where})",
            (self._rules.name, *parameters),
        ).fetchone()
        return int(count)

    def _adopt_rules(self, known_selection: str, known_rules: str, evaluated: int) -> None:
        """After a change of ``rerun_on`` or ``order_by``: what is done counts as done in the version that it has now."""
        rules = self._rules
        old = rules_from(rules.name, known_selection, known_rules, rules.fingerprint)
        if (old.rerun_on, old.content_key) != (rules.rerun_on, rules.content_key):
            # What changed under the old rules and was not looked at yet is due; adopting it as done would lose it.
            before = Selection(self._connection, self._catalog, old, self._now)
            before._select(before._since(evaluated))
            current = f"(SELECT {self.basis_sql} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
            self._connection.execute(
                f"UPDATE ledger SET basis = CASE WHEN status = 'done' THEN {current} ELSE basis END, tried = {current} "
                "WHERE job = ? AND status IN ('done', 'failed', 'dead')",
                (rules.name,),
            )
        if old.order_by != rules.order_by:
            priority = f"(SELECT {self.priority_sql} FROM files WHERE {self._catalog.unique_sql} = ledger.file)"
            self._connection.execute(
                f"UPDATE ledger SET priority = {priority} WHERE job = ? AND status NOT IN ('done', 'skipped')",
                (rules.name,),
            )

    def due(self) -> tuple[int, int | None]:
        """How many files are due now, and their bytes, None where no metadata tells of a size."""
        compiler = self._catalog.compiler
        known = [key for key in SIZE_KEYS if self._catalog.knows(key)]
        sizes = [f"CAST({compiler.value(key)} AS INTEGER)" for key in known]
        size = f"sum(coalesce({', '.join([*sizes, 'NULL'])}))" if sizes else "NULL"
        count, total = self._connection.execute(
            f"SELECT count(*), {size} FROM ledger JOIN files ON {self._catalog.unique_sql} = ledger.file "
            "WHERE job = ? AND (status = 'pending' OR (status = 'failed' AND due <= ?))",
            (self._rules.name, self._now.timestamp()),
        ).fetchone()
        return int(count), None if total is None else int(total)

    @property
    def basis_sql(self) -> str:
        """What ``rerun_on`` compares, as SQL over ``files``."""
        rules = self._rules
        if rules.rerun_on == METADATA:
            return "hex(files.__fingerprint)"
        if rules.rerun_on == NEVER:
            return "''"
        keys = (rules.content_key,) if rules.rerun_on == CONTENT else tuple(sorted(rules.rerun_on))
        compiler = self._catalog.compiler
        return f"json_array({', '.join(f'{compiler.value(key)}, {compiler.kind(key)}' for key in keys)})"

    @property
    def priority_sql(self) -> str:
        """What ``order_by`` compares, as SQL over ``files``; without it the files come as they were first published.

        That is also how the rows of the ledger lie, so a batch is a few pages of it and not one for each file.
        """
        order_by = self._rules.order_by
        if order_by is None:
            return "files.rowid"
        return self._catalog.compiler.value(order_by.removeprefix("-"))

    def _count(self, status: str) -> int:
        row = self._connection.execute(
            "SELECT files FROM ledger_counts WHERE job = ? AND status = ?", (self._rules.name, status)
        ).fetchone()
        return 0 if row is None else int(row[0])


def told_size(get: Callable[[str], object]) -> int:
    """The bytes of a file's document as its metadata tells them, 0 where it does not; ``get`` gives a key's value.

    As ``Selection.due`` adds them up.
    """
    value = next((value for key in SIZE_KEYS if (value := get(key)) is not None), None)
    try:
        return max(int(value), 0) if isinstance(value, int | float | str) else 0
    except (ValueError, OverflowError):
        return 0


def note_saved(connection: sqlite3.Connection, keys: Collection[str]) -> bool:
    """After a client has set these keys of a file, in the same transaction: whether a job has to look at it.

    The others, if they were up to date, stay so: somebody who marks files all day shall not have every job evaluated for it.
    """
    revision = int(read_info(connection)["state_revision"])
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
    known = rules_from("", selection, rules, "")
    keys = condition_keys(known.condition)
    if known.rerun_on == CONTENT:
        keys.add(known.content_key)
    elif not isinstance(known.rerun_on, str):
        keys.update(known.rerun_on)
    if known.order_by is not None:
        keys.add(known.order_by.removeprefix("-"))
    return frozenset(keys)


def lacking_keys(catalog: Catalog, condition: Condition) -> dict[str, int]:
    """Key → how many files do not have it, for the keys that a condition asks for; those that all files have are left
    out, and so are those compared with true and false, for which absent counts as false."""
    keys = {
        comparison.key
        for comparison in walk(condition)
        if comparison.value is not None and not isinstance(comparison.value, bool)
    }
    counts = {key: catalog.count(Compare(key, "=", None)) for key in sorted(keys)}
    return {key: count for key, count in counts.items() if count}
