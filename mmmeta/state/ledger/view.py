"""What the ledger shows, to people and to whoever decides by it: numbers, one file of a job, one try."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mmmeta.clock import from_text
from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.outcomes import Elsewhere, Place, Pointing
from mmmeta.state.ledger.payloads import Told
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.status import JobStatus


@dataclass(frozen=True)
class LedgerEntry:
    """One file of a job as the ledger has it; times are aware UTC.

    Attributes:
        retract: what is due, or failed, is to undo what was done.
        place: where the result is; None if there is none, or nobody knows.
    """

    file: str
    status: str
    attempts: int
    error_type: str | None
    error_message: str | None
    error_lines: str | None
    run_id: str | None
    bytes: int | None
    retract: bool
    selected_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    due: datetime | None
    place: Place | None = None


@dataclass(frozen=True)
class Waiting:
    """Files of a job that are postponed for one reason.

    Attributes:
        reason: what they wait for and why, such as ``waiting for example.org, which answered 429 Too Many Requests``.
        files: how many.
        until: aware UTC; when the first of them is due.
    """

    reason: str
    files: int
    until: datetime


@dataclass(frozen=True)
class Attempt:
    """One try of one file; times are aware UTC.

    Attributes:
        status: ``done``, ``failed``, ``dead`` (failed for the last time), ``lost`` (the claim had passed to another),
            ``retracted`` (undone after the file was deleted), ``postponed`` (refused, and not counted), ``adopted`` or
            ``dismissed``.
        worker: None where no worker was needed.
    """

    job: str
    file: str
    status: str
    run_id: str | None
    worker: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error_type: str | None
    error_message: str | None
    bytes: int | None


@dataclass(frozen=True)
class EndedFile:
    """A file that failed when it was tried last; ``status`` is ``failed`` (due again later) or ``dead``."""

    file: str
    status: str
    error_type: str | None
    error_message: str | None
    attempts: int


@dataclass(frozen=True)
class Ended:
    """What all workers together have done from some attempt on: each file once, by how it ended last.

    Attributes:
        counts: ``done``, ``failed``, ``dead``, ``retracted``, ``postponed`` → how many files; none that are 0.
        bytes: of the documents.
        failures: the first ones that failed.
    """

    counts: Mapping[str, int]
    bytes: int
    failures: tuple[EndedFile, ...]


ENDS = ("done", "retracted", "failed", "dead", "postponed")
"""How a file can have ended. One that was lost ended in other hands."""


class LedgerView(ABC):
    """What the ledger says, as of one moment; nothing is changed, and nothing counts a million rows to say "nothing to do"."""

    @abstractmethod
    def jobs(self) -> list[str]:
        """The names of all jobs that were ever evaluated, sorted."""

    @abstractmethod
    def rules(self, job: str) -> JobRules | None:
        """A job's rules as it was last evaluated; None if it never was."""

    @abstractmethod
    def status(self, job: str, now: datetime) -> JobStatus | None:
        """A job in numbers; None if it never was evaluated."""

    def payloads(self, files: Sequence[str]) -> dict[str, Told]:
        """What was told last of these files, whatever job has them, for who has no files; none where nobody tells it."""
        return {}

    @abstractmethod
    def count(self, job: str, status: str) -> int:
        """How many files of a job have a status."""

    @abstractmethod
    def due(self, job: str, now: datetime, *, descending: bool, limit: int | None = None) -> list[str]:
        """The files of a job that could run now, in the order of its runs."""

    @abstractmethod
    def names(self, job: str, statuses: Sequence[str]) -> list[str]:
        """The files of a job that have one of these statuses, sorted."""

    @abstractmethod
    def next_done(self, job: str, name: str) -> str | None:
        """The first file that is done, from this name on; None where there is none."""

    @abstractmethod
    def places(self, job: str, files: Sequence[str]) -> dict[str, Place]:
        """Where the results of these files are, of those for which that is known."""

    @abstractmethod
    def statuses(self, job: str, files: Sequence[str]) -> dict[str, str]:
        """The status of each of these files that the job has; ``postponed`` for one that waits without having failed."""

    @abstractmethod
    def documents(self, files: Sequence[str]) -> dict[str, str]:
        """The paths at which jobs have put the documents of these files, of those that are done; the first job's."""

    @abstractmethod
    def done_versions(self, job: str, files: Sequence[str]) -> dict[str, str]:
        """What ``rerun_on`` compares, of the version in which these files were done last."""

    @abstractmethod
    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        """Those of these files at whose place jobs work, or have worked: what stands there a job has put there."""

    @abstractmethod
    def others(self, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
        """Before what is at these places of files is undone: where other files are done there by now, and not deleted.

        Args:
            places: file → all its places.
        """

    @abstractmethod
    def replaced(self, job: str, files: Sequence[str]) -> set[str]:
        """Those of these files of which nothing is there, because a later version of the document has their place."""

    @abstractmethod
    def elsewhere(self, job: str, pointing: Pointing) -> tuple[Elsewhere, ...]:
        """How many files are done, not deleted, and not where the job points now, unless that was accepted."""

    @abstractmethod
    def entries(self, job: str, statuses: Sequence[str]) -> list[LedgerEntry]:
        """The files of a job that have one of these statuses, the last settled first.

        Raises:
            JobError: there is no such status.
        """

    @abstractmethod
    def entry(self, job: str, file: str) -> LedgerEntry | None:
        """What the ledger says of one file of a job; None if it never was selected."""

    @abstractmethod
    def history(
        self,
        *,
        job: str | None = None,
        file: str | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[Attempt]:
        """Attempts of a job, of a file, of a run (the beginning of its id is enough), or of all, the latest first.

        Raises:
            JobError: the run's id is empty, as an unset variable of a script is.
        """

    @abstractmethod
    def done_by(self, job: str, run_id: str) -> list[str]:
        """The files that a run of a job has done."""

    @abstractmethod
    def done_since(self, job: str, attempt: int) -> list[str]:
        """The files that any worker has done after this attempt."""

    @abstractmethod
    def last_attempt(self) -> int:
        """The number of the last attempt of any job; 0 where there is none. What is tried from now on has a larger one."""

    @abstractmethod
    def ended_since(self, job: str, attempt: int, failures: int) -> Ended:
        """What workers have done with files of a job after this attempt, whoever they were; so many failures at most."""

    @abstractmethod
    def oldest_pending(self, job: str) -> datetime | None:
        """When the file that has waited longest was selected; reads all pending rows of the job."""

    @abstractmethod
    def hosts(self) -> dict[str, Closed]:
        """The hosts that are not to be asked for a time, or were not until a moment ago."""

    @abstractmethod
    def waiting(self, job: str) -> list[Waiting]:
        """The files of a job that are postponed, by reason; those that are due first come first."""

    @abstractmethod
    def set_aside(self, job: str) -> dict[str, int]:
        """Reason → how many files of a job were set aside for it (see ``rules.REASONS``)."""

    @abstractmethod
    def set_aside_since(self, job: str, reason: str, since: datetime) -> int:
        """How many files of a job were set aside for this reason, at that moment (aware UTC) or later."""

    @abstractmethod
    def targets(self, job: str) -> list[str]:
        """Where a job has put results, as ``Pointing`` names it."""

    @abstractmethod
    def renaming(self) -> tuple[str, str] | None:
        """Old and new name of a job whose renaming was broken off; None where none was."""

    @abstractmethod
    def miscounts(self) -> list[tuple[str, str]]:
        """Jobs whose counts are not what they should be, each with a sentence; counts all rows."""


def entry_of(row: Sequence[Any]) -> LedgerEntry:
    """A row of ``ledger`` for a person: file, status, attempts, error (type, message, lines), run, bytes, whether it is undone, the
    moments at which it was selected, claimed and settled, when it is due, and its place (target, name, mark)."""
    file, status, attempts, kind, message, lines, run_id, size, retract, *times, due, target, name, mark = row
    selected, claimed, settled = map(moment, times)
    return LedgerEntry(
        file,
        status,
        attempts,
        kind,
        message,
        lines,
        run_id,
        size,
        bool(retract),
        selected,
        claimed,
        settled,
        None if due is None else datetime.fromtimestamp(due, timezone.utc),
        read_place((target, name, mark), file),
    )


def moment(text: str | None) -> datetime | None:
    """A moment as the ledger keeps it."""
    return None if text is None else from_text(text)


def differences(kept: Mapping[tuple[str, str], int], real: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Where the counts of a job's statuses that are kept are not those of its rows: job, and what differs in words."""
    return [
        (
            job,
            f"the count of {status} files says {kept.get((job, status), 0)}, and there are {real.get((job, status), 0)}",
        )
        for job, status in sorted({key for key, _ in kept.items() ^ real.items()})
    ]
