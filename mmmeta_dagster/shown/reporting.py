"""Reports of the library as metadata of a Dagster event: numbers that the UI plots, sentences, Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from mmmeta import Failure, GenerateReport, Metadir, RunReport, UpdateReport
from mmmeta.clock import utcnow
from mmmeta.filters import format_size
from mmmeta.jobs.job import Job, LedgerEntry
from mmmeta.state.ledger.rules import REASONS
from mmmeta.state.status import JobStatus
from mmmeta_dagster import keys
from mmmeta_dagster.shown.files_done import linked
from mmmeta_dagster.shown.markdown import Link, bullets, sentences, table
from mmmeta_dagster.shown.wording import clock_text

FAILURE_HEAD = ("file", "why", "attempts", "now")


def of_generate(report: GenerateReport) -> dict[str, Any]:
    """What a generate did, for ``metadata_db``."""
    metadata = _changes(report)
    metadata[keys.META_PROBLEMS] = report.problem_count
    if report.problems:
        rows = [(problem.source, problem.key or "", problem.reason) for problem in report.problems]
        metadata[keys.META_PROBLEM_TABLE] = table(("file", "key", "reason"), rows, report.problem_count)
    return metadata


def of_update(report: UpdateReport, files: int) -> dict[str, Any]:
    """What an update did, for ``state_db``; ``files`` is how many it holds now."""
    return {keys.META_FILES: files, **_changes(report), keys.META_HOW: report.how}


def _changes(report: GenerateReport | UpdateReport) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        keys.META_ADDED: report.added,
        keys.META_CHANGED: report.changed,
        keys.META_DELETED: report.deleted,
        keys.META_RETURNED: report.returned,
        keys.META_UNCHANGED: report.unchanged,
    }
    if report.revision_before is not None:
        metadata[keys.META_REVISION_BEFORE] = report.revision_before
    metadata[keys.META_REVISION] = report.revision
    metadata[keys.META_DURATION] = round(report.duration, 3)
    if report.notes:
        metadata[keys.META_NOTES] = sentences(report.notes)
    return metadata


@dataclass(frozen=True)
class Standing:
    """How the files of a job stand in the ledger, all runs together.

    Attributes:
        counts: files by status.
        set_aside: reason → files that were set aside unprocessed, or undone.
        lag: seconds for which the file that has waited longest is pending; 0 where none is.
    """

    counts: JobStatus
    set_aside: Mapping[str, int]
    lag: float

    @classmethod
    def of(cls, metadir: Metadir, job: Job) -> Standing:
        """The standing now."""
        oldest = job.oldest_pending()
        lag = 0.0 if oldest is None else max(0.0, (utcnow() - oldest).total_seconds())
        return cls(metadir.status().jobs[job.name], job.set_aside(), lag)


def of_run(
    report: RunReport,
    standing: Standing,
    selection: str,
    see_more: str,
    links: Mapping[str, Link] | None = None,
    files: dg.MarkdownMetadataValue | None = None,
) -> dict[str, Any]:
    """What a job did, for its asset, and how its files stand in the ledger after it.

    Every number is there in every run, so that Dagster can plot it; only a rate needs something that was done.
    ``selection`` is in words, ``see_more`` a command, ``links`` leads from files to their documents, ``files`` is a table
    of those that the run did.
    """
    metadata: dict[str, Any] = {keys.META_SUMMARY: summary(report, standing.counts)}
    # What a person looks for comes before the numbers, which fill a screen and are there to be plotted. Tables are shown
    # unfolded: that of the files, which is long also where all went well, comes last.
    if report.failures:
        metadata[keys.META_FAILURES] = failure_table(report.failures, report.failed + report.dead, links, see_more)
    return {
        **metadata,
        keys.META_SEE_MORE: see_more,
        keys.META_SELECTION: selection,
        keys.META_DONE: report.done,
        keys.META_FAILED: report.failed,
        keys.META_DEAD: report.dead,
        keys.META_RETRACTED: report.retracted,
        keys.META_LEFT: report.left,
        keys.META_BYTES: report.bytes,
        keys.META_DURATION: round(report.duration, 3),
        **_rates(report),
        **_of_standing(standing),
        **({} if files is None else {keys.META_FILES_DONE: files}),
    }


def _rates(report: RunReport) -> dict[str, Any]:
    if not report.attempted or report.duration <= 0:
        return {}
    rates: dict[str, Any] = {keys.META_FILES_PER_SECOND: round(report.attempted / report.duration, 2)}
    if report.bytes:
        rates[keys.META_BYTES_PER_SECOND] = round(report.bytes / report.duration)
    return rates


def of_interruption(
    settled: int,
    failed: Sequence[LedgerEntry],
    standing: Standing,
    see_more: str,
    links: Mapping[str, Link] | None = None,
) -> dict[str, Any]:
    """What a job did in a run that was terminated, which settled this many files, those that failed among them."""
    done = settled - len(failed)
    left = standing.counts.pending
    rows = [
        (linked(links, one.file), f"{one.error_type}: {one.error_message}", one.attempts, one.status) for one in failed
    ]
    metadata = {
        keys.META_SUMMARY: f"terminated: {_done(done)}"
        + (f", {len(failed)} failed" if failed else "")
        + f", {left} left (what was at work is given back, untried)",
        keys.META_DONE: done,
        keys.META_FAILED: sum(one.status == "failed" for one in failed),
        keys.META_DEAD: sum(one.status == "dead" for one in failed),
        **_of_standing(standing),
        keys.META_SEE_MORE: see_more,
    }
    if failed:
        metadata[keys.META_FAILURES] = table(FAILURE_HEAD, rows, len(rows), see_more)
    return metadata


def standing_numbers(standing: Standing) -> dict[str, Any]:
    """How many files of a job are in which state."""
    counts = standing.counts
    return {
        keys.META_PENDING: counts.pending,
        keys.META_DUE_LATER: counts.due_later,
        keys.META_DONE_IN_ALL: counts.done,
        keys.META_DEAD_IN_ALL: counts.dead,
        keys.META_SET_ASIDE_IN_ALL: counts.skipped,
    }


def _of_standing(standing: Standing) -> dict[str, Any]:
    metadata = {**standing_numbers(standing), keys.META_OLDEST_PENDING: round(standing.lag, 1)}
    if standing.set_aside:
        reasons = {REASONS.get(reason, reason): f"{count:,}" for reason, count in standing.set_aside.items()}
        metadata[keys.META_WHY_SET_ASIDE] = bullets(reasons)
    return metadata


def summary(report: RunReport, standing: JobStatus) -> str:
    """One sentence: ``12 files done (1.2 MB), 1 failed, 3 left; 15 dead in all, waiting for a person``.

    What runs before left behind belongs in it: a run without anything to do must not look as if all were well.
    """
    return "; ".join((_of_this_run(report), *_left_behind(report, standing)))


def _left_behind(report: RunReport, standing: JobStatus) -> Iterator[str]:
    in_all = " in all" if report.attempted else ""
    if standing.failed > report.failed:
        yield f"{standing.failed} failed{in_all}, due again later"
    for one in report.waiting:
        yield f"{one.files} {one.reason}, until {clock_text(one.until)}"
    if standing.dead > report.dead:
        yield f"{standing.dead} dead{in_all}, waiting for a person"


def _of_this_run(report: RunReport) -> str:
    if not report.attempted and report.postponed:
        return "nothing could be tried"
    if not report.attempted:
        return "nothing was pending" if not report.pending else f"nothing could be claimed, {report.pending} pending"
    size = f" ({format_size(report.bytes)})" if report.bytes else ""
    parts = [f"{_done(report.done)}{size}"]
    parts += [f"{report.retracted} retracted"] if report.retracted else []
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{report.dead} dead"] if report.dead else []
    parts += [f"{report.pending} left"] if report.pending else []
    parts += ["stopped"] if report.stopped else []
    return ", ".join(parts)


def _done(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'} done"


def failure_table(
    failures: Iterable[Failure], total: int, links: Mapping[str, Link] | None, see_more: str
) -> dg.MarkdownMetadataValue:
    """Which files failed and why."""
    rows = [
        (linked(links, failure.file), f"{failure.error_type}: {failure.message}", failure.attempts, failure.status)
        for failure in failures
    ]
    return table(FAILURE_HEAD, rows, total, see_more)


def of_publication(published: datetime | None, revision: int | None, size: int) -> dict[str, Any]:
    """What was found of a metadata db that came from elsewhere: when it was published, which revision, its bytes."""
    metadata: dict[str, Any] = {}
    if published is not None:
        metadata[keys.META_PUBLISHED] = dg.MetadataValue.timestamp(published)
    if revision is not None:
        metadata[keys.META_REVISION] = revision
    return {**metadata, keys.META_BYTES: size}
