"""What the state db knows of places: who was given which, and where results of earlier versions still are."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from mmmeta.state.ledger.outcomes import BEGUN, Elsewhere, Place, Pointing
from mmmeta.state.ledger.places import GONE, Places, Standing, There, read_place
from mmmeta.state.ledger.sqlite.tables import PLACE


class SqlitePlaces(Places):
    """The places of one job's ledger, inside the caller's transaction.

    Args:
        stamp: the present moment, as the state db writes it.
    """

    def __init__(self, connection: sqlite3.Connection, job: str, stamp: str) -> None:
        self._connection = connection
        self._job = job
        self._stamp = stamp
        self._targets: dict[Pointing, int] = {}
        self._older: bool | None = None

    def ended(self, files: Iterable[str]) -> None:
        if self._any_older():
            self._connection.executemany(
                "DELETE FROM older_places WHERE job = ? AND file = ? AND mark = ?",
                [(self._job, file, BEGUN) for file in files],
            )

    def older(self, file: str, job: str | None = None) -> tuple[Place, ...]:
        rows = self._connection.execute(
            "SELECT target, place, mark FROM older_places WHERE job = ? AND file = ?", (job or self._job, file)
        )
        return tuple(Place(*row) for row in rows)

    def stored(self, place: Place, file: str) -> tuple[int, str | None]:
        pointing = Pointing(place.target, place.naming)
        if pointing not in self._targets:
            key = (self._job, *pointing)
            self._connection.execute("INSERT OR IGNORE INTO targets (job, target, naming) VALUES (?, ?, ?)", key)
            which = "WHERE job = ? AND target = ? AND naming = ?"
            # The job points there again: what is done there now is not what a person has accepted.
            self._connection.execute(f"UPDATE targets SET accepted = 0 {which} AND accepted", key)
            (self._targets[pointing],) = self._connection.execute(f"SELECT id FROM targets {which}", key).fetchone()
        return self._targets[pointing], None if place.name == file else place.name

    def remember_older(self, file: str, place: Place, job: str | None = None) -> None:
        self._older = None
        self._connection.execute(
            "INSERT OR REPLACE INTO older_places VALUES (?, ?, ?, ?, ?)",
            (job or self._job, file, place.target, place.name, place.mark),
        )

    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        ids = _elsewhere(self._connection, self._job, pointing)
        if not ids:
            return []
        rows = self._connection.execute(
            f"SELECT file FROM ledger WHERE job = ? AND {_done_in(ids)} ORDER BY file", (self._job, *ids)
        )
        return [str(file) for (file,) in rows]

    def accept(self, pointing: Pointing) -> None:
        ids = _elsewhere(self._connection, self._job, pointing)
        self._connection.executemany("UPDATE targets SET accepted = 1 WHERE id = ?", [(one,) for one in ids])

    def trim(self) -> None:
        rows = self._connection.execute("SELECT id FROM targets WHERE job = ?", (self._job,)).fetchall()
        if len(rows) > 1:
            self._connection.execute(
                "DELETE FROM targets WHERE job = ?1 AND id NOT IN "
                "(SELECT DISTINCT target FROM ledger WHERE job = ?1 AND target IS NOT NULL)",
                (self._job,),
            )

    def _there(self, place: Place, but: str = "") -> list[There]:
        return _there(self._connection, place, but)

    def _standing(self, file: str) -> Standing | None:
        row = self._connection.execute(
            f"SELECT status, deleted, {PLACE} FROM ledger WHERE job = ? AND file = ?", (self._job, file)
        ).fetchone()
        return None if row is None else Standing(row[0], bool(row[1]), read_place(row[2:], file))

    def _give(self, place: Place, file: str) -> None:
        self._connection.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", (place.key, file, self._job))

    def _take_back(self, place: Place, file: str) -> None:
        self._connection.execute(
            "DELETE FROM places WHERE place = ? AND file = ? AND job = ?", (place.key, file, self._job)
        )

    def _take_back_unless_older(self, place: Place, there: There) -> None:
        self._connection.execute(
            "DELETE FROM places WHERE place = ? AND job = ? AND file = ? AND NOT EXISTS "
            "(SELECT 1 FROM older_places AS o WHERE o.job = places.job AND o.file = places.file)",
            (place.key, there.job, there.file),
        )

    def _note_begun(self, place: Place, file: str) -> None:
        self._older = None
        self._connection.execute(
            "INSERT OR IGNORE INTO older_places VALUES (?, ?, ?, ?, ?)",
            (self._job, file, place.target, place.name, BEGUN),
        )

    def _any_older(self) -> bool:
        if self._older is None:
            (self._older,) = self._connection.execute(
                "SELECT EXISTS (SELECT 1 FROM older_places WHERE job = ?)", (self._job,)
            ).fetchone()
        return bool(self._older)

    def _forget_older(self, file: str, job: str | None, place: Place) -> None:
        self._connection.execute(
            "DELETE FROM older_places WHERE job = ? AND file = ? AND target = ? AND place = ?",
            (job or self._job, file, place.target, place.name),
        )

    def _forget_all_older(self, file: str) -> None:
        self._connection.execute("DELETE FROM older_places WHERE job = ? AND file = ?", (self._job, file))

    def _replace(self, there: There, by: str) -> None:
        self._connection.execute(
            "UPDATE ledger SET target = NULL, place = NULL, mark = NULL, replaced_by = ?, "
            "basis = CASE WHEN deleted THEN ? ELSE basis END WHERE job = ? AND file = ?",
            (by, GONE, there.job, there.file),
        )

    def _do_again(self, files: Iterable[There]) -> None:
        self._connection.executemany(
            "UPDATE ledger SET status = 'pending', attempts = 0, token = token + 1, due = NULL, selected_at = ? "
            "WHERE job = ? AND file = ? AND status = 'done'",
            [(self._stamp, there.job, there.file) for there in files],
        )

    def _undo_again(self, file: str) -> None:
        self._connection.execute(
            "UPDATE ledger SET status = 'pending', retract = 1, attempts = 0, token = token + 1, selected_at = ?, "
            "error_type = NULL, error_message = NULL WHERE job = ? AND file = ?",
            (self._stamp, self._job, file),
        )


def others_at(connection: sqlite3.Connection, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
    """Where other files are done that are at places of these; those that are deleted have nothing to lose."""
    found: dict[str, list[Place]] = {}
    for file, known in places.items():
        for place in known:
            for there in _there(connection, place, file):
                if there.at is not None and there.is_done_at(place) and not there.deleted:
                    found.setdefault(file, []).append(there.at)
    return found


def were_given(connection: sqlite3.Connection, places: Mapping[str, Place]) -> set[str]:
    """Those of these files whose place was given to any, or where any job's result for the file is: one that was adopted by
    name was given none."""
    found = set()
    for file, place in places.items():
        given = connection.execute("SELECT 1 FROM places WHERE place = ?", (place.key,)).fetchone()
        rows = connection.execute(
            f"SELECT {PLACE} FROM ledger WHERE job IN (SELECT job FROM jobs) AND file = ? AND target IS NOT NULL",
            (file,),
        )
        if given is not None or any(
            (at := read_place(row, file)) is not None and at.key == place.key for row in rows.fetchall()
        ):
            found.add(file)
    return found


def count_elsewhere(connection: sqlite3.Connection, job: str, pointing: Pointing) -> tuple[Elsewhere, ...]:
    """How many files are done where; rows are read only where the job has ever pointed elsewhere."""
    ids = _elsewhere(connection, job, pointing)
    if not ids:
        return ()
    rows = connection.execute(
        f"SELECT target, count(*) FROM ledger WHERE job = ? AND {_done_in(ids)} GROUP BY target ORDER BY target",
        (job, *ids),
    )
    return tuple(Elsewhere(*ids[one], files) for one, files in rows)


def _there(connection: sqlite3.Connection, place: Place, but: str = "") -> list[There]:
    """The files that were given a place, whatever became of it; all but one."""
    rows = connection.execute(
        f"SELECT ledger.file, ledger.job, status, deleted, retract, {PLACE} FROM places AS p CROSS JOIN ledger "
        "ON ledger.job = p.job AND ledger.file = p.file WHERE p.place = ? AND p.file <> ?",
        (place.key, but),
    ).fetchall()
    return [
        There(file, job, status, bool(deleted), bool(undo), read_place(at, file))
        for file, job, status, deleted, undo, *at in rows
    ]


def _elsewhere(connection: sqlite3.Connection, job: str, pointing: Pointing) -> dict[int, Pointing]:
    """Ids of the targets in which results may be that are not where the job points now, and that nobody accepted."""
    rows = connection.execute("SELECT id, target, naming FROM targets WHERE job = ? AND NOT accepted", (job,))
    found = {row[0]: Pointing(row[1], row[2]) for row in rows}
    return {one: there for one, there in found.items() if there != pointing}


def _done_in(ids: Collection[int]) -> str:
    """The condition over ``ledger`` for what is done in these targets."""
    return f"status = 'done' AND NOT deleted AND target IN ({', '.join('?' * len(ids))})"
