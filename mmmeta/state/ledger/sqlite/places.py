"""Who has which place: given to one file before anything is written there, kept by what is done, known until it is undone.

A place is held by a file that is at work there, was done there and is not deleted, or is still to be undone there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mmmeta.state.ledger.outcomes import BEGUN, Claim, Elsewhere, Holder, Outcome, Place, Pointing
from mmmeta.state.ledger.sqlite.offers import GONE
from mmmeta.state.ledger.sqlite.tables import PLACE, read_place


class Kept(NamedTuple):
    """Where the result of a file is now.

    Attributes:
        target: id in ``targets``.
        name: as the column ``place`` holds it.
        replaced_by: the later version that has the place instead.
    """

    target: int | None = None
    name: str | None = None
    mark: str | None = None
    replaced_by: str | None = None


class _There(NamedTuple):
    """A file that was given a place, and where its result is now."""

    file: str
    job: str
    status: str
    deleted: bool
    retract: bool
    at: Place | None

    def is_done_at(self, place: Place) -> bool:
        return self.at is not None and self.at.key == place.key


class Places:
    """What one job's ledger knows of places, inside the caller's transaction.

    Args:
        stamp: the present moment, as the state db writes it.
    """

    def __init__(self, connection: sqlite3.Connection, job: str, stamp: str) -> None:
        self._connection = connection
        self._job = job
        self._stamp = stamp
        self._targets: dict[Pointing, int] = {}

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        """Give claimed files their places; file → who has it, for those that could not have theirs."""
        taken: dict[str, list[Holder]] = {}
        moved = {file: place.key for file, place in places.items()}
        for file, place in places.items():
            holders = [
                Holder(there.file, there.job, there.status == "claimed")
                for there in _there(self._connection, place, file)
                if moved.get(there.file, place.key) == place.key and self._holds(there, place)
            ]
            if holders:
                taken[file] = holders
            else:
                self._give(place, file)
            # Who is killed may leave something here.
            self._connection.execute(
                "INSERT OR IGNORE INTO older_places VALUES (?, ?, ?, ?, ?)",
                (self._job, file, place.target, place.name, BEGUN),
            )
        return taken

    def ended(self, files: Iterable[str]) -> None:
        """Of what was begun with these files it is known how it ended."""
        (any_older,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM older_places WHERE job = ?)", (self._job,)
        ).fetchone()
        if any_older:
            self._connection.executemany(
                "DELETE FROM older_places WHERE job = ? AND file = ? AND mark = ?",
                [(self._job, file, BEGUN) for file in files],
            )

    def keep(self, outcome: Outcome) -> Kept:
        """Where the result of a file that was done is from now on; what becomes of others that had the place."""
        claim, place = outcome.claim, outcome.place
        self._remember_older(claim, place)
        if place is None:
            return Kept(replaced_by=outcome.replaced_by)
        target, name = self.stored(place, claim.file)
        if not place.naming and name is None:  # its own name is nobody else's
            return Kept(target, name, place.mark)
        others = [there for there in _there(self._connection, place, claim.file) if there.file not in outcome.beside]
        newer = [
            there
            for there in others
            if there.status == "done" and there.is_done_at(place) and not there.deleted
            if there.file not in outcome.over
        ]
        if newer:
            # They came while this one was at work, and may have been written over.
            self._do_again(newer)
            return Kept(replaced_by=newer[0].file)
        for there in others:
            # What an earlier version of it had left at this very place is written over.
            self._forget_older(there.file, there.job, place)
            if there.file in outcome.over or there.is_done_at(place):
                self._take_away(there, place, claim.file)
        self._give(place, claim.file)
        return Kept(target, name, place.mark)

    def lost(self, outcome: Outcome, *, undo: bool) -> None:
        """A worker that was overtaken has put something into a place: what is done there is done anew, and undone anew where
        its own file was.

        Args:
            undo: deleted files are to be undone.
        """
        place, file = outcome.place, outcome.claim.file
        if place is None or not outcome.ok or outcome.claim.retract or (not place.naming and place.name == file):
            return
        self._do_again(
            there for there in _there(self._connection, place) if there.is_done_at(place) and not there.deleted
        )
        row = self._connection.execute(
            f"SELECT status, deleted, {PLACE} FROM ledger WHERE job = ? AND file = ?", (self._job, file)
        ).fetchone()
        if row is None:
            return
        status, deleted, *at = row
        now = read_place(at, file)
        if now is None or not now.is_at(place):
            self.remember_older(file, self._job, place)
        if deleted and status == "skipped" and undo:
            self._connection.execute(
                "UPDATE ledger SET status = 'pending', retract = 1, attempts = 0, token = token + 1, selected_at = ?, "
                "error_type = NULL, error_message = NULL WHERE job = ? AND file = ?",
                (self._stamp, self._job, file),
            )

    def undone(self, claim: Claim) -> None:
        """Nothing is left of a file, wherever it was."""
        for place in claim.places:
            self._connection.execute(
                "DELETE FROM places WHERE place = ? AND file = ? AND job = ?", (place.key, claim.file, self._job)
            )
        self._connection.execute("DELETE FROM older_places WHERE job = ? AND file = ?", (self._job, claim.file))

    def let_go(self, file: str, place: Place) -> None:
        """A place where nothing of a file is is nobody's again: what comes there by the next time is somebody's own."""
        row = self._connection.execute(
            f"SELECT {PLACE} FROM ledger WHERE job = ? AND file = ?", (self._job, file)
        ).fetchone()
        known = [*self.older(file), *([] if row is None or (at := read_place(row, file)) is None else [at])]
        if not any(one.key == place.key for one in known):
            self._connection.execute(
                "DELETE FROM places WHERE place = ? AND file = ? AND job = ?", (place.key, file, self._job)
            )

    def older(self, file: str, job: str | None = None) -> tuple[Place, ...]:
        """Where results of earlier versions of a file still are."""
        rows = self._connection.execute(
            "SELECT target, place, mark FROM older_places WHERE job = ? AND file = ?", (job or self._job, file)
        )
        return tuple(Place(*row) for row in rows)

    def stored(self, place: Place, file: str) -> tuple[int, str | None]:
        """A place as the columns ``target`` and ``place`` hold it."""
        pointing = Pointing(place.target, place.naming)
        if pointing not in self._targets:
            key = (self._job, *pointing)
            self._connection.execute("INSERT OR IGNORE INTO targets (job, target, naming) VALUES (?, ?, ?)", key)
            which = "WHERE job = ? AND target = ? AND naming = ?"
            # The job points there again: what is done there now is not what a person has accepted.
            self._connection.execute(f"UPDATE targets SET accepted = 0 {which} AND accepted", key)
            (self._targets[pointing],) = self._connection.execute(f"SELECT id FROM targets {which}", key).fetchone()
        return self._targets[pointing], None if place.name == file else place.name

    def remember_older(self, file: str, job: str, place: Place) -> None:
        """Something of an earlier version stays at a place."""
        self._connection.execute(
            "INSERT OR REPLACE INTO older_places VALUES (?, ?, ?, ?, ?)",
            (job, file, place.target, place.name, place.mark),
        )

    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        """The files that are done there."""
        ids = _elsewhere(self._connection, self._job, pointing)
        if not ids:
            return []
        rows = self._connection.execute(
            f"SELECT file FROM ledger WHERE job = ? AND {_done_in(ids)} ORDER BY file", (self._job, *ids)
        )
        return [str(file) for (file,) in rows]

    def accept(self, pointing: Pointing) -> None:
        """Take what is done elsewhere as it is."""
        ids = _elsewhere(self._connection, self._job, pointing)
        self._connection.executemany("UPDATE targets SET accepted = 1 WHERE id = ?", [(one,) for one in ids])

    def trim(self) -> None:
        """Remove targets in which nothing is any more, so that nobody has to look for what is there."""
        rows = self._connection.execute("SELECT id FROM targets WHERE job = ?", (self._job,)).fetchall()
        if len(rows) > 1:
            self._connection.execute(
                "DELETE FROM targets WHERE job = ?1 AND id NOT IN "
                "(SELECT DISTINCT target FROM ledger WHERE job = ?1 AND target IS NOT NULL)",
                (self._job,),
            )

    def _holds(self, there: _There, place: Place) -> bool:
        if there.deleted and not there.retract:  # whatever comes there is not what it left
            return False
        if there.status == "claimed" or there.is_done_at(place):
            return True
        return there.retract and any(older.key == place.key for older in self.older(there.file, there.job))

    def _give(self, place: Place, file: str) -> None:
        self._connection.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", (place.key, file, self._job))

    def _remember_older(self, claim: Claim, place: Place | None) -> None:
        """Note where the result was until now, if it is to be somewhere else; it is there still."""
        if claim.place is not None and place is not None and claim.place.is_at(place):
            return
        if place is not None:
            self._forget_older(claim.file, self._job, place)
        if claim.place is None:
            return
        row = self._connection.execute(
            f"SELECT {PLACE} FROM ledger WHERE job = ? AND file = ?", (self._job, claim.file)
        ).fetchone()
        before = read_place(row, claim.file)  # not the claim's: another may have taken it since
        if before is not None and not (place is not None and before.is_at(place)):
            self.remember_older(claim.file, self._job, before)

    def _forget_older(self, file: str, job: str, place: Place) -> None:
        self._connection.execute(
            "DELETE FROM older_places WHERE job = ? AND file = ? AND target = ? AND place = ?",
            (job, file, place.target, place.name),
        )

    def _take_away(self, there: _There, place: Place, by: str) -> None:
        """A file's place is another's from now on, with what is there. Where only the spelling of both is the same place,
        a document may be under the other one."""
        key = (there.job, there.file)
        if there.at is not None and there.is_done_at(place):
            if not there.at.is_at(place):
                self.remember_older(there.file, there.job, there.at)
            self._connection.execute(
                "UPDATE ledger SET target = NULL, place = NULL, mark = NULL, replaced_by = ?, "
                "basis = CASE WHEN deleted THEN ? ELSE basis END WHERE job = ? AND file = ?",
                (by, GONE, *key),
            )
        self._connection.execute(
            "DELETE FROM places WHERE place = ? AND job = ? AND file = ? AND NOT EXISTS "
            "(SELECT 1 FROM older_places AS o WHERE o.job = places.job AND o.file = places.file)",
            (place.key, *key),
        )

    def _do_again(self, files: Iterable[_There]) -> None:
        self._connection.executemany(
            "UPDATE ledger SET status = 'pending', attempts = 0, token = token + 1, due = NULL, selected_at = ? "
            "WHERE job = ? AND file = ? AND status = 'done'",
            [(self._stamp, there.job, there.file) for there in files],
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


def _there(connection: sqlite3.Connection, place: Place, but: str = "") -> list[_There]:
    """The files that were given a place, whatever became of it; all but one."""
    rows = connection.execute(
        f"SELECT ledger.file, ledger.job, status, deleted, retract, {PLACE} FROM places AS p CROSS JOIN ledger "
        "ON ledger.job = p.job AND ledger.file = p.file WHERE p.place = ? AND p.file <> ?",
        (place.key, but),
    ).fetchall()
    return [
        _There(file, job, status, bool(deleted), bool(undo), read_place(at, file))
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
