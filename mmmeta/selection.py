"""Which files a job has before it: the selection, evaluated over what changed and written as ``pending`` rows.

A row stays until it is settled, whatever becomes of the selection: a file that "the last 7 days" have passed by while the
machine was off is still done. Nothing that is done is undone by a change of the definition.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime

from mmmeta.catalog import Catalog
from mmmeta.clock import to_text
from mmmeta.filters import Condition, from_json, grows_with_time, to_json

CONTENT = "content"
METADATA = "metadata"
NEVER = "never"

DELETED = "the file was deleted before it was processed"
LEFT = "left the selection when the job's definition changed"


@dataclass(frozen=True)
class JobRules:
    """What the ledger needs to know of a job.

    Attributes:
        rerun_on: ``"content"``, ``"metadata"``, ``"never"``, or the keys whose change makes a file pending again.
        content_key: config.yml's ``metadata.content``.
        attempts: tries before a file is dead.
        backoff: seconds before the second try; doubled for each further one, with jitter.
        fingerprint: of the whole definition, the action included.
    """

    name: str
    condition: Condition
    rerun_on: str | tuple[str, ...]
    content_key: str
    attempts: int
    backoff: float
    order_by: str | None
    fingerprint: str

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
    )


@dataclass(frozen=True)
class Evaluation:
    """What evaluating a selection did: files newly pending, and files that left it unprocessed."""

    selected: int = 0
    left: int = 0


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
        known_selection, known_rules, evaluated = row if row is not None else (None, None, 0)
        changed = row is not None and known_selection != rules.selection
        if known_selection is not None and known_rules is not None and known_rules != rules.rules:
            self._adopt_rules(known_selection, known_rules, evaluated)
        result = Evaluation()
        if row is None or changed or evaluated < state_revision or grows_with_time(rules.condition):
            since = 0 if row is None or changed or grows_with_time(rules.condition) else evaluated
            result = Evaluation(self._select(since), self._drop(since, definition_changed=changed))
        self._connection.execute(
            "INSERT INTO jobs (job, selection, rules, selection_fingerprint, fingerprint, evaluated) "
            "VALUES (?1, ?2, ?3, ?2, ?4, ?5) ON CONFLICT (job) DO UPDATE SET selection = ?2, rules = ?3, "
            "selection_fingerprint = ?2, fingerprint = ?4, evaluated = ?5",
            (rules.name, rules.selection, rules.rules, rules.fingerprint, state_revision),
        )
        return result

    def _select(self, since: int) -> int:
        """Make pending what the selection finds among the rows that changed, where it was not processed so already."""
        where, parameters = self._catalog.where(self._rules.condition)
        before = self._count("pending")
        self._connection.execute(
            f"INSERT INTO ledger (job, file, status, priority, tried, selected_at) "
            f"SELECT ?, {self._catalog.unique_sql}, 'pending', {self.priority_sql}, {self.basis_sql}, ? "
            f"FROM files WHERE files.__state_rev > ? AND {where} "
            "ON CONFLICT (job, file) DO UPDATE SET priority = excluded.priority, "
            "status = CASE WHEN status = 'skipped' AND basis IS excluded.tried THEN 'done' "
            "WHEN status IN ('pending', 'claimed') THEN status ELSE 'pending' END, "
            "attempts = CASE WHEN status IN ('pending', 'claimed') THEN attempts ELSE 0 END, "
            "token = CASE WHEN status IN ('pending', 'claimed') THEN token ELSE token + 1 END, "
            "due = CASE WHEN status IN ('pending', 'claimed') THEN due END "
            "WHERE (status = 'pending' AND priority IS NOT excluded.priority) OR status = 'skipped' "
            "OR (status = 'done' AND basis IS NOT excluded.tried) "
            "OR (status IN ('failed', 'dead') AND tried IS NOT excluded.tried)",
            (self._rules.name, self._stamp, since, *parameters),
        )
        return max(0, self._count("pending") - before)

    def _drop(self, since: int, *, definition_changed: bool) -> int:
        """Set aside what was deleted before its turn, and after a change of the definition what it does not mean."""
        gone = f"SELECT {self._catalog.unique_sql} FROM files WHERE files.__state_rev > ? AND files.__deleted"
        dropped = self._connection.execute(
            "UPDATE ledger SET status = 'skipped', error_type = NULL, error_message = ? "
            f"WHERE job = ? AND status IN ('pending', 'failed') AND file IN ({gone})",
            (DELETED, self._rules.name, since),
        ).rowcount
        if definition_changed:
            where, parameters = self._catalog.where(self._rules.condition)
            dropped += self._connection.execute(
                "UPDATE ledger SET status = 'skipped', error_type = NULL, error_message = ? "
                "WHERE job = ? AND status IN ('pending', 'failed') "
                f"AND file NOT IN (SELECT {self._catalog.unique_sql} FROM files WHERE {where})",
                (LEFT, self._rules.name, *parameters),
            ).rowcount
        return int(dropped)

    def _adopt_rules(self, known_selection: str, known_rules: str, evaluated: int) -> None:
        """After a change of ``rerun_on`` or ``order_by``: what is done counts as done in the version that it has now."""
        rules = self._rules
        old = rules_from(rules.name, known_selection, known_rules, rules.fingerprint)
        if (old.rerun_on, old.content_key) != (rules.rerun_on, rules.content_key):
            # What changed under the old rules and was not looked at yet is due; adopting it as done would lose it.
            Selection(self._connection, self._catalog, old, self._now)._select(evaluated)
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
        """What ``order_by`` compares, as SQL over ``files``."""
        order_by = self._rules.order_by
        if order_by is None:
            return "NULL"
        return self._catalog.compiler.value(order_by.removeprefix("-"))

    def _count(self, status: str) -> int:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM ledger WHERE job = ? AND status = ?", (self._rules.name, status)
        ).fetchone()
        return int(count)
