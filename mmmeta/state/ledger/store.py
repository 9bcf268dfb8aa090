"""What every ledger promises, whatever database it is in: the seam between jobs and the ledger's SQL.

The ledger reads no files. It is told of them as candidates, and its rows carry all that claiming, settling, retrying and
looking again need; whether what was done is the version that counts is the comparison of two of its own columns.

``sqlite`` and ``postgresql`` implement it. The tests of the ledger are written against this file and run over both; what the
ledger shows is in ``view``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.outcomes import Adopted, Candidate, Claim, Holder, Outcome, Place, Pointing, Settled
from mmmeta.state.ledger.payloads import Common, Teller, Told
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.view import LedgerView
from mmmeta.state.liveness import Alive
from mmmeta.state.status import Status

Current = Callable[[Sequence[str]], Iterable[Candidate]]
"""Gives files by name as a job's rules see them now; a name that no file has comes as deleted."""


@dataclass(frozen=True)
class KnownJob:
    """What the ledger was told of a job's definition.

    Attributes:
        evaluated: state revision up to which the selection was evaluated.
        evaluated_at: aware UTC; a moment at which all that time had brought into the selection was in the ledger.
    """

    rules: JobRules
    evaluated: int
    evaluated_at: datetime


@dataclass(frozen=True)
class Offered:
    """What an offer did.

    Attributes:
        selected: files newly pending.
        left: files set aside unprocessed: deleted, or not meant by a changed selection.
        retract: files that were done and are deleted now, handed to the action.
        left_done: files that are done, stay so, and that a changed selection does not mean; deleted ones left out.
        same: files newly set aside because another one of the same document is done instead (``once_per``).
    """

    selected: int = 0
    left: int = 0
    retract: int = 0
    left_done: int = 0
    same: int = 0


class Ledger(ABC):
    """One job's part of the ledger, within one transaction: all that is said here is kept, or nothing.

    Attributes:
        rules: the job's definition.
        wants_payloads: whether ``offer`` is to be given somebody who tells what is in the files, for workers that have none.
    """

    rules: JobRules
    wants_payloads: bool = False

    # What the selection means

    @abstractmethod
    def known(self) -> KnownJob | None:
        """What was evaluated last; None for a job that never was."""

    @abstractmethod
    def under(self, rules: JobRules) -> Ledger:
        """The same ledger under other rules of the same job, such as those that it had before."""

    @abstractmethod
    def offer(
        self,
        candidates: Iterable[Candidate],
        up_to: int | None,
        *,
        whole: bool = False,
        teller: Teller | None = None,
    ) -> Offered:
        """Take in what became of files, and remember the rules and the state revision up to which that is known.

        A file that the selection means becomes pending, unless this very version is done, failed or dead. One that is
        pending stays so whatever the selection says later. One that is deleted before its turn is set aside, and one
        that was done before is due to be undone where ``on_delete`` says so; if it comes back, that is called off. Of
        what is in a worker's hands only the version that counts is noted: it is looked at again when it leaves them.

        Of the files with one value of ``once_per`` one is done, and the others are set aside until it is deleted, changes its
        value or is dead; then the next is due. What was done with a deleted one is undone when another was done.

        Args:
            candidates: read once; a file that comes twice counts as it came first.
            up_to: None for some files by name: how far the ledger has come stays as it is.
            whole: these are all files that a changed selection means: what waits and is not among them leaves it.
            teller: asked, where the ledger wants that, for the payloads of those candidates that are in the ledger then.
        """

    @abstractmethod
    def redefine(self, known: JobRules, current: Current) -> None:
        """Adopt changed rules: what is done counts as done in the version that it has under them, and what failed as
        having failed in it. Call it after what changed under the old rules was offered.

        Args:
            known: the rules before.
        """

    # Work

    @abstractmethod
    def claim(
        self,
        count: int,
        *,
        worker: str,
        run_id: str | None,
        lease: float,
        without: Sequence[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[Claim]:
        """Take up to so many pending files, in the job's order; what came due, and what dead workers held, is pending
        again first. What is claimed is the version that counts at this moment.

        A file over which a worker died, fell silent or was ended comes alone and after all others, so that it takes none with
        it, and keeps none from its turn, if it was the reason.

        Args:
            lease: seconds until the claims are void unless they are renewed.
            without: files to leave alone.
            among: the files to take from; all unless given.
        """

    def payloads(self, files: Sequence[str]) -> dict[str, Told]:
        """What is told of these files of the job; within the transaction of a claim it is the version that was claimed. None
        where the ledger wants no payloads."""
        return {}

    @abstractmethod
    def renew(self, worker: str, lease: float, run_id: str | None) -> None:
        """Prolong this worker's leases, and say that the run lives."""

    @abstractmethod
    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        """Give claimed files their places, each to one file: a place is taken while its file is in a worker's hands,
        and after it was done there, until that is undone. A file of these that moves to another place frees its old one.

        Returns:
            file → who has its place, for those that could not have theirs.
        """

    @abstractmethod
    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        """Record how claimed files ended, in their order; a claim that another worker has raised since changes nothing.

        A file for which a target has a receipt that this ledger never gave a token for is done where the receipt is of
        the version that was claimed, and goes back untried otherwise; its next token is larger than the receipt's.

        A file that changed meanwhile, or was deleted, is looked at again at once. One that was done over an earlier version
        of its document takes that one's place. Where it was done before under another name, or in another target, is
        remembered until it is undone. One that is postponed is due again then, with the attempts it had before; a little
        later if it was refused several times in a row.
        """

    @abstractmethod
    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        """Remember, for all jobs, which hosts are not to be asked for a time; None for one that answers again."""

    @abstractmethod
    def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untried."""

    @abstractmethod
    def break_off(self, claims: Sequence[Claim]) -> None:
        """Give back claims that a worker was at when it was ended from outside: by Ctrl-C, a signal, an orchestrator.

        The first time this counts no attempt. A file that was alone in its worker's hands since something of the kind had
        happened to it, and to which it happens again, has used up one.
        """

    @abstractmethod
    def give_back(self, worker: str) -> list[str]:
        """Give back all that a worker still holds, untried; returns which files these are."""

    # What people ask for

    @abstractmethod
    def retry(self, *, dead: bool, files: Sequence[str] | None) -> int:
        """Make failed files (and dead ones) pending now, or just the named ones, done ones included unless they are
        deleted; all their attempts are before them. Named files that were dismissed come, too. Hosts that were not to be
        asked are asked again. Returns how many."""

    @abstractmethod
    def dismiss(self, files: Sequence[str] | None) -> int:
        """Set dead files aside for good, or those of the named ones that are dead: they wait for nobody any more.

        What was dismissed is the version that failed: another one comes as any other file, and so does what was to be
        undone and is back. What an older version has left stays known. Returns how many.
        """

    @abstractmethod
    def adopt(self, files: Mapping[str, Place | None]) -> Adopted:
        """Take selected files for done in the version they have now, because they are already where they should be.

        Files that are claimed, done already, or not selected are left alone, and so are those whose place another has.

        Args:
            files: name → where the result is, as far as that is known.
        """

    @abstractmethod
    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        """The files that are done, not deleted, and not where the job points now, unless that was accepted; sorted."""

    @abstractmethod
    def accept_elsewhere(self, pointing: Pointing) -> int:
        """Take these as they are: nobody is told of them any more. Returns how many they are."""

    @abstractmethod
    def forget(self) -> int:
        """Remove all that is known of the job; returns of how many files.

        Tokens go on from where they were: receipts in a target outlive the ledger, and would refuse smaller ones.
        """

    @abstractmethod
    def rename(self, new: str) -> int:
        """Give all that is known of the job another name, noted until ``end_renaming``; returns of how many files.

        Raises:
            JobError: a run is at work, or the ledger knows a job of the new name that has tried anything.
        """

    @abstractmethod
    def end_renaming(self) -> None:
        """Nothing outside of the ledger has the old name any more."""

    @abstractmethod
    def trim_history(self) -> None:
        """Remove attempts older than ``HISTORY_DAYS`` and not among the latest ``HISTORY_KEPT``, and targets without results."""

    @abstractmethod
    def due(self) -> list[str]:
        """The files that could run now, in no order."""

    @abstractmethod
    def adoptable(self) -> list[str]:
        """The files that are selected, and neither done nor in a worker's hands nor to be undone."""


class OwnChange(NamedTuple):
    """What clients have set of one file, and which keys they have removed."""

    file: str
    changed: dict[str, Any]
    removed: set[str]


class OwnValues(ABC):
    """What clients have set, where several of them share it; each change has a revision, larger than all before."""

    @abstractmethod
    def save(self, changes: Mapping[str, tuple[Mapping[str, Any], Collection[str]]]) -> None:
        """Write and remove keys of files, all or nothing: file → what is set, and what is removed.

        Raises:
            StateDbError: they cannot be written.
        """

    @abstractmethod
    def bring(self, values: Iterable[tuple[str, Mapping[str, Any]]], *, as_of: int = 0) -> None:
        """Take in what a client had before it shared them, where nobody has set or removed the key here.

        Args:
            as_of: of which revision they are, where that is a larger one than any here: a backup was restored here. Then they
                replace what is here, and revisions go on from there.
        """

    @abstractmethod
    def revision(self) -> int:
        """Of the last change."""

    @abstractmethod
    def removed_unseen(self, revision: int, values: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[OwnChange]:
        """Of what a client has as of a revision: what is not here any more, and of which no change tells.

        There is such a thing where all came here later than that revision from another state, as a copy of what is set.
        """

    @abstractmethod
    def since(self, revision: int, files: Collection[str] = ()) -> Iterator[OwnChange]:
        """What has changed after a revision, by file; of these files all."""


class LedgerStore(ABC):
    """The ledger of one state.

    Attributes:
        own: what clients have set, where the ledger keeps that for all of them; None where each has its own state db for it.
        longest_name: bytes of a unique value that it can keep, without a NUL in it; None for any.
    """

    own: OwnValues | None = None
    longest_name: int | None = None

    def why_unfit(self, file: str) -> str | None:
        """Why a unique value cannot be kept, so that its file is left out; None if it can."""
        return None

    @abstractmethod
    def changing(self, rules: JobRules) -> AbstractContextManager[Ledger]:
        """A job's ledger in one transaction, committed at the end, rolled back on any error.

        Raises:
            StateDbError: there is no state db, or it cannot be written.
        """

    @abstractmethod
    def rehearsing(self, rules: JobRules) -> AbstractContextManager[Ledger]:
        """The same in a transaction that leaves nothing behind: to see what would happen."""

    @abstractmethod
    def looking(self) -> AbstractContextManager[LedgerView]:
        """The ledger as it is now.

        Raises:
            StateDbError: there is no state db, or it cannot be read.
        """

    def admit(self) -> None:
        """Before this client tells anything: settle whether it may, and what its last update was told.

        Raises:
            StateDbError: the ledger cannot be asked.
            MassDeletionError: it is of another archive.
        """
        return

    @abstractmethod
    def identity(self) -> str:
        """Made once, with the ledger: whose tokens these are, as receipts in targets name it.

        Raises:
            StateDbError: there is none, or it cannot be read.
        """

    def common(self) -> Common | None:
        """What workers without files are told of all of them; None where nobody has told anything, or nobody is to."""
        return None

    def tell(self, status: Status) -> None:
        """Say what a client has merged, to whoever asks for runs on other machines; nothing where machines do not share it.

        Raises:
            StateDbError: it cannot be written.
        """
        return

    @abstractmethod
    def worker(self) -> Alive:
        """A new worker; it is alive from ``start`` on."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the next use opens new ones."""
