"""What a run of a job did, in numbers and with the files that failed."""

from __future__ import annotations

from dataclasses import dataclass

from mmmeta.errors import JobFailedError
from mmmeta.state.ledger.outcomes import Settled
from mmmeta.state.ledger.view import Waiting

FAILURES_KEPT = 1_000
"""Failures named in a report; all are counted."""


@dataclass(frozen=True)
class Failure:
    """One file of a run that failed; ``status`` is ``failed`` (due again later) or ``dead``."""

    file: str
    error_type: str
    message: str
    attempts: int
    status: str


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes:
        selected: files that were due when the run started, whenever they were selected; of those that it was for.
        left: files that were set aside unprocessed when it started: deleted, or not meant by a changed definition. Those
            that an update set aside before it are not among them.
        attempted: files that the action was given, each once, by how it ended last: ``done``, ``retracted`` (undone after
            they were deleted), ``failed`` (due again later) and ``dead``.
        lost: files whose claim passed to another worker while this one was at it.
        postponed: files whose web server asks to wait; that is no attempt, and they are due again by themselves.
        waiting: of all files of the job that are postponed, whenever that was, how many wait for what.
        pending: files left for the next run; ``due_later`` ones failed, or are postponed, and wait.
        all_dead: files of the job that are dead, whenever they died: they wait for a person.
        bytes: of the documents.
        duration: seconds.
        failures: the first 1,000.
        stopped: whether the run was asked to stop before it was through.
        behind: files for which the target had receipts that the ledger knew nothing of: the state db is an older copy.
            Those that were there in their present version count as done, the others were done anew.
        elsewhere: what is done elsewhere than where the job points now, in a sentence; None where nothing is.
    """

    job: str
    selected: int
    left: int
    attempted: int
    done: int
    retracted: int
    failed: int
    dead: int
    lost: int
    postponed: int
    pending: int
    due_later: int
    all_dead: int
    bytes: int
    duration: float
    failures: tuple[Failure, ...]
    stopped: bool
    run_id: str | None
    behind: int = 0
    elsewhere: str | None = None
    waiting: tuple[Waiting, ...] = ()

    @property
    def behind_words(self) -> str | None:
        """That the state db is an older copy, in a sentence; None where nothing shows it."""
        if not self.behind:
            return None
        return (
            "the state db is older than what was loaded (was a copy of it put back?): the target has receipts that it does "
            f"not know, of {self.behind:,} file{'' if self.behind == 1 else 's'}. What is there in its present version counts "
            "as done, the rest comes anew"
        )

    @property
    def failed_share(self) -> float:
        """Share of the attempted files that failed, 0 to 1."""
        return (self.failed + self.dead) / self.attempted if self.attempted else 0.0

    def raise_for_failures(self) -> None:
        """Raise ``JobFailedError`` if any file failed."""
        if self.failed or self.dead:
            first = self.failures[0]
            raise JobFailedError(
                f"job {self.job!r}: {self.failed + self.dead} of {self.attempted} files failed, the first {first.file}: "
                f"{first.error_type}: {first.message}",
                self,
            )


class Tally:
    """Counts how files ended while a run goes on, each file once, by how it ended last.

    Attributes:
        counts: ``done``, ``retracted``, ``failed``, ``dead``, ``lost``, ``postponed`` → how many.
        bytes: of the documents.
        failures: the first 1,000.
        behind: files of which the ledger did not know that they were done.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(("done", "retracted", "failed", "dead", "lost", "postponed"), 0)
        self.bytes: int = 0
        self.failures: list[Failure] = []
        self._failed: dict[str, str] = {}
        self.behind: int = 0

    @property
    def total(self) -> int:
        """How many files the action was given."""
        return sum(self.counts.values())

    @property
    def attempted(self) -> int:
        """Of these, those whose attempt counts."""
        return self.total - self.counts["postponed"]

    def count(self, settled: Settled) -> None:
        """Count one file."""
        outcome = settled.outcome
        status = settled.status
        self.behind += settled.behind
        if settled.behind and status == "pending":  # given back untried; it comes again
            return
        if status in ("pending", "skipped"):  # it changed or went meanwhile; what was done was done nevertheless
            status = "done" if outcome.ok else "postponed" if outcome.postponed else "failed"
        if outcome.ok and outcome.claim.retract and status != "lost":
            status = "retracted"
        self._recount(settled)
        self.counts[status] += 1
        self.bytes += outcome.bytes or 0
        if status in ("failed", "dead") and len(self.failures) < FAILURES_KEPT:
            self.failures.append(
                Failure(
                    outcome.claim.file,
                    outcome.error_type or "",
                    outcome.error_message or "",
                    outcome.claim.attempt,
                    status,
                )
            )

    def _recount(self, settled: Settled) -> None:
        """Take back how a file was counted that failed before in this run, which happens where ``backoff`` is short.

        What an older version of it has met stays counted.
        """
        file = settled.outcome.claim.file
        before = self._failed.pop(file, None)
        if before is not None:
            self.counts[before] -= 1
            self.failures = [failure for failure in self.failures if failure.file != file]
        if settled.status in ("failed", "dead", "postponed"):
            self._failed[file] = settled.status
