"""Reading half of ``m.job(...)``: what the job makes of the files, how it stands, and what became of each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mmmeta.errors import JobError, UnknownKeyError
from mmmeta.files.file import File
from mmmeta.jobs.asked_keys import AskedKeys
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.hands import Hands
from mmmeta.jobs.plan import Plan, make_plan
from mmmeta.jobs.report import RunReport
from mmmeta.jobs.results import Results, look_for_results
from mmmeta.jobs.together import of_all
from mmmeta.jobs.why import Explanation, explain
from mmmeta.project.job import JobConfig
from mmmeta.state.evaluation import Evaluation
from mmmeta.state.ledger.rules import LEFT, JobRules
from mmmeta.state.ledger.view import Attempt, LedgerEntry, Waiting
from mmmeta.state.state import State
from mmmeta.state.status import JobStatus


class ReadableJob:
    """One job of one metadir, to look into; its selection is evaluated first where that matters.

    Attributes:
        name: as in the ledger.
        config: its definition.
    """

    def __init__(self, config: JobConfig, state: State, *, strict: bool, recorded: JobRules | None = None) -> None:
        self.name: str = config.name
        self.config = config
        self._state = state
        unique = state.config.metadata.unique
        named = recorded is None and not config.reruns_by_default and not isinstance(config.rerun_on, str)
        if named and set(config.rerun_on) == {unique}:
            raise JobError(
                f"job {self.name!r}: rerun_on: [{unique}] can never fire, for {unique!r} is what identifies a file; "
                "use content, metadata, never or other keys"
            )
        self._bench = Bench(config, state, recorded)
        self._hands = Hands(self._bench)
        # A job without an action was made in Python, wherever it is listed.
        self._keys = AskedKeys(config, strict=strict and config.action is not None)

    @property
    def rules(self) -> JobRules:
        """What the ledger keeps of the definition."""
        return self._bench.rules

    def evaluate(self) -> Evaluation:
        """Bring the pending files up to what was merged and saved last; a worker without files leaves that to others, and
        looks whether they mean the same job."""
        if self._state.is_worker:
            self._bench.catch_up()
            return Evaluation()
        merged = self._state.current()
        catalog = self._state.catalog()
        self._keys.check(catalog)
        with self._bench.changing() as ledger:
            return self._bench.evaluate(ledger, catalog, merged.state_revision)

    def pending(self, limit: int | None = None) -> list[File]:
        """The files that a run would take now, in its order; nothing is claimed."""
        self.evaluate()
        names = self._bench.due(limit)
        files = self._bench.files(names)
        return [files[name] for name in names if name in files]

    def due(self, only: Mapping[str, Any] | None = None) -> int:
        """How many files a run would take now; of those that a filter means, as in ``run``."""
        self.evaluate()
        return (
            self._bench.status().due
            if only is None
            else len(self._bench.due_among(self._keys.narrowed(only, self._state.catalog(warn=False))))
        )

    def plan(self) -> Plan:
        """What a run would do now, and what a changed definition would change; nothing is written."""
        merged = self._state.current()
        catalog = self._state.catalog()
        self._keys.check(catalog)
        return make_plan(self._bench, catalog, merged.state_revision)

    def selected(self) -> int:
        """How many files the selection means now, whatever became of them."""
        self._state.ensure()
        return self._state.catalog().count(self.config.condition)

    def problem(self) -> str | None:
        """Why the selection cannot work with the files that are here, in a sentence; None where it can."""
        self._state.ensure()
        try:
            self._keys.check(self._state.catalog())
        except UnknownKeyError as error:
            return str(error)
        return None

    def doubt(self) -> str | None:
        """That the selection asks for keys which no file has, in a sentence: a mistake, or a column that nobody has set yet;
        None where all is known."""
        self._state.ensure()
        return self._keys.doubt(self._state.catalog(warn=False))

    def status(self) -> JobStatus:
        """The job in numbers, after evaluating its selection."""
        self.evaluate()
        return self._bench.status()

    def files(self, status: str | Sequence[str] = "failed") -> list[LedgerEntry]:
        """The ledger's rows of this job with this status (or these), the last settled first."""
        if not self._state.has_ledger():
            return []
        with self._bench.looking() as view:
            return view.entries(self.name, [status] if isinstance(status, str) else list(status))

    def history(self, *, file: str | None = None, run_id: str | None = None, limit: int | None = 100) -> list[Attempt]:
        """What happened: attempts of the last 90 days, the latest first; of one file, or of one run (the beginning of
        its id is enough)."""
        if not self._state.has_ledger():
            return []
        with self._bench.looking() as view:
            return view.history(job=self.name, file=file, run_id=run_id, limit=limit)

    def done_by_value(self, key: str, by: str | int) -> list[tuple[Any, int]]:
        """Value of a metadata key → how many of the files that were done have it; what is absent comes as None.

        In pairs, because a value may be a list.

        Args:
            by: a run, by its id; or all workers after an attempt, by its number.
        """
        self._state.ensure()
        return self._bench.done_by_value(key, by)

    def counts(self) -> JobStatus:
        """The job in numbers, as the ledger has it now; its selection is left as it was evaluated last."""
        return self._bench.status()

    def last_attempt(self) -> int:
        """The number of the last attempt in the ledger: what workers do from now on can be told by it."""
        self._state.ensure()
        with self._bench.looking() as view:
            return view.last_attempt()

    def of_all(self, report: RunReport, since: int) -> RunReport:
        """The report of a run with what all other workers did of this job, too, after an attempt (``last_attempt``)."""
        return of_all(self._bench, report, since)

    def why(self, file: str) -> Explanation:
        """What the job makes of the file with this unique value: selected or not, and why; done, failed, waiting.

        Raises:
            JobError: there is no such file.
        """
        self._state.ensure()
        return explain(self._bench, file)

    def waiting(self) -> tuple[Waiting, ...]:
        """The files that are postponed because their web server asked for it, by server and reason."""
        return self._bench.waiting()

    def set_aside(self) -> dict[str, int]:
        """Reason → how many files were set aside unprocessed: ``Deleted``, ``LeftSelection``, ``Retracted``."""
        with self._bench.looking() as view:
            return view.set_aside(self.name)

    def left_out(self) -> list[str]:
        """The files that the selection means and the ledger cannot keep, so that no run ever does them, sorted."""
        return self._bench.left_out()

    def left_since(self, since: datetime) -> int:
        """How many files a change of the definition has set aside unprocessed at that moment (aware UTC) or later."""
        with self._bench.looking() as view:
            return view.set_aside_since(self.name, LEFT, since)

    def results(self, *, sample: int | None = None) -> Results:
        """Look whether what the ledger calls done is where the job puts it; nothing is changed.

        Args:
            sample: look for so many done files, drawn anew each time; all unless given.
        """
        self._state.require()
        return look_for_results(self._bench, sample=sample)

    def oldest_pending(self) -> datetime | None:
        """Since when (aware UTC) the file that has waited longest is pending; None if none is."""
        with self._bench.looking() as view:
            return view.oldest_pending(self.name)

    def entry(self, file: str) -> LedgerEntry | None:
        """What the ledger of this job says of one file; None if it never was selected."""
        with self._bench.looking() as view:
            return view.entry(self.name, file)

    def elsewhere(self) -> str | None:
        """What is done elsewhere than where the job points now, in a sentence; None where nothing is, or all was adopted."""
        return self._bench.elsewhere()
