"""What a ledger in PostgreSQL knows of places: who was given which, and where results of earlier versions still are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mmmeta.state.ledger.outcomes import BEGUN, Elsewhere, Place, Pointing
from mmmeta.state.ledger.places import GONE, Places, Standing, There, read_place
from mmmeta.state.ledger.postgresql.schema import PLACE
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import fitting, kept, place_key


class PostgresPlaces(Places):
    """The places of one job's ledger, inside the caller's transaction.

    Args:
        stamp: the present moment, as the ledger writes it.
    """

    def __init__(self, transaction: Transaction, job: str, stamp: str) -> None:
        self._transaction = transaction
        self._job = job
        self._stamp = stamp
        self._targets: dict[Pointing, int] = {}
        self._older: bool | None = None

    def ended(self, files: Iterable[str]) -> None:
        self._transaction.execute(
            "DELETE FROM older_places WHERE job = %s AND file = ANY(%s) AND mark = %s",
            (self._job, fitting(files), BEGUN),
        )

    def older(self, file: str, job: str | None = None) -> tuple[Place, ...]:
        rows = self._transaction.rows(
            "SELECT target, place, mark FROM older_places WHERE job = %s AND file = %s ORDER BY target, place",
            (job or self._job, file),
        )
        return tuple(Place(*row) for row in rows)

    def stored(self, place: Place, file: str) -> tuple[int, str | None]:
        pointing = Pointing(place.target, place.naming)
        if pointing not in self._targets:
            key = (self._job, place_key(*pointing))
            self._transaction.execute(
                "INSERT INTO targets (job, key, target, naming) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*key, kept(place.target), kept(place.naming)),
            )
            self._transaction.execute(
                "UPDATE targets SET accepted = false WHERE job = %s AND key = %s AND accepted", key
            )
            (self._targets[pointing],) = self._transaction.one(
                "SELECT id FROM targets WHERE job = %s AND key = %s", key
            )
        return self._targets[pointing], None if place.name == file else place.name

    def remember_older(self, file: str, place: Place, job: str | None = None) -> None:
        self._older = None
        self._transaction.execute(
            "INSERT INTO older_places (job, file, key, target, place, mark) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (job, file, key) DO UPDATE SET mark = excluded.mark",
            (job or self._job, file, place_key(place.target, place.name), place.target, place.name, place.mark),
        )

    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        ids = _elsewhere(self._transaction, self._job, pointing)
        if not ids:
            return []
        sql = f"SELECT file FROM ledger WHERE job = %s AND {_DONE_IN} ORDER BY file"
        return [str(file) for (file,) in self._transaction.rows(sql, (self._job, list(ids)))]

    def accept(self, pointing: Pointing) -> None:
        ids = _elsewhere(self._transaction, self._job, pointing)
        self._transaction.execute("UPDATE targets SET accepted = true WHERE id = ANY(%s)", (list(ids),))

    def trim(self) -> None:
        (count,) = self._transaction.one("SELECT count(*) FROM targets WHERE job = %s", (self._job,))
        if count > 1:
            self._transaction.execute(
                "DELETE FROM targets WHERE job = %s AND NOT EXISTS "
                "(SELECT 1 FROM ledger AS l WHERE l.job = targets.job AND l.target = targets.id)",
                (self._job,),
            )

    def _there(self, place: Place, but: str = "") -> list[There]:
        return _there(self._transaction, place, but)

    def _standing(self, file: str) -> Standing | None:
        row = self._transaction.execute(
            f"SELECT status, deleted, {PLACE} FROM ledger WHERE job = %s AND file = %s", (self._job, file)
        ).fetchone()
        return None if row is None else Standing(row[0], row[1], read_place(row[2:], file))

    def _give(self, place: Place, file: str) -> None:
        self._transaction.execute(
            "INSERT INTO places (place, path, file, job) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (place_key(place.key), kept(place.key), file, self._job),
        )

    def _take_back(self, place: Place, file: str) -> None:
        self._transaction.execute(
            "DELETE FROM places WHERE place = %s AND file = %s AND job = %s", (place_key(place.key), file, self._job)
        )

    def _take_back_unless_older(self, place: Place, there: There) -> None:
        self._transaction.execute(
            "DELETE FROM places WHERE place = %s AND job = %s AND file = %s AND NOT EXISTS "
            "(SELECT 1 FROM older_places AS o WHERE o.job = places.job AND o.file = places.file)",
            (place_key(place.key), there.job, there.file),
        )

    def _note_begun(self, place: Place, file: str) -> None:
        self._older = None
        self._transaction.execute(
            "INSERT INTO older_places (job, file, key, target, place, mark) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (self._job, file, place_key(place.target, place.name), place.target, place.name, BEGUN),
        )

    def _any_older(self) -> bool:
        if self._older is None:
            (self._older,) = self._transaction.one(
                "SELECT EXISTS (SELECT FROM older_places WHERE job = %s)", (self._job,)
            )
        return bool(self._older)

    def _forget_older(self, file: str, job: str | None, place: Place) -> None:
        self._transaction.execute(
            "DELETE FROM older_places WHERE job = %s AND file = %s AND key = %s",
            (job or self._job, file, place_key(place.target, place.name)),
        )

    def _forget_all_older(self, file: str) -> None:
        self._transaction.execute("DELETE FROM older_places WHERE job = %s AND file = %s", (self._job, file))

    def _replace(self, there: There, by: str) -> None:
        self._transaction.execute(
            "UPDATE ledger SET target = NULL, place = NULL, mark = NULL, replaced_by = %s, "
            "basis = CASE WHEN deleted THEN %s ELSE basis END WHERE job = %s AND file = %s",
            (by, GONE, there.job, there.file),
        )

    def _do_again(self, files: Iterable[There]) -> None:
        for there in files:
            self._transaction.execute(
                "UPDATE ledger SET status = 'pending', attempts = 0, token = token + 1, due = NULL, selected_at = %s "
                "WHERE job = %s AND file = %s AND status = 'done'",
                (self._stamp, there.job, there.file),
            )

    def _undo_again(self, file: str) -> None:
        self._transaction.execute(
            "UPDATE ledger SET status = 'pending', retract = true, attempts = 0, token = token + 1, selected_at = %s, "
            "error_type = NULL, error_message = NULL WHERE job = %s AND file = %s",
            (self._stamp, self._job, file),
        )


def others_at(transaction: Transaction, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
    """Where other files are done that are at places of these; those that are deleted have nothing to lose."""
    found: dict[str, list[Place]] = {}
    for file, known in places.items():
        for place in known:
            for there in _there(transaction, place, file):
                if there.at is not None and there.is_done_at(place) and not there.deleted:
                    found.setdefault(file, []).append(there.at)
    return found


def were_given(transaction: Transaction, places: Mapping[str, Place]) -> set[str]:
    """Those of these files whose place was given to any, or where any job's result for the file is: one that was adopted by
    name was given none."""
    found = set()
    for file in fitting(places):
        place = places[file]
        given = transaction.rows("SELECT 1 FROM places WHERE place = %s LIMIT 1", (place_key(place.key),))
        rows = transaction.rows(
            f"SELECT {PLACE} FROM ledger WHERE job IN (SELECT job FROM jobs) AND file = %s AND target IS NOT NULL",
            (file,),
        )
        if given or any((at := read_place(row, file)) is not None and at.key == place.key for row in rows):
            found.add(file)
    return found


def count_elsewhere(transaction: Transaction, job: str, pointing: Pointing) -> tuple[Elsewhere, ...]:
    """How many files are done where; rows are read only where the job has ever pointed elsewhere."""
    ids = _elsewhere(transaction, job, pointing)
    if not ids:
        return ()
    sql = f"SELECT target, count(*) FROM ledger WHERE job = %s AND {_DONE_IN} GROUP BY target ORDER BY target"
    return tuple(Elsewhere(*ids[one], files) for one, files in transaction.rows(sql, (job, list(ids))))


def _there(transaction: Transaction, place: Place, but: str = "") -> list[There]:
    """The files that were given a place, whatever became of it; all but one."""
    rows = transaction.rows(
        f"SELECT ledger.file, ledger.job, status, deleted, retract, {PLACE} FROM places AS p JOIN ledger "
        "ON ledger.job = p.job AND ledger.file = p.file WHERE p.place = %s AND p.file <> %s ORDER BY p.file, p.job",
        (place_key(place.key), but),
    )
    return [
        There(file, job, status, deleted, undo, read_place(at, file)) for file, job, status, deleted, undo, *at in rows
    ]


def _elsewhere(transaction: Transaction, job: str, pointing: Pointing) -> dict[int, Pointing]:
    """Ids of the targets in which results may be that are not where the job points now, and that nobody accepted."""
    rows = transaction.rows("SELECT id, target, naming FROM targets WHERE job = %s AND NOT accepted", (job,))
    found = {row[0]: Pointing(row[1], row[2]) for row in rows}
    return {one: there for one, there in found.items() if there != pointing}


_DONE_IN = "status = 'done' AND NOT deleted AND target = ANY(%s)"
"""The condition over ``ledger`` for what is done in these targets."""
