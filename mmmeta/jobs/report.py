"""What a run of a job did, in numbers and with the files that failed."""

from __future__ import annotations

from dataclasses import dataclass

from mmmeta.errors import JobFailedError
from mmmeta.state.ledger.outcomes import Settled

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
        pending: files left for the next run; ``due_later`` ones failed and wait.
        all_dead: files of the job that are dead, whenever they died: they wait for a person.
        bytes: of the documents.
        duration: seconds.
        failures: the first 1,000.
        stopped: whether the run was asked to stop before it was through.
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
    pending: int
    due_later: int
    all_dead: int
    bytes: int
    duration: float
    failures: tuple[Failure, ...]
    stopped: bool
    run_id: str | None
    elsewhere: str | None = None

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
        counts: ``done``, ``retracted``, ``failed``, ``dead``, ``lost`` → how many.
        bytes: of the documents.
        failures: the first 1,000.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("done", "retracted", "failed", "dead", "lost"), 0)
        self.bytes = 0
        self.failures: list[Failure] = []
        self._failed: dict[str, str] = {}

    @property
    def total(self) -> int:
        """How many files the action was given."""
        return sum(self.counts.values())

    def count(self, settled: Settled) -> None:
        """Count one file."""
        outcome = settled.outcome
        status = settled.status
        if status in ("pending", "skipped"):  # it changed or went meanwhile; what was done was done nevertheless
            status = "done" if outcome.ok else "failed"
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
        if settled.status in ("failed", "dead"):
            self._failed[file] = settled.status
