"""Reports of the library as metadata of a Dagster event: numbers that the UI plots, sentences, Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from mmmeta import Failure, GenerateReport, Metadir, RunReport, UpdateReport
from mmmeta.clock import utcnow
from mmmeta.filters import format_size
from mmmeta.jobs.job import Job, LedgerEntry
from mmmeta.project import MetadirConfig
from mmmeta.state.ledger.rules import REASONS
from mmmeta.state.status import JobStatus
from mmmeta.sync import SyncReport
from mmmeta_dagster import keys
from mmmeta_dagster.shown import summary
from mmmeta_dagster.shown.failures import failure_list, standing_failures
from mmmeta_dagster.shown.markdown import bullets, command, sentences, table
from mmmeta_dagster.shown.wording import clock_text, files


def of_generate(report: GenerateReport, see_more: str) -> dict[str, Any]:
    """What a generate did, for ``metadata_db``; ``see_more`` is a command."""
    aside: dict[str, Any] = {keys.META_PROBLEMS: report.problem_count}
    if report.problems:
        rows = [(problem.source, problem.key or "", problem.reason) for problem in report.problems]
        aside[keys.META_PROBLEM_TABLE] = table(("file", "key", "reason"), rows, report.problem_count)
    return {
        keys.META_SUMMARY: summary.of_generate(report),
        **_notes(report),
        **aside,
        keys.META_SEE_MORE: see_more,
        **_changes(report),
    }


def of_update(report: UpdateReport, files: int, see_more: str) -> dict[str, Any]:
    """What an update did, for ``state_db``; ``files`` is how many it holds now, ``see_more`` a command."""
    return {
        keys.META_SUMMARY: summary.of_update(report, files),
        **_notes(report),
        keys.META_SEE_MORE: see_more,
        keys.META_FILES: files,
        **_changes(report),
        keys.META_HOW: report.how,
    }


def of_pull(report: SyncReport, see_more: str) -> dict[str, Any]:
    """What a pull moved, for ``synced``; ``see_more`` is a command."""
    before = {} if report.revision_before is None else {keys.META_REVISION_BEFORE: report.revision_before}
    return {
        keys.META_SUMMARY: summary.of_pull(report),
        **_notes(report),
        keys.META_SEE_MORE: see_more,
        keys.META_BYTES: report.bytes,
        keys.META_MOVED: report.files,
        **before,
        **({} if report.revision is None else {keys.META_REVISION: report.revision}),
        keys.META_DURATION: round(report.duration, 3),
    }


def _notes(report: GenerateReport | UpdateReport | SyncReport) -> dict[str, Any]:
    return {keys.META_NOTES: sentences(report.notes)} if report.notes else {}


def _changes(report: GenerateReport | UpdateReport) -> dict[str, Any]:
    rare = {keys.META_RETURNED: report.returned, keys.META_UNCHANGED: report.unchanged}
    before = {} if report.revision_before is None else {keys.META_REVISION_BEFORE: report.revision_before}
    return {
        keys.META_ADDED: report.added,
        keys.META_CHANGED: report.changed,
        keys.META_DELETED: report.deleted,
        **present(rare),
        **before,
        keys.META_REVISION: report.revision,
        keys.META_DURATION: round(report.duration, 3),
    }


def present(numbers: Mapping[str, float | None]) -> dict[str, Any]:
    """Numbers without those that are 0: what is not plotted run by run would only be in the way of what is."""
    return {name: number for name, number in numbers.items() if number}


@dataclass(frozen=True)
class Standing:
    """How the files of a job stand in the ledger, all runs together.

    Attributes:
        counts: files by status.
        set_aside: reason → files that were set aside unprocessed, or undone.
        lag: seconds for which the file that has waited longest is pending; 0 where none is.
        failures: why files stand failed or dead, as a list; None where none does.
    """

    counts: JobStatus
    set_aside: Mapping[str, int]
    lag: float
    failures: dg.MarkdownMetadataValue | None

    @classmethod
    def of(cls, metadir: Metadir, job: Job, failures: Sequence[Failure] = ()) -> Standing:
        """The standing now, after a run with these failures."""
        oldest = job.oldest_pending()
        lag = 0.0 if oldest is None else max(0.0, (utcnow() - oldest).total_seconds())
        counts = metadir.status().jobs[job.name]
        told = failure_list(metadir, standing_failures(job, counts, failures))
        return cls(counts, job.set_aside(), lag, told)


@dataclass(frozen=True)
class Commands:
    """What a person types next, as commands that can be copied.

    Attributes:
        of_run: tells of each file of the run.
        of_failures: why files stand failed or dead.
        retry: has those retried that are dead.
    """

    of_run: str
    of_failures: str
    retry: str

    @classmethod
    def about(cls, metadir: MetadirConfig, job: str, run_id: str = "") -> Commands:
        """Those of a job, after a run."""
        return cls(
            command(metadir, f"jobs history {job}" + (f" --run {run_id[:8]}" if run_id else "")),
            command(metadir, f"jobs failed {job}"),
            command(metadir, f"jobs retry --dead {job}"),
        )

    def next(self, counts: JobStatus) -> dict[str, Any]:
        """Those that are of use where a job stands like this."""
        see_more = self.of_failures if counts.failed or counts.dead else self.of_run
        return {keys.META_SEE_MORE: see_more, **({keys.META_REMEDY: self.retry} if counts.dead else {})}


def of_run(
    report: RunReport,
    standing: Standing,
    selection: str,
    commands: Commands,
    files: dg.MarkdownMetadataValue | None = None,
) -> dict[str, Any]:
    """What a job did, for its asset, and how its files stand in the ledger after it.

    What a person looks for comes first: a sentence, why files fail, and what to type. The numbers behind it that are plotted
    are there in every run, the others where they are not 0. Failed, dead and pending are the job's, as the sentence has them: a 0
    of the run below "11 dead" would be taken for them. ``selection`` is in words, ``files`` a table of those that the run did,
    which is long also where all went well and comes last.
    """
    return {
        **_first(summary.of_run(report, standing.counts), standing, commands),
        keys.META_DONE: report.done,
        keys.META_FAILED: standing.counts.failed,
        keys.META_DEAD: standing.counts.dead,
        keys.META_PENDING: standing.counts.pending,
        keys.META_BYTES: report.bytes,
        keys.META_DURATION: round(report.duration, 3),
        **_rates(report),
        **present({keys.META_RETRACTED: report.retracted, keys.META_LEFT: report.left}),
        **_of_standing(standing),
        keys.META_SELECTION: selection,
        **({} if files is None else {keys.META_FILES_DONE: files}),
    }


def of_share(report: RunReport, counts: JobStatus, shard: str, commands: Commands) -> dict[str, Any]:
    """The part of one run that shares the work of a job; what all did together the import tells of, in the numbers that
    are plotted."""
    return {
        keys.META_SUMMARY: f"its share: {summary.of_run(report, counts)}",
        **commands.next(counts),
        keys.META_SHARD: shard,
        keys.META_DONE_BY_SHARD: report.done,
    }


def of_interrupted_share(settled: int, shard: str, commands: Commands) -> dict[str, Any]:
    """The same of a run that was terminated and has settled this many files."""
    return {
        keys.META_SUMMARY: f"terminated: {settled:,} files settled (what was at work is given back, untried)",
        keys.META_SEE_MORE: commands.of_run,
        keys.META_SHARD: shard,
        keys.META_DONE_BY_SHARD: settled,
    }


def _first(sentence: str, standing: Standing, commands: Commands) -> dict[str, Any]:
    failures = {} if standing.failures is None else {keys.META_FAILURES: standing.failures}
    return {keys.META_SUMMARY: sentence, **failures, **commands.next(standing.counts)}


def _rates(report: RunReport) -> dict[str, Any]:
    if not report.attempted or report.duration <= 0:
        return {}
    rates: dict[str, Any] = {keys.META_FILES_PER_SECOND: round(report.attempted / report.duration, 2)}
    if report.bytes:
        rates[keys.META_BYTES_PER_SECOND] = round(report.bytes / report.duration)
    return rates


def of_interruption(
    settled: int, failed: Sequence[LedgerEntry], standing: Standing, commands: Commands
) -> dict[str, Any]:
    """What a job did in a run that was terminated, which settled this many files, those that failed among them."""
    done = settled - len(failed)
    return {
        **_first(summary.of_interruption(done, len(failed), standing.counts.pending), standing, commands),
        keys.META_DONE: done,
        **_of_standing(standing),
    }


def standing_numbers(counts: JobStatus) -> dict[str, int | None]:
    """How many files of a job are in which state; None for a state that none is in, but for what is plotted."""
    return {
        keys.META_FAILED: counts.failed,
        keys.META_DEAD: counts.dead,
        keys.META_PENDING: counts.pending,
        keys.META_DUE_LATER: counts.due_later if counts.postponed else None,  # else it is what failed
        keys.META_DONE_IN_ALL: counts.done or None,
        keys.META_SET_ASIDE_IN_ALL: counts.skipped or None,
    }


def _there(numbers: Mapping[str, int | None]) -> dict[str, Any]:
    return {name: number for name, number in numbers.items() if number is not None}


def of_outside(counts: JobStatus, how: str, commands: Commands) -> dict[str, Any]:
    """How the files of a job stand on which somebody has worked of whose work no run has told; ``how`` says who."""
    return {
        keys.META_SUMMARY: f"worked on {how}: {files(counts.done)} done in all{summary.of_outside(counts)}",
        **commands.next(counts),
        **_there(standing_numbers(counts)),
    }


def _of_standing(standing: Standing) -> dict[str, Any]:
    metadata = _there(standing_numbers(standing.counts)) | present({keys.META_OLDEST_PENDING: round(standing.lag, 1)})
    if standing.set_aside:
        reasons = {REASONS.get(reason, reason): f"{count:,}" for reason, count in standing.set_aside.items()}
        metadata[keys.META_WHY_SET_ASIDE] = bullets(reasons)
    return metadata


def of_publication(published: datetime | None, revision: int | None, size: int) -> dict[str, Any]:
    """What was found of a metadata db that came from elsewhere: when it was published, which revision, its bytes."""
    said = "the remote has published" + ("" if revision is None else f" revision {revision}")
    metadata: dict[str, Any] = {keys.META_SUMMARY: f"{said} ({format_size(size)})"}
    if published is not None:
        metadata[keys.META_SUMMARY] += f", on {clock_text(published)}"
        metadata[keys.META_PUBLISHED] = dg.MetadataValue.timestamp(published)
    if revision is not None:
        metadata[keys.META_REVISION] = revision
    return {**metadata, keys.META_BYTES: size}
