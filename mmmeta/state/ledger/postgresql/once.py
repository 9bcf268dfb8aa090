"""``once_per`` in PostgreSQL: files with an equal value are one document, of which the job does one.

Which file stands for its group follows from the rows; the order is that of ``sqlite.once``: what is done with this very value;
what is in a worker's hands; what was done before, or has failed and comes again; what waits, in the job's order; what is set
aside; what is dead, where all others are.
"""

from __future__ import annotations

from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.rules import ACTION, SAME, JobRules

_TOUCHED, _STANDING = "mmmeta_touched_1", "mmmeta_standing_1"
"""Groups in which something has changed, and which file stands for each; of this session, emptied with each transaction."""

_TABLES = (
    f'CREATE TEMP TABLE IF NOT EXISTS {_TOUCHED} (once text COLLATE "C" PRIMARY KEY) ON COMMIT DELETE ROWS',
    f'CREATE TEMP TABLE IF NOT EXISTS {_STANDING} (once text COLLATE "C" PRIMARY KEY, file text COLLATE "C" NOT NULL, '
    "done boolean NOT NULL, told text NOT NULL) ON COMMIT DELETE ROWS",
)

GROUPS = f"once IN (SELECT once FROM {_TOUCHED})"
"""SQL over ``ledger``: the files of these groups."""

_RANK = (
    "CASE status WHEN 'done' THEN 0 WHEN 'claimed' THEN 1 WHEN 'skipped' THEN 4 WHEN 'dead' THEN 5 "
    "ELSE CASE WHEN basis IS NOT NULL OR status = 'failed' THEN 2 ELSE 3 END END"
)

_ASIDE = f"status = 'skipped' AND error_type = '{SAME}'"

IS_WAITED_FOR = (
    "(basis IS NOT NULL AND once IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM ledger AS o WHERE o.job = ledger.job AND o.once = ledger.once AND o.file <> ledger.file "
    "AND NOT o.deleted AND NOT o.retract AND (o.status IN ('pending', 'claimed', 'failed', 'dead') "
    f"OR (o.status = 'skipped' AND o.error_type = '{SAME}' AND o.meant))) "
    "AND NOT EXISTS (SELECT 1 FROM ledger AS o WHERE o.job = ledger.job AND o.once = ledger.once AND o.file <> ledger.file "
    "AND NOT o.deleted AND o.status = 'done' AND o.once_basis IS NOT DISTINCT FROM o.once))"
)
"""SQL over ``ledger``: what was done with a deleted file is not undone yet, for it is still that of another file's document,
which was not done itself."""


class Groups:
    """The groups of one job's files, inside the caller's transaction; nothing at all for a job without ``once_per``.

    Args:
        stamp: the present moment, as the ledger writes it.
    """

    def __init__(self, transaction: Transaction, rules: JobRules, stamp: str) -> None:
        self._transaction = transaction
        self._rules = rules
        self._job = rules.name
        self._stamp = stamp
        self.are_asked_for: bool = rules.once_per is not None

    def begin(self) -> None:
        """From now on groups are gathered in which something changes."""
        for sql in _TABLES:
            self._transaction.execute(sql)
        self._transaction.execute(f"DELETE FROM {_TOUCHED}")

    def touch(self, condition: str, parameters: tuple[object, ...] = ()) -> None:
        """Gather the groups of the files that a condition over ``ledger`` means."""
        self._transaction.execute(
            f"INSERT INTO {_TOUCHED} SELECT once FROM ledger WHERE job = %s AND once IS NOT NULL AND {condition} "
            "ON CONFLICT DO NOTHING",
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
        kept = "NOT deleted" if self._rules.on_delete == ACTION else "true"
        self._transaction.execute(f"DELETE FROM {_STANDING}")
        self._transaction.execute(
            f"INSERT INTO {_STANDING} SELECT once, file, done, %s || file || %s FROM ("
            "SELECT once, file, status = 'done' AS done, "
            f"row_number() OVER (PARTITION BY once ORDER BY {_RANK}, {order}) AS place FROM ledger "
            f"WHERE job = %s AND {GROUPS} AND NOT retract AND ("
            f"(status = 'done' AND once_basis IS NOT DISTINCT FROM once AND {kept}) OR status = 'claimed' "
            "OR (status IN ('pending', 'failed', 'dead') AND NOT deleted) "
            f"OR ({_ASIDE} AND meant AND NOT deleted))) AS ranked WHERE place = 1",
            (f"has the same {self._rules.once_per} as ", ", which the job does instead", self._job),
        )

    def _call_up(self) -> None:
        """What was set aside, and stands for its group now, is due; or done, if it was so itself."""
        self._transaction.execute(
            "UPDATE ledger SET status = CASE WHEN basis IS NOT DISTINCT FROM wanted AND once_basis IS NOT DISTINCT FROM once "
            "THEN 'done' ELSE 'pending' END, "
            "attempts = 0, token = token + 1, selected_at = %s, error_type = NULL, error_message = NULL, due = NULL "
            f"WHERE job = %s AND file IN (SELECT file FROM {_STANDING}) AND {_ASIDE}",
            (self._stamp, self._job),
        )

    def _set_aside(self) -> int:
        others = (
            f"ledger.job = %s AND ledger.once = s.once AND NOT EXISTS (SELECT 1 FROM {_STANDING} AS t "
            "WHERE t.file = ledger.file)"
        )
        count = self._transaction.execute(
            "UPDATE ledger SET status = 'skipped', error_type = %s, error_message = s.told, error_lines = NULL, due = NULL, "
            f"settled_at = %s FROM {_STANDING} AS s WHERE {others} AND NOT retract AND NOT deleted "
            # What a person has just asked for anew is done, whoever else is.
            "AND NOT (basis IS NOT NULL AND asked = token) AND (status IN ('pending', 'failed') "
            "OR (status = 'dead' AND s.done))",
            (SAME, self._stamp, self._job),
        ).rowcount
        self._transaction.execute(
            f"UPDATE ledger SET error_message = s.told FROM {_STANDING} AS s WHERE {others} AND {_ASIDE} "
            "AND error_message <> s.told",
            (self._job,),
        )
        return count
