"""Who has which place: given to one file before anything is written there, kept by what is done, known until it is undone.

A place is held by a file that is at work there, was done there and is not deleted, or is still to be undone there. What is
decided here is the same for every ledger; what is read and written for it, each says in its own SQL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmmeta.state.ledger.outcomes import Claim, Holder, Outcome, Place, Pointing

GONE = "gone"
"""What a file was last done with whose document need not be there any more: no version is called so, so it is done anew if the
file comes back."""


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


class There(NamedTuple):
    """A file that was given a place, and where its result is now."""

    file: str
    job: str
    status: str
    deleted: bool
    retract: bool
    at: Place | None

    def is_done_at(self, place: Place) -> bool:
        return self.at is not None and self.at.key == place.key


class Standing(NamedTuple):
    """A file of the job, and where its result is now."""

    status: str
    deleted: bool
    at: Place | None


def read_place(columns: Sequence[Any], file: str) -> Place | None:
    """Where the result of a file is, as its row says: target, place and mark."""
    target, name, mark = columns
    return None if target is None else Place(target, file if name is None else name, mark)


class Places(ABC):
    """What one job's ledger knows of places, inside the caller's transaction."""

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        """Give claimed files their places; file → who has it, for those that could not have theirs."""
        taken: dict[str, list[Holder]] = {}
        moved = {file: place.key for file, place in places.items()}
        for file, place in places.items():
            holders = [
                Holder(there.file, there.job, there.status == "claimed")
                for there in self._there(place, file)
                if moved.get(there.file, place.key) == place.key and self._holds(there, place)
            ]
            if holders:
                taken[file] = holders
            else:
                self._give(place, file)
            self._note_begun(place, file)  # who is killed may leave something here
        return taken

    def keep(self, outcome: Outcome) -> Kept:
        """Where the result of a file that was done is from now on; what becomes of others that had the place."""
        claim, place = outcome.claim, outcome.place
        self._remember_left(claim, place)
        if place is None:
            return Kept(replaced_by=outcome.replaced_by)
        target, name = self.stored(place, claim.file)
        if place.is_own(claim.file):
            return Kept(target, name, place.mark)
        others = [there for there in self._there(place, claim.file) if there.file not in outcome.beside]
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
        if place is None or not outcome.ok or outcome.claim.retract or place.is_own(file):
            return
        self._do_again(there for there in self._there(place) if there.is_done_at(place) and not there.deleted)
        standing = self._standing(file)
        if standing is None:
            return
        if standing.at is None or not standing.at.is_at(place):
            self.remember_older(file, place)
        if standing.deleted and standing.status == "skipped" and undo:
            self._undo_again(file)

    def undone(self, claim: Claim) -> None:
        """Nothing is left of a file, wherever it was."""
        for place in claim.places:
            self._take_back(place, claim.file)
        self._forget_all_older(claim.file)

    def let_go(self, file: str, place: Place) -> None:
        """A place where nothing of a file is is nobody's again: what comes there by the next time is somebody's own."""
        standing = self._standing(file)
        known = [*self.older(file), *([] if standing is None or standing.at is None else [standing.at])]
        if not any(one.key == place.key for one in known):
            self._take_back(place, file)

    def _holds(self, there: There, place: Place) -> bool:
        if there.deleted and not there.retract:  # whatever comes there is not what it left
            return False
        if there.status == "claimed" or there.is_done_at(place):
            return True
        return there.retract and any(older.key == place.key for older in self.older(there.file, there.job))

    def _remember_left(self, claim: Claim, place: Place | None) -> None:
        """Note where the result was until now, if it is to be somewhere else; it is there still."""
        if claim.place is not None and place is not None and claim.place.is_at(place):
            return
        if place is not None and self._any_older():
            self._forget_older(claim.file, None, place)
        if claim.place is None:
            return
        standing = self._standing(claim.file)
        before = None if standing is None else standing.at  # not the claim's: another may have taken it since
        if before is not None and not (place is not None and before.is_at(place)):
            self.remember_older(claim.file, before)

    def _take_away(self, there: There, place: Place, by: str) -> None:
        """A file's place is another's from now on, with what is there. Where only the spelling of both is the same place,
        a document may be under the other one."""
        if there.at is not None and there.is_done_at(place):
            if not there.at.is_at(place):
                self.remember_older(there.file, there.at, there.job)
            self._replace(there, by)
        self._take_back_unless_older(place, there)

    # What is read and written. ``job`` is this one where it is None.

    @abstractmethod
    def ended(self, files: Iterable[str]) -> None:
        """Of what was begun with these files it is known how it ended."""

    @abstractmethod
    def older(self, file: str, job: str | None = None) -> tuple[Place, ...]:
        """Where results of earlier versions of a file still are."""

    @abstractmethod
    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        """The files that are done elsewhere, where that was not accepted."""

    @abstractmethod
    def accept(self, pointing: Pointing) -> None:
        """Take what is done elsewhere as it is."""

    @abstractmethod
    def trim(self) -> None:
        """Remove targets in which nothing is any more, so that nobody has to look for what is there."""

    @abstractmethod
    def stored(self, place: Place, file: str) -> tuple[int, str | None]:
        """A place as the columns ``target`` and ``place`` hold it; what a person has accepted of its target is void, for the
        job points there again."""

    @abstractmethod
    def remember_older(self, file: str, place: Place, job: str | None = None) -> None:
        """Something of an earlier version stays at a place."""

    @abstractmethod
    def _there(self, place: Place, but: str = "") -> list[There]:
        """The files that were given a place, whatever became of it; all but one."""

    @abstractmethod
    def _standing(self, file: str) -> Standing | None:
        """A file of this job; None if the ledger does not have it."""

    @abstractmethod
    def _give(self, place: Place, file: str) -> None: ...

    @abstractmethod
    def _take_back(self, place: Place, file: str) -> None: ...

    @abstractmethod
    def _take_back_unless_older(self, place: Place, there: There) -> None:
        """Unless something of an earlier version of the file is anywhere."""

    @abstractmethod
    def _note_begun(self, place: Place, file: str) -> None:
        """Something may be there from now on."""

    @abstractmethod
    def _any_older(self) -> bool:
        """Whether any file of the job has an earlier place. Nearly none has, and a statement for each costs."""

    @abstractmethod
    def _forget_older(self, file: str, job: str | None, place: Place) -> None: ...

    @abstractmethod
    def _forget_all_older(self, file: str) -> None: ...

    @abstractmethod
    def _replace(self, there: There, by: str) -> None:
        """Nothing of a file is anywhere any more: another one has written over it."""

    @abstractmethod
    def _do_again(self, files: Iterable[There]) -> None:
        """Make pending what is done of these."""

    @abstractmethod
    def _undo_again(self, file: str) -> None:
        """Make a file pending, to be undone."""
