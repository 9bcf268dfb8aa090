"""What a job and its runs work with: the files as the job sees them, and the job's part of the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.chunks import in_chunks
from mmmeta.documents.hosts import Closed
from mmmeta.errors import JobError
from mmmeta.files.claim import FileClaim
from mmmeta.files.file import File
from mmmeta.filters import Condition
from mmmeta.jobs.actions.places import Rival
from mmmeta.jobs.elsewhere import pointing_of, sentence
from mmmeta.jobs.versions import rules_of, version_name
from mmmeta.project.job import JobConfig
from mmmeta.state.candidates import Candidates
from mmmeta.state.evaluation import Evaluation, evaluate
from mmmeta.state.file_teller import telling
from mmmeta.state.ledger.outcomes import Claim, Outcome, Place, Settled
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.store import KnownJob, Ledger
from mmmeta.state.ledger.view import LedgerView, Waiting
from mmmeta.state.liveness import Alive
from mmmeta.state.state import State
from mmmeta.state.status import JobStatus
from mmmeta.state.told import row_of
from mmmeta.state.worker import WorkerState

_log = logging.getLogger(__name__)

_TOLD_AT_ONCE = 1_000
"""Files of which a worker without files asks what is in them, to filter."""


class Bench:
    """One job at one metadir.

    Args:
        recorded: the rules that the ledger has, for a job whose definition is elsewhere and which is not changed by this.
        told: work with what the ledger was told of the job, and refuse to where that is another definition.
    """

    def __init__(
        self, config: JobConfig, state: State, recorded: JobRules | None = None, *, told: bool = False
    ) -> None:
        self.config = config
        self.state = state
        self.is_recorded: bool = recorded is not None
        self.rules: JobRules = recorded or rules_of(config, state.config.metadata.content)
        self._told = told
        self._warned = False

    def told(self) -> Bench:
        """The same for a worker who evaluates nothing by itself."""
        return Bench(self.config, self.state, told=True)

    def worker(self) -> Alive:
        """A new worker of this state; it is alive from ``start`` on."""
        return self.state.ledger.worker()

    # The ledger

    def changing(self) -> AbstractContextManager[Ledger]:
        """The job's ledger, in one transaction."""
        return self.state.ledger.changing(self.rules)

    def rehearsing(self) -> AbstractContextManager[Ledger]:
        """The job's ledger in a transaction that leaves nothing behind: to see what would happen."""
        return self.state.ledger.rehearsing(self.rules)

    def looking(self) -> AbstractContextManager[LedgerView]:
        """The ledger as it is now."""
        return self.state.ledger.looking()

    def evaluate(self, ledger: Ledger, catalog: Catalog, state_revision: int, *, index: bool = True) -> Evaluation:
        """Bring the ledger up to the files.

        Args:
            index: make the indexes that the selection is in need of; made for one look, they cost more than they gain.
        """
        if index and self.state.layout.ledger is not None:
            self._warn_of_others(ledger.known())
        rules = self.rules if index else replace(self.rules, index=False)
        with self._candidates(ledger, catalog, rules) as files:
            return evaluate(ledger, files, state_revision)

    def _warn_of_others(self, known: KnownJob | None) -> None:
        """Say that this definition takes the place of another one, which may be in use on another machine."""
        if known is not None and not self.is_recorded and not self.rules.means_as(known.rules):
            _log.warning(
                "job %s has another definition here than in the ledger, by which it was evaluated %s, and this one counts from now "
                "on. Unless you have changed it, another machine has another project file, and each sets aside what the "
                "other selects: give all the same",
                self.config.name,
                f"{known.evaluated_at.astimezone():%Y-%m-%d %H:%M:%S}",
            )

    @contextmanager
    def _candidates(self, ledger: Ledger, catalog: Catalog, rules: JobRules) -> Iterator[Candidates]:
        """What the rules make of the files."""
        if not ledger.wants_payloads:
            yield Candidates(self.state.database, catalog, rules)
            return
        with telling(self.state.database, self.state.config, self.state.clock()) as teller:
            yield Candidates(self.state.database, catalog, rules, teller)

    @contextmanager
    def evaluated(self, catalog: Catalog, state_revision: int, *, dry_run: bool = False) -> Iterator[Ledger]:
        """The ledger, evaluated, in one transaction, of which a dry run leaves nothing."""
        with self.rehearsing() if dry_run else self.changing() as ledger:
            self.evaluate(ledger, catalog, state_revision, index=not dry_run)
            yield ledger

    # Files

    def left_out(self) -> list[str]:
        """The files that the selection means and the ledger cannot keep, sorted; a worker without files knows of none."""
        longest = self.state.ledger.longest_name
        if longest is None or self.state.is_worker:
            return []
        return self.state.catalog(warn=False).names_beyond(longest, self.rules.condition)

    def file(self, row: FileRow, catalog: Catalog, claim: Claim | None = None) -> File:
        """A row as people get it."""
        ours = None
        if claim is not None:
            values = {**row.remote, **row.local} if row.local else row.remote
            known = bytes(row.system["__fingerprint"] or b"").hex()
            version = version_name(self.rules, values, known)
            ours = FileClaim.of(claim, job=self.config.name, state_id=self.state_id, version=version)
        return File(row, catalog, self.state.config.remote, self.state.save, ours)

    def files(self, names: Sequence[str]) -> dict[str, File]:
        """The files of these names that there are, deleted ones too."""
        catalog = self.state.catalog(warn=False)
        if isinstance(self.state, WorkerState):
            with self.looking() as view:
                told = view.payloads(names)
            return {name: self.file(row_of(name, one), catalog) for name, one in told.items()}
        return {name: self.file(row, catalog) for name, row in catalog.by_unique(names).items()}

    @cached_property
    def state_id(self) -> str:
        """Of the ledger that this job's tokens come from."""
        if not self.state.is_worker:
            self.state.ensure()
        return self.state.ledger.identity()

    def claim(
        self,
        count: int,
        worker: str,
        run_id: str | None,
        without: Sequence[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[File] | None:
        """Claim up to so many files, each with its ``claim``; None when nothing is pending.

        Those that were deleted, or came back, since they were selected are settled on the way, so the list may be
        shorter, even empty.
        """
        with self.changing() as ledger:
            self._catch_up(ledger)
            claims = ledger.claim(
                count, worker=worker, run_id=run_id, lease=self.config.lease, without=without, among=among
            )
            told = ledger.payloads([claim.file for claim in claims])
        if not claims:
            return None
        catalog = self.state.catalog(warn=False)
        if ledger.wants_payloads:
            self._settle_untold([claim for claim in claims if claim.file not in told], worker, run_id)
            return [
                self.file(row_of(claim.file, told[claim.file]), catalog, claim)
                for claim in claims
                if claim.file in told
            ]
        rows = catalog.by_unique([claim.file for claim in claims])
        alive = {name for name, row in rows.items() if not row.system["__deleted"]}
        # Deleted since it was selected, or back since it was to be undone: the ledger was not told of it yet.
        others = [claim for claim in claims if (claim.file in alive) == claim.retract]
        if others:
            self.release(others)
        settled = {claim.file for claim in others}
        return [self.file(rows[claim.file], catalog, claim) for claim in claims if claim.file not in settled]

    def _settle_untold(self, claims: Sequence[Claim], worker: str, run_id: str | None) -> None:
        """Nobody can tell what is in these files: they fail, and the others go on."""
        message = "its metadata are not in the ledger, for they were too long: see what the last evaluation has logged"
        if claims:
            self.settle([Outcome(claim, "StateDbError", message) for claim in claims], run_id, worker)

    def settle(self, outcomes: Sequence[Outcome], run_id: str | None, worker: str) -> list[Settled]:
        """Record how claimed files ended; what became of them meanwhile counts, whether anybody evaluated since or not."""
        with self.changing() as ledger:
            self._tell(ledger, [outcome.claim.file for outcome in outcomes])
            return ledger.settle([_with_refusal(outcome) for outcome in outcomes], run_id=run_id, worker=worker)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untried."""
        with self.changing() as ledger:
            self._tell(ledger, [claim.file for claim in claims])
            ledger.release(claims)

    def break_off(self, claims: Sequence[Claim]) -> None:
        """Give back claims that somebody was at when he was ended from outside."""
        with self.changing() as ledger:
            self._tell(ledger, [claim.file for claim in claims])
            ledger.break_off(claims)

    def give_back(self, worker: str, *, trim: bool = False) -> None:
        """Give back untried all that a worker still holds; ``trim`` the history as well."""
        with self.changing() as ledger:
            self._tell(ledger, ledger.give_back(worker))
            if trim:
                ledger.trim_history()

    def catch_up(self) -> None:
        """As far as files have changed since the job was evaluated, evaluate them, too.

        Raises:
            JobError: of a worker, where the ledger was told of no such job, or of another definition.
        """
        self.state.require_ledger()
        if not self.state.is_worker:
            self.state.current()
        with self.changing() as ledger:
            self._catch_up(ledger)

    def _catch_up(self, ledger: Ledger) -> None:
        """Before a claim: what is claimed shall be the version that is read after it, also where files have changed since
        the job was evaluated. A job that another process defines otherwise by now is left to it."""
        known = ledger.known()
        if known is None or not self.rules.means_as(known.rules):
            if self._told or self.state.is_worker:
                raise JobError(_why_not_told(self.config.name, known))
            return
        if (
            (self._told or self.state.is_worker)
            and not self._warned
            and known.rules.fingerprint != self.rules.fingerprint
        ):
            self._warned = True
            _log.warning(
                "job %s does something else here (its action, where it puts things, or its limit) than where it was evaluated: "
                "give all the same project file, unless that is meant",
                self.config.name,
            )
        if self.state.is_worker:
            return
        revision = self.state.require().state_revision
        if known.evaluated < revision:
            self.evaluate(ledger, self.state.catalog(warn=False), revision)

    def _tell(self, ledger: Ledger, names: Sequence[str]) -> None:
        """Tell the ledger of these files, where files have changed since the job was evaluated."""
        known = ledger.known() if names and not self.state.is_worker else None
        if known is not None and known.evaluated < self.state.require().state_revision:
            # Under the rules that the ledger has; another process may have brought others since.
            with self._candidates(ledger, self.state.catalog(warn=False), known.rules) as files:
                ledger.under(known.rules).offer(files.named(names), None, teller=files.teller)

    # Places

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Rival]]:
        """Give claimed files their places; file → who has its place, for those that could not have theirs."""
        with self.changing() as ledger:
            taken = ledger.reserve(places)
        files = self.files(sorted({holder.file for holders in taken.values() for holder in holders}))
        return {
            file: [Rival(files[one.file], one.job, one.claimed) for one in holders if one.file in files]
            for file, holders in taken.items()
        }

    def others(self, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
        """Where other files are done by now that are at these places of files."""
        with self.looking() as view:
            return view.others(places)

    def elsewhere(self) -> str | None:
        """What is done elsewhere than where the job points now, and was not accepted, in a sentence; None where nothing is."""
        pointing = pointing_of(self.config)
        if pointing is None:
            return None
        with self.looking() as view:
            return sentence(view.elsewhere(self.config.name, pointing), pointing)

    def files_elsewhere(self, ledger: Ledger) -> list[str]:
        """These files."""
        pointing = pointing_of(self.config)
        return [] if pointing is None else ledger.files_elsewhere(pointing)

    def accept_elsewhere(self, ledger: Ledger) -> int:
        """Take them as they are; how many they were."""
        pointing = pointing_of(self.config)
        return 0 if pointing is None else ledger.accept_elsewhere(pointing)

    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        """Those of these files at whose place jobs work, or have worked: what stands there a job has put there."""
        with self.looking() as view:
            return view.put_there(places)

    def hosts(self) -> dict[str, Closed]:
        """Which hosts are not to be asked for a time, as all runs know it."""
        with self.looking() as view:
            return view.hosts()

    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        """Tell all runs which hosts are not to be asked for a time; None for one that answers again."""
        with self.changing() as ledger:
            ledger.note_hosts(news)

    # What the ledger says

    def status(self) -> JobStatus:
        """The job in numbers, as the ledger has it now; all 0 if somebody made it forget the job meanwhile."""
        with self.looking() as view:
            return view.status(self.config.name, self.state.clock()) or JobStatus(self.rules.fingerprint)

    def waiting(self) -> tuple[Waiting, ...]:
        """The files that are postponed, by what they wait for."""
        with self.looking() as view:
            return tuple(view.waiting(self.config.name))

    def due(self, limit: int | None = None) -> list[str]:
        """The unique values of the files that could run now, in the order of the runs."""
        with self.looking() as view:
            now = self.state.clock()
            return view.due(self.config.name, now, descending=self.rules.descending, limit=limit)

    def due_among(self, condition: Condition) -> list[str]:
        """The same, of the files that a condition means: what is to be done, and what is to be undone."""
        names = self.due()
        if not isinstance(self.state, WorkerState):
            return self.state.catalog(warn=False).among(names, condition, deleted=None)
        found = []
        for chunk in in_chunks(names, _TOLD_AT_ONCE):
            with self.looking() as view:
                catalog = self.state.catalog_of(view.payloads(chunk))
            found += catalog.among(chunk, condition, deleted=None)
        return found

    def settled_among(self, condition: Condition, statuses: Sequence[str]) -> list[str]:
        """The files with one of these statuses that a condition means and that are not deleted."""
        with self.looking() as view:
            names = view.names(self.config.name, statuses)
        return self.state.catalog().among(names, condition)

    def done_by_value(self, key: str, by: str | int) -> list[tuple[Any, int]]:
        """Each value of a key among the files that a run has done, or that all did after an attempt, with how many of them
        have it."""
        name = self.config.name
        with self.looking() as view:
            names = view.done_by(name, by) if isinstance(by, str) else view.done_since(name, by)
        return self.state.catalog(warn=False).tally(key, names)


def _why_not_told(job: str, known: KnownJob | None) -> str:
    """Why a worker cannot work on a job."""
    if known is None:
        return f"job {job!r} was never evaluated: run `mmmeta update`, or `mmmeta run`, before workers help with it"
    return (
        f"job {job!r} was evaluated by another definition (selection or rules) than the one that this worker has: give all "
        "the same project file, and run `mmmeta update` where the definition is new"
    )


def _with_refusal(outcome: Outcome) -> Outcome:
    """The outcome of a file whose import somebody's function left out for the receipt of another claim."""
    claim = outcome.claim
    if outcome.ok and isinstance(claim, FileClaim) and claim.refusals:
        return replace(outcome, ahead=claim.refusals[-1])
    return outcome
