"""Jobs: a selection, an action, rules; and the runner that claims, processes and settles files in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmmeta.actions import Action, CallFunction, Item, make_action
from mmmeta.catalog import Catalog
from mmmeta.clock import Clock
from mmmeta.config import Config
from mmmeta.database import Database
from mmmeta.errors import JobError, JobFailedError, MmmetaError, UnknownKeyError, near_misses
from mmmeta.file import File
from mmmeta.filters import describe
from mmmeta.layout import Layout
from mmmeta.ledger import (
    Claim,
    Evaluation,
    JobRules,
    Ledger,
    LedgerEntry,
    Outcome,
    Settled,
    entries,
    job_status,
)
from mmmeta.project_models import JobConfig
from mmmeta.state_db import Merged
from mmmeta.status import JobStatus
from mmmeta.workers import Worker

log = logging.getLogger(__name__)

SETTLE_EVERY = 1.0
"""Seconds after which outcomes are recorded even within a batch; what is not recorded runs again after a crash."""

BEAT_EVERY = 10.0
"""Seconds between two signs of life in the ledger and status.json; the sensor takes three missed ones for a death."""

FAILURES_KEPT = 1_000
"""Failures named in a report; all are counted."""

Progress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Failure:
    """One file of a run that failed; ``status`` is ``failed`` (due again later) or ``dead``."""

    file: str
    error_type: str
    message: str
    attempts: int
    status: str


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        files: files that a run would take now.
        bytes: their size, None where the metadata does not tell.
        newly_selected: of these, files that were not pending before.
        condition_words: the selection in words.
    """

    files: int
    bytes: int | None
    newly_selected: int
    condition_words: str


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes:
        selected: files that became pending when the run started.
        attempted: files that the action was given; ``done``, ``failed`` (due again later) and ``dead`` of these.
        lost: files whose claim passed to another worker while this one was at it.
        pending: files left for the next run; ``due_later`` ones failed and wait.
        bytes: of the documents.
        duration: seconds.
        failures: the first 1,000.
        stopped: whether the run was asked to stop before it was through.
    """

    job: str
    selected: int
    attempted: int
    done: int
    failed: int
    dead: int
    lost: int
    pending: int
    due_later: int
    bytes: int
    duration: float
    failures: tuple[Failure, ...]
    stopped: bool
    run_id: str | None

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


class Backend(Protocol):
    """What a job needs of the metadir it belongs to."""

    layout: Layout
    state: Database
    clock: Clock

    @property
    def config(self) -> Config:
        """What config.yml says."""

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields."""

    def ensure_state(self) -> Merged:
        """Merge for the first time if that has not happened; what is merged."""

    def catalog(self) -> Catalog:
        """The state db's files."""

    def write_status(self) -> None:
        """Bring status.json up to date."""


class Job:
    """One job of one metadir: ``m.job(...)``.

    Attributes:
        name: as in the ledger.
        config: its definition.
    """

    def __init__(self, config: JobConfig, backend: Backend, *, strict: bool) -> None:
        self.name = config.name
        self.config = config
        self._backend = backend
        self._strict = strict
        unique = backend.config.metadata.unique
        if not isinstance(config.rerun_on, str) and set(config.rerun_on) == {unique}:
            raise JobError(
                f"job {self.name!r}: rerun_on: [{unique}] can never fire, for {unique!r} is what identifies a file; "
                "use content, metadata, never or other keys"
            )
        self._rules = JobRules(
            name=config.name,
            condition=config.condition,
            rerun_on=config.rerun_on if isinstance(config.rerun_on, str) else tuple(config.rerun_on),
            content_key=backend.config.metadata.content,
            attempts=config.attempts,
            backoff=config.backoff,
            order_by=config.order_by,
            fingerprint=config.fingerprint(),
        )

    @property
    def rules(self) -> JobRules:
        """What the ledger keeps of the definition."""
        return self._rules

    def evaluate(self) -> Evaluation:
        """Bring the pending files up to what was merged and saved last."""
        merged = self._backend.ensure_state()
        catalog = self._backend.catalog()
        self._check_keys(catalog)
        with self._ledger(catalog) as ledger:
            return ledger.evaluate(merged.state_revision)

    def pending(self, limit: int | None = None) -> list[File]:
        """The files that a run would take now, in its order; nothing is claimed."""
        self.evaluate()
        catalog = self._backend.catalog()
        names = self._due_names(limit)
        rows = catalog.by_unique(names)
        return [self._file(rows[name], catalog) for name in names if name in rows]

    def plan(self) -> Plan:
        """What a run would do; the selection is evaluated, nothing is claimed."""
        evaluation = self.evaluate()
        return Plan(len(self._due_names(None)), None, evaluation.selected, describe(self.config.condition))

    def status(self) -> JobStatus:
        """The job in numbers, after evaluating its selection."""
        self.evaluate()
        with self._backend.state.reading() as connection:
            status = job_status(connection, self.name, self._backend.clock(), self._workers)
        assert status is not None
        return status

    def files(self, status: str | Sequence[str] = "failed") -> list[LedgerEntry]:
        """The ledger's rows of this job with this status (or these), the last settled first."""
        if not self._backend.state.exists():
            return []
        with self._backend.state.reading() as connection:
            return entries(connection, self.name, [status] if isinstance(status, str) else list(status))

    def retry(self, *, dead: bool = False, files: Sequence[str] | None = None) -> int:
        """Make failed files due now, dead ones too if asked; returns how many."""
        self.evaluate()
        with self._ledger(self._backend.catalog()) as ledger:
            count = ledger.retry(dead=dead, files=files)
        self._backend.write_status()
        return count

    def run(
        self,
        action: Callable[[Any], object] | None = None,
        *,
        batch: bool = False,
        run_id: str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> RunReport:
        """Work through the pending files.

        Each file is claimed, handed to the action and settled; one that raises does not stop the others. What was
        claimed and not tried is given back, also when this is interrupted.

        Args:
            action: a function of one ``File`` (of a list of them with ``batch``); the definition's own unless given.
            run_id: recorded in the ledger, such as Dagster's.
            limit: files at most; the definition's own limit unless given.
            progress: called with what is done, how many, and of how many.
            stop: asked between files; True ends the run early.

        Raises:
            JobError, UnknownKeyError: the definition cannot work. Failures of files are in the report.
        """
        merged = self._backend.ensure_state()
        if action is not None:
            doer: Action = CallFunction(action, batched=batch)
        else:
            doer = make_action(self.config, self._backend.config, self._backend.layout, merged.state_id)
        worker = Worker(self._workers)
        worker.start()
        run = _Run(self, doer, worker, run_id, limit, progress, stop)
        try:
            with _Keeper(self, worker, run_id):
                return run.work(self.evaluate())
        finally:
            worker.stop()
            doer.close()
            self._backend.write_status()

    @property
    def _workers(self) -> Path:
        return self._backend.layout.local / "workers"

    @contextmanager
    def _ledger(self, catalog: Catalog) -> Iterator[Ledger]:
        with self._backend.state.atomic() as connection:
            yield Ledger(connection, catalog, self._rules, self._workers, self._backend.clock())

    def _file(self, row: Any, catalog: Catalog) -> File:
        return File(row, catalog.unique, self._backend.config.remote, self._backend.save)

    def _due_names(self, limit: int | None) -> list[str]:
        descending = self.config.order_by is not None and self.config.order_by.startswith("-")
        with self._backend.state.reading() as connection:
            return [
                row[0]
                for row in connection.execute(
                    "SELECT file FROM ledger WHERE job = ?1 AND (status = 'pending' OR (status = 'failed' AND due <= ?2)) "
                    f"ORDER BY priority {'DESC' if descending else 'ASC'}, file LIMIT ?3",
                    (self.name, self._backend.clock().timestamp(), -1 if limit is None else limit),
                )
            ]

    def _check_keys(self, catalog: Catalog) -> None:
        """A project file's selection must not ask for what no file has; with no files at all nothing can be said."""
        unknown = catalog.unknown_keys(self.config.condition)
        if self._strict and unknown and catalog.alive:
            raise UnknownKeyError(
                f"job {self.name!r}: no file has the key {unknown[0]!r}.{near_misses(unknown[0], catalog.keys)} "
                "Mend `where` in the project file"
            )


class _Keeper:
    """Says in the background that a run lives, and prolongs its leases, until the run ends."""

    def __init__(self, job: Job, worker: Worker, run_id: str | None) -> None:
        self._job = job
        self._worker = worker
        self._run_id = run_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"mmmeta {job.name}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        lease = self._job.config.lease
        while not self._over.wait(min(BEAT_EVERY, lease / 3)):
            try:
                with self._job._ledger(self._job._backend.catalog()) as ledger:
                    ledger.renew(self._worker.name, lease, self._run_id)
                self._job._backend.write_status()
            except MmmetaError as error:
                log.warning("job %s could not prolong its leases: %s", self._job.name, error)


class _Run:
    """One run: counts, and the loop."""

    def __init__(
        self,
        job: Job,
        action: Action,
        worker: Worker,
        run_id: str | None,
        limit: int | None,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        own = job.config.limit
        self._job = job
        self._action = action
        self._worker = worker
        self._run_id = run_id
        self._files_left = limit if limit is not None else (own.files if own is not None else None)
        self._bytes_left = own.bytes if own is not None else None
        self._progress = progress
        self._stop = stop
        self._started = time.monotonic()
        self._counts = dict.fromkeys(("done", "failed", "dead", "lost", "pending"), 0)
        self._bytes = 0
        self._failures: list[Failure] = []
        self._stopped = False
        self._total: int | None = None
        self._unsettled: dict[str, Claim] = {}
        self._outcomes: list[Outcome] = []
        self._last_settled = time.monotonic()

    def work(self, evaluation: Evaluation) -> RunReport:
        self._total = len(self._job._due_names(None))
        try:
            while not self._finished():
                items = self._claim()
                if items is None:
                    break
                self._process(items)
                self._settle()
        finally:
            self._give_back()
        return self._report(evaluation)

    def _finished(self) -> bool:
        if self._stop is not None and self._stop():
            self._stopped = True
        spent = (self._files_left is not None and self._files_left <= 0) or (
            self._bytes_left is not None and self._bytes_left <= 0
        )
        return self._stopped or spent

    def _claim(self) -> list[Item] | None:
        """Claim a batch; None when nothing is pending. Files deleted meanwhile are set aside."""
        config = self._job.config
        count = config.batch_size if self._files_left is None else min(config.batch_size, self._files_left)
        catalog = self._job._backend.catalog()
        with self._job._ledger(catalog) as ledger:
            claims = ledger.claim(count, worker=self._worker.name, run_id=self._run_id, lease=config.lease)
        if not claims:
            return None
        self._unsettled = {claim.file: claim for claim in claims}
        rows = catalog.by_unique([claim.file for claim in claims])
        gone = [claim for claim in claims if claim.file not in rows or rows[claim.file].system["__deleted"]]
        if gone:
            with self._job._ledger(catalog) as ledger:
                ledger.skip(gone)
            for claim in gone:
                del self._unsettled[claim.file]
        return [Item(self._job._file(rows[name], catalog), claim) for name, claim in self._unsettled.items()]

    def _process(self, items: list[Item]) -> None:
        if not items:
            return
        if self._action.batched:
            self._note(self._action.process(items))
        elif self._job.config.workers == 1:
            for item in items:
                if self._finished():
                    return
                self._note(self._action.process([item]))
        else:
            self._process_in_threads(items)

    def _process_in_threads(self, items: list[Item]) -> None:
        workers = self._job.config.workers
        queue = iter(items)
        running: set[Future[list[Outcome]]] = set()
        with ThreadPoolExecutor(workers, thread_name_prefix=f"mmmeta-{self._job.name}") as pool:
            while True:
                while len(running) < workers and not self._finished():
                    item = next(queue, None)
                    if item is None:
                        break
                    running.add(pool.submit(self._action.process, [item]))
                if not running:
                    return
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    self._note(future.result())

    def _note(self, outcomes: list[Outcome]) -> None:
        self._outcomes.extend(outcomes)
        if self._files_left is not None:
            self._files_left -= len(outcomes)
        if self._bytes_left is not None:
            self._bytes_left -= sum(outcome.bytes or 0 for outcome in outcomes)
        if time.monotonic() - self._last_settled >= SETTLE_EVERY:
            self._settle()

    def _settle(self) -> None:
        if not self._outcomes:
            return
        outcomes, self._outcomes = self._outcomes, []
        with self._job._ledger(self._job._backend.catalog()) as ledger:
            settled = ledger.settle(outcomes, run_id=self._run_id, worker=self._worker.name)
        for entry in settled:
            self._unsettled.pop(entry.outcome.claim.file, None)
            self._count(entry)
        self._last_settled = time.monotonic()
        if self._progress is not None:
            self._progress(f"{self._job.name}", sum(self._counts.values()), self._total)

    def _count(self, settled: Settled) -> None:
        outcome = settled.outcome
        status = "done" if settled.status == "pending" and outcome.ok else settled.status
        self._counts[status] += 1
        self._bytes += outcome.bytes or 0
        if status in ("failed", "dead") and len(self._failures) < FAILURES_KEPT:
            self._failures.append(
                Failure(
                    outcome.claim.file,
                    outcome.error_type or "",
                    outcome.error_message or "",
                    outcome.claim.attempt,
                    status,
                )
            )

    def _give_back(self) -> None:
        """Record what is finished and release what is not, also on the way out of an interrupted run."""
        self._settle()
        if self._unsettled:
            with self._job._ledger(self._job._backend.catalog()) as ledger:
                ledger.release(list(self._unsettled.values()))
            self._unsettled = {}

    def _report(self, evaluation: Evaluation) -> RunReport:
        job = self._job
        with job._backend.state.reading() as connection:
            status = job_status(connection, job.name, job._backend.clock(), job._workers)
        assert status is not None
        return RunReport(
            job=job.name,
            selected=evaluation.selected,
            attempted=sum(self._counts.values()),
            done=self._counts["done"],
            failed=self._counts["failed"] + self._counts["pending"],
            dead=self._counts["dead"],
            lost=self._counts["lost"],
            pending=status.pending,
            due_later=status.failed,
            bytes=self._bytes,
            duration=time.monotonic() - self._started,
            failures=tuple(self._failures),
            stopped=self._stopped,
            run_id=self._run_id,
        )
