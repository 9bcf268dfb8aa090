"""Reports of the library as metadata of a Dagster event: numbers that the UI plots, sentences, Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from mmmeta import Failure, GenerateReport, RunReport, UpdateReport
from mmmeta.filters import format_size
from mmmeta.status import JobStatus
from mmmeta_dagster import keys

ROWS = 50
"""Rows of a table of failures or problems; each event is stored whole in Dagster's database."""

CELL = 300
"""Letters of a cell; an error message can be a page long."""


def of_generate(report: GenerateReport) -> dict[str, Any]:
    """What a generate did, for ``metadata_db``."""
    metadata = _changes(report)
    metadata[keys.META_PROBLEMS] = report.problem_count
    if report.problems:
        rows = [(problem.source, problem.key or "", problem.reason) for problem in report.problems]
        metadata[keys.META_PROBLEM_TABLE] = table(("file", "key", "reason"), rows, report.problem_count)
    return metadata


def of_update(report: UpdateReport, files: int) -> dict[str, Any]:
    """What an update did, for ``state_db``, which holds so many files now."""
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
        metadata[keys.META_NOTES] = dg.MetadataValue.md("\n".join(f"- {note}" for note in report.notes))
    return metadata


def of_run(report: RunReport, standing: JobStatus, selection: str, see_more: str) -> dict[str, Any]:
    """What a job did, for its asset, and how its files stand in the ledger after it.

    ``selection`` is in words, ``see_more`` a command.
    """
    metadata: dict[str, Any] = {
        keys.META_SUMMARY: summary(report, standing),
        keys.META_DONE: report.done,
        keys.META_FAILED: report.failed,
        keys.META_DEAD: report.dead,
        keys.META_PENDING: report.pending,
        keys.META_BYTES: report.bytes,
        keys.META_DUE_LATER: standing.failed,
        keys.META_DONE_IN_ALL: standing.done,
        keys.META_DEAD_IN_ALL: standing.dead,
        keys.META_DURATION: round(report.duration, 3),
        keys.META_SELECTION: selection,
        keys.META_SEE_MORE: see_more,
    }
    if report.failures:
        metadata[keys.META_FAILURES] = failure_table(report.failures, report.failed + report.dead)
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
    if standing.dead > report.dead:
        yield f"{standing.dead} dead{in_all}, waiting for a person"


def _of_this_run(report: RunReport) -> str:
    if not report.attempted:
        return "nothing was pending" if not report.pending else f"nothing could be claimed, {report.pending} pending"
    size = f" ({format_size(report.bytes)})" if report.bytes else ""
    parts = [f"{report.done} file{'' if report.done == 1 else 's'} done{size}"]
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{report.dead} dead"] if report.dead else []
    parts += [f"{report.pending} left"] if report.pending else []
    parts += ["stopped"] if report.stopped else []
    return ", ".join(parts)


def failure_table(failures: Iterable[Failure], total: int) -> dg.MarkdownMetadataValue:
    """Which files failed and why."""
    rows = [
        (failure.file, f"{failure.error_type}: {failure.message}", failure.attempts, failure.status)
        for failure in failures
    ]
    return table(("file", "why", "attempts", "now"), rows, total)


def of_publication(published: datetime | None, revision: int | None, size: int) -> dict[str, Any]:
    """What was found of a metadata db that came from elsewhere: when it was published, which revision, its bytes."""
    metadata: dict[str, Any] = {}
    if published is not None:
        metadata[keys.META_PUBLISHED] = dg.MetadataValue.timestamp(published)
    if revision is not None:
        metadata[keys.META_REVISION] = revision
    return {**metadata, keys.META_BYTES: size}


def table(head: Sequence[str], rows: Sequence[Sequence[object]], total: int) -> dg.MarkdownMetadataValue:
    """A Markdown table; says how many rows it leaves out."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows[:ROWS])]
    left_out = max(total, len(rows)) - min(len(rows), ROWS)
    if left_out > 0:
        lines += ["", f"… and {left_out} more."]
    return dg.MetadataValue.md("\n".join(lines))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: object) -> str:
    text = " ".join(str(value).split())
    text = text if len(text) <= CELL else f"{text[: CELL - 1]}…"
    # Names and messages come from documents: they must not become markup or end the cell.
    for letter in "\\`*_[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return text


def rules(values: Mapping[str, object]) -> dg.MarkdownMetadataValue:
    """A job's rules as a list."""
    return dg.MetadataValue.md("\n".join(f"- {name}: {_cell(value)}" for name, value in values.items()))
