"""``m.job(...)``: a job's selection, its files, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmmeta.actions import Action, CallFunction, make_action
from mmmeta.bench import Backend, Bench
from mmmeta.catalog import Catalog
from mmmeta.errors import JobError, UnknownKeyError, near_misses
from mmmeta.file import File
from mmmeta.filters import describe
from mmmeta.ledger_view import LedgerEntry, entries
from mmmeta.project_models import JobConfig
from mmmeta.runner import Failure, Keeper, Progress, Run, RunReport
from mmmeta.selection import Evaluation, JobRules
from mmmeta.status import JobStatus
from mmmeta.workers import Worker

__all__ = ["Failure", "Job", "Plan", "RunReport"]


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
        self._bench = Bench(config, backend)

    @property
    def rules(self) -> JobRules:
        """What the ledger keeps of the definition."""
        return self._bench.rules

    def evaluate(self) -> Evaluation:
        """Bring the pending files up to what was merged and saved last."""
        merged = self._backend.ensure_state()
        catalog = self._backend.catalog()
        self._check_keys(catalog)
        with self._bench.ledger(catalog) as ledger:
            return ledger.selection.evaluate(merged.state_revision)

    def pending(self, limit: int | None = None) -> list[File]:
        """The files that a run would take now, in its order; nothing is claimed."""
        self.evaluate()
        catalog = self._backend.catalog()
        names = self._bench.due(limit)
        rows = catalog.by_unique(names)
        return [self._bench.file(rows[name], catalog) for name in names if name in rows]

    def plan(self) -> Plan:
        """What a run would do; the selection is evaluated, nothing is claimed."""
        evaluation = self.evaluate()
        return Plan(self._bench.due_count(), None, evaluation.selected, describe(self.config.condition))

    def status(self) -> JobStatus:
        """The job in numbers, after evaluating its selection."""
        self.evaluate()
        return self._bench.status()

    def files(self, status: str | Sequence[str] = "failed") -> list[LedgerEntry]:
        """The ledger's rows of this job with this status (or these), the last settled first."""
        if not self._backend.state.exists():
            return []
        with self._backend.state.reading() as connection:
            return entries(connection, self.name, [status] if isinstance(status, str) else list(status))

    def retry(self, *, dead: bool = False, files: Sequence[str] | None = None) -> int:
        """Make failed files due now, dead ones too if asked; returns how many."""
        self.evaluate()
        with self._bench.ledger(self._backend.catalog()) as ledger:
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
        worker = Worker(self._bench.workers)
        worker.start()
        run = Run(self._bench, doer, worker, run_id, limit, progress, stop)
        try:
            with Keeper(self._bench, worker, run_id):
                return run.work(self.evaluate())
        finally:
            worker.stop()
            doer.close()
            self._backend.write_status()

    def _check_keys(self, catalog: Catalog) -> None:
        """A project file's selection must not ask for what no file has; with no files at all nothing can be said."""
        unknown = catalog.unknown_keys(self.config.condition)
        if self._strict and unknown and catalog.alive:
            raise UnknownKeyError(
                f"job {self.name!r}: no file has the key {unknown[0]!r}.{near_misses(unknown[0], catalog.keys)} "
                "Mend `where` in the project file"
            )
