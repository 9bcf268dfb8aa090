"""``once_per``: files with an equal value are one document, of which the job does one; the others are set aside and name it.

Each row knows the value that counts now (``once``) and the one that it was done with (``once_basis``). So which file of a group
stands for it follows from the rows, as everything else does, and is looked at again whenever one of them is: in the
transaction in which a file came, changed or went, or left a worker's hands.

The first of these stands for its group: what is done with this very value; what is in a worker's hands; what was done before,
or has failed and comes again; what waits, in the job's order; what is set aside. A dead file stands for the others only where
all of them are dead, so that another copy is tried before a person has to look.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mmmeta.state.ledger.rules import ACTION, SAME, JobRules

_TABLES = (
    "CREATE TEMP TABLE IF NOT EXISTS touched (once TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS standing (once TEXT PRIMARY KEY NOT NULL, file TEXT NOT NULL, done INTEGER NOT NULL, "
    "told TEXT NOT NULL) WITHOUT ROWID",
)
"""Groups in which something has changed, and which file stands for each."""

GROUPS = "once IN (SELECT once FROM temp.touched)"
"""SQL over ``ledger``: the files of these groups."""

_RANK = (
    "CASE status WHEN 'done' THEN 0 WHEN 'claimed' THEN 1 WHEN 'skipped' THEN 4 WHEN 'dead' THEN 5 "
    "ELSE CASE WHEN basis IS NOT NULL OR status = 'failed' THEN 2 ELSE 3 END END"
)

_ASIDE = f"status = 'skipped' AND error_type = '{SAME}'"

IS_WAITED_FOR = (
    "basis IS NOT NULL AND once IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM ledger AS o WHERE o.job = ledger.job AND o.once = ledger.once AND o.file <> ledger.file "
    "AND NOT o.deleted AND NOT o.retract AND (o.status IN ('pending', 'claimed', 'failed', 'dead') "
    f"OR (o.status = 'skipped' AND o.error_type = '{SAME}' AND o.meant))) "
    "AND NOT EXISTS (SELECT 1 FROM ledger AS o WHERE o.job = ledger.job AND o.once = ledger.once AND o.file <> ledger.file "
    "AND NOT o.deleted AND o.status = 'done' AND o.once_basis IS o.once)"
)
"""SQL over ``ledger``: what was done with a deleted file is not undone yet, for it is still that of another file's document,
which was not done itself."""


class Groups:
    """The groups of one job's files, inside the caller's transaction; nothing at all for a job without ``once_per``.

    Args:
        stamp: the present moment, as the state db writes it.
    """

    def __init__(self, connection: sqlite3.Connection, rules: JobRules, stamp: str) -> None:
        self._connection = connection
        self._rules = rules
        self._job = rules.name
        self._stamp = stamp
        self.are_asked_for: bool = rules.once_per is not None

    def begin(self) -> None:
        """From now on groups are gathered in which something changes."""
        for sql in _TABLES:
            self._connection.execute(sql)
        self._connection.execute("DELETE FROM temp.touched")

    def touch(self, condition: str, parameters: Sequence[object] = ()) -> None:
        """Gather the groups of the files that a condition over ``ledger`` means."""
        # The plus keeps SQLite from reading all that have a value.
        self._connection.execute(
            f"INSERT OR IGNORE INTO temp.touched SELECT once FROM ledger WHERE job = ? AND +once IS NOT NULL AND {condition}",
            (self._job, *parameters),
        )

    def settle(self) -> int:
        """Say of each gathered group who stands for it, and set the others aside; how many newly are."""
        self._choose()
        self._call_up()
        return self._set_aside()

    def _choose(self) -> None:
        order = "priority DESC, file DESC" if self._rules.descending else "priority, file"
        # Where deletions are ignored, what was done with a file stays, and the document need not be done again.
        kept = "NOT deleted" if self._rules.on_delete == ACTION else "1"
        self._connection.execute("DELETE FROM temp.standing")
        self._connection.execute(
            "INSERT INTO temp.standing SELECT once, file, done, ? || file || ? FROM (SELECT once, file, status = 'done' AS done, "
            f"row_number() OVER (PARTITION BY once ORDER BY {_RANK}, {order}) AS place FROM ledger INDEXED BY ledger_once "
            f"WHERE job = ? AND {GROUPS} AND NOT retract AND ("
            f"(+status = 'done' AND once_basis IS once AND {kept}) OR +status = 'claimed' "
            "OR (+status IN ('pending', 'failed', 'dead') AND NOT deleted) "
            f"OR (+{_ASIDE} AND meant AND NOT deleted))) WHERE place = 1",
            (f"has the same {self._rules.once_per} as ", ", which the job does instead", self._job),
        )

    def _call_up(self) -> None:
        """What was set aside, and stands for its group now, is due; or done, if it was so itself."""
        self._connection.execute(
            "UPDATE ledger SET status = CASE WHEN basis IS wanted AND once_basis IS once THEN 'done' ELSE 'pending' END, "
            "attempts = 0, token = token + 1, selected_at = ?, error_type = NULL, error_message = NULL, due = NULL "
            f"WHERE job = ? AND file IN (SELECT file FROM temp.standing) AND +{_ASIDE}",
            (self._stamp, self._job),
        )

    def _set_aside(self) -> int:
        told = "(SELECT told FROM temp.standing AS s WHERE s.once = ledger.once)"
        others = "once IN (SELECT once FROM temp.standing) AND file NOT IN (SELECT file FROM temp.standing)"
        count = self._connection.execute(
            f"UPDATE ledger SET status = 'skipped', error_type = ?, error_message = {told}, error_lines = NULL, due = NULL, "
            f"settled_at = ? WHERE job = ? AND {others} AND NOT retract AND NOT deleted "
            # What a person has just asked for anew is done, whoever else is.
            "AND NOT (basis IS NOT NULL AND asked = token) AND (+status IN ('pending', 'failed') "
            "OR (+status = 'dead' AND (SELECT done FROM temp.standing AS s WHERE s.once = ledger.once)))",
            (SAME, self._stamp, self._job),
        ).rowcount
        self._connection.execute(
            f"UPDATE ledger SET error_message = {told} WHERE job = ? AND {others} AND +{_ASIDE} AND error_message <> {told}",
            (self._job,),
        )
        return count
