"""``m.job(...)``: a job's selection, its files, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.errors import JobError, UnknownKeyError, near_misses
from mmmeta.files.file import File
from mmmeta.filters import parse
from mmmeta.jobs.actions.action import Action
from mmmeta.jobs.actions.call import CallFunction
from mmmeta.jobs.actions.make import make_action
from mmmeta.jobs.adoption import Adoption, adopt, done_before, places_of, present
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.hands import One, Several
from mmmeta.jobs.keeper import at_work
from mmmeta.jobs.plan import Plan
from mmmeta.jobs.reading import ReadableJob
from mmmeta.jobs.report import Failure, RunReport
from mmmeta.jobs.results import Results
from mmmeta.jobs.run import Run
from mmmeta.jobs.why import unknown_file, unknown_names
from mmmeta.reports import Progress
from mmmeta.state.evaluation import Evaluation
from mmmeta.state.ledger.store import Ledger
from mmmeta.state.ledger.view import Attempt, LedgerEntry

__all__ = ["Adoption", "Attempt", "Failure", "Job", "LedgerEntry", "Plan", "Results", "RunReport"]


class Job(ReadableJob):
    """One job of one metadir: ``m.job(...)``; what it shows is in ``ReadableJob``."""

    def retry(
        self,
        *,
        dead: bool = False,
        done: bool = False,
        elsewhere: bool = False,
        only: Mapping[str, Any] | None = None,
        files: str | Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> int:
        """Make failed files due now, dead and done ones too if asked; or exactly these files, done ones as well.

        They have all their attempts before them again. Returns how many; files in a worker's hands are left alone.

        Args:
            elsewhere: just what is done elsewhere than where the job points now.
            only: of these the ones that this filter means, as in ``run``.
            files: their unique values, or a single one; nothing else is asked then.

        Raises:
            JobError: there is no file of such a name; nothing was changed.
            UnknownKeyError: no file has a key of ``only``.
        """
        names = [files] if isinstance(files, str) else None if files is None else list(files)
        if names is None and (done or only is not None):
            self.evaluate()
            wanted = ["failed", *(["dead"] if dead else []), *(["done"] if done else [])]
            names = self._bench.settled_among(self._keys.narrowed(only or {}, self._state.catalog(warn=False)), wanted)
        with self._changing(dry_run) as (ledger, catalog):
            for name in unknown_names(catalog, names or ()):
                raise unknown_file(self._bench, name)
            return ledger.retry(dead=dead, files=self._bench.files_elsewhere(ledger) if elsewhere else names)

    def dismiss(self, files: str | Sequence[str] | None = None, *, dry_run: bool = False) -> int:
        """Settle dead files for good: they are set aside, and nobody is reminded of them any more. Returns how many.

        Another version of such a file comes as any other; ``retry`` takes it back by name.

        Args:
            files: their unique values, or a single one; all that are dead unless given. Those that are not dead are
                left alone.

        Raises:
            JobError: there is no file of such a name; nothing was changed.
        """
        names = [files] if isinstance(files, str) else None if files is None else list(files)
        with self._changing(dry_run) as (ledger, catalog):
            for name in unknown_names(catalog, names or ()):
                raise unknown_file(self._bench, name)
            return ledger.dismiss(names)

    def adopt(
        self, files: str | Iterable[str] | None = None, *, where: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> Adoption:
        """Take selected files for done, because somebody did them before: nothing is processed.

        Later versions of them come as those of any other file. Those not selected, done or claimed are left alone.

        Args:
            files: their unique values, or a single one.
            where: a filter, such as ``{"imported": True}`` for the flag of a script that the job replaces.
            dry_run: say what would happen, change nothing.

        Raises:
            UnknownKeyError: no file has a key of the filter: nothing was adopted.
            JobError: neither files nor a filter, or both.
        """
        if (files is None) == (where is None):
            raise JobError(f"job {self.name!r}: adopt takes files or where")
        with self._changing(dry_run) as (ledger, catalog):
            if files is None:
                # Absent counts as False: by a mistyped key everything, or nothing, would be adopted.
                for key in catalog.unknown_keys(parse(where or {})):
                    near = near_misses(key, catalog.keys)
                    raise UnknownKeyError(f"job {self.name!r}: no file has the key {key!r}: nothing was adopted.{near}")
                names = [row.unique_value for row in catalog.rows(parse(where or {}))]
            else:
                names = [files] if isinstance(files, str) else list(files)
            return adopt(ledger, catalog, places_of(self._bench, names))

    def adopt_present(self, *, dry_run: bool = False) -> Adoption:
        """Take for done what is already where the job puts it: rows in the table that it loads, documents with the
        right digest in its download folder.

        Raises:
            JobError: the job calls a function or a command; nobody knows where to look.
        """
        with self._changing(dry_run) as (ledger, _):
            names = ledger.adoptable()
        # Looking may take long, so no transaction is open meanwhile.
        found = dict(present(self._bench, names))
        with self._changing(dry_run) as (ledger, catalog):
            return adopt(ledger, catalog, found)

    def done_before(self) -> str | None:
        """That results are there although the ledger is new, in a sentence; None where nothing of that is seen."""
        return done_before(self._bench)

    def adopt_elsewhere(self, *, dry_run: bool = False) -> int:
        """Take what is done elsewhere than where the job points now as it is; returns how many files that are."""
        with self._changing(dry_run) as (ledger, _):
            return self._bench.accept_elsewhere(ledger)

    def forget(self, *, dry_run: bool = False) -> int:
        """Remove the job's part of the ledger; the next run does every file again. Returns how many were known."""
        if not self._state.has_ledger():
            return 0
        with self._bench.rehearsing() if dry_run else self._bench.changing() as ledger:
            count = ledger.forget()
        if not dry_run:
            self._state.write_status()
        return count

    @contextmanager
    def _changing(self, dry_run: bool) -> Iterator[tuple[Ledger, Catalog]]:
        """The evaluated ledger in one transaction, of which a dry run leaves nothing."""
        merged = self._state.current()
        catalog = self._state.catalog()
        self._keys.check(catalog)
        with self._bench.evaluated(catalog, merged.state_revision, dry_run=dry_run) as ledger:
            yield ledger, catalog
        if not dry_run:
            self._state.write_status()

    # With a loop of one's own

    def claim(self, count: int = 1) -> list[File]:
        """Take up to so many pending files for a loop of one's own; say of each ``done``, ``failed`` or ``release``. Where
        such a loop puts things is its own affair: no place is reserved, and nobody but the loop can undo it.

        Nobody else gets them meanwhile. ``file.claim`` has the attempt, whether the file is to be undone (``retract``),
        and the receipt for an SQL database. An empty list when nothing is pending.
        """
        self.evaluate()
        return self._hands.claim(count)

    def done(self, *files: File, bytes: int | None = None) -> list[str]:
        """Record that claimed files were done; returns each one's status, ``lost`` if another worker has it by now."""
        return self._hands.settle(files, size=bytes)

    def failed(self, file: File, error: Exception) -> str:
        """Record that a claimed file failed; it is ``failed`` (due again later) or ``dead`` now."""
        return self._hands.settle([file], error)[0]

    def release(self, *files: File) -> None:
        """Give these claimed files back untried."""
        self._hands.release(files)

    def release_all(self) -> None:
        """Give back untried all files that this object has claimed."""
        self._hands.release_all()

    def one(self) -> One:
        """One file, claimed for the block, or None: done at its end, failed if it raises (which goes on rising).

        What the block says of it itself (``done``, ``failed``, ``release``) counts.
        """
        return One(self.several(1))

    def several(self, count: int) -> Several:
        """Up to so many files, claimed for the block: all done at its end, all failed if it raises; but for those of
        which the block says itself how they ended. A block that is broken off (Ctrl-C) gives them back."""
        return Several(self._hands, lambda: self.claim(count))

    def run(
        self,
        action: Callable[[Any], object] | None = None,
        *,
        batch: bool = False,
        run_id: str | None = None,
        limit: int | None = None,
        only: Mapping[str, Any] | None = None,
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
            only: of the pending files those that this filter means, such as ``{"retrieved_at": {">=": "2026-05-01"}}``;
                the others stay pending.
            progress: called with what is done, how many, and of how many.
            stop: asked between files; True ends the run early.

        Raises:
            JobError, UnknownKeyError: the definition cannot work, or no file has a key of ``only``. Failures of files are
                in the report.
        """
        if self._state.is_worker:
            return self.work(action, batch=batch, run_id=run_id, limit=limit, only=only, progress=progress, stop=stop)
        self._state.ensure()
        options = {"run_id": run_id, "limit": limit, "progress": progress, "stop": stop}
        with self._running(self._bench, action, batch, only, options) as run:
            report = run.work(self.evaluate())
            if self._bench.status().evaluated < self._state.current().state_revision:
                self.evaluate()  # what the action has saved shall not look like news that came after the run
        return report

    def work(
        self,
        action: Callable[[Any], object] | None = None,
        *,
        batch: bool = False,
        run_id: str | None = None,
        limit: int | None = None,
        only: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> RunReport:
        """Help with what is pending, until nothing is: as ``run``, but nothing is merged, and the selection is left as it was
        evaluated last, by an update or a run. Any number of processes may do so at once.

        Raises:
            JobError: also where the job was never evaluated, or somebody defines it otherwise by now than it is here.
            StateDbError: there is no state db.
        """
        bench = self._bench.told()
        bench.catch_up()
        options = {"run_id": run_id, "limit": limit, "progress": progress, "stop": stop}
        with self._running(bench, action, batch, only, options) as run:
            report = run.work(Evaluation())
            bench.catch_up()  # as after a run
        return report

    @contextmanager
    def _running(
        self,
        bench: Bench,
        action: Callable[[Any], object] | None,
        batch: bool,
        only: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> Iterator[Run]:
        """A run with a worker that lives as long as the block."""
        narrowed = None if only is None else self._keys.narrowed(only, self._state.catalog(warn=False))
        if action is not None:
            doer: Action = CallFunction(action, batched=batch)
        else:
            layout, state_id = self._state.layout, bench.state_id
            doer = make_action(self.config, self._state.action_config(), layout, state_id, options["run_id"], bench)
        with at_work(bench, doer, options["run_id"]) as worker:
            yield Run(bench, doer, worker, only=narrowed, **options)
