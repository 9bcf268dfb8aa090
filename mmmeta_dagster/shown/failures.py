"""With what files of a job fail, as the UI shows it: how many, why, and which one for example.

An asset's page leaves some 30 letters a line for it, so it is a list and no table, and never longer than what the UI shows
unfolded.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mmmeta import Failure, Metadir
from mmmeta.jobs.failures import FailureGroup, group_failures
from mmmeta.jobs.job import Job, LedgerEntry
from mmmeta.state.ledger.rules import POSTPONED
from mmmeta.state.status import JobStatus
from mmmeta_dagster.shown.files_done import links_of
from mmmeta_dagster.shown.markdown import INLINE, Link, cell, size_in_ui

GROUPED = 20_000
"""Files that stand failed or dead up to which all of them are read for their reasons; a run with more shows its own."""

REASON = 160
"""Letters of an error message; where room is short, half of them."""

_REST = 60
"""Letters that the line takes which says how many reasons are left out."""


def standing_failures(job: Job, counts: JobStatus, of_run: Sequence[Failure]) -> list[FailureGroup]:
    """The reasons for which files of a job stand failed or dead, the most frequent first, whenever they were tried.

    Args:
        counts: of the job.
        of_run: the failures of the run, which stand for all where all would be too many.
    """
    if not counts.failed and not counts.dead:
        return []
    if counts.due_later + counts.dead > GROUPED:
        return group_failures(map(_entry, of_run))
    return group_failures(entry for entry in job.files(("failed", "dead")) if entry.error_type != POSTPONED)


def failure_list(metadir: Metadir, groups: Sequence[FailureGroup]) -> dg.MarkdownMetadataValue | None:
    """The reasons as a list that the UI shows unfolded: as many as there is room for, and how many there are beside them."""
    if not groups:
        return None
    links = links_of(metadir, (group.example for group in groups))
    lines: list[str] = []
    room = INLINE - _REST
    for group in groups:
        line = next((line for line in _lines(group, links.get(group.example)) if size_in_ui(line) < room), None)
        if line is None:
            break
        lines.append(line)
        room -= size_in_ui(line) + 1
    rest = groups[len(lines) :]
    if rest:
        files = sum(group.files for group in rest)
        lines.append(f"- … and {files:,} more, for {len(rest):,} other reason{'' if len(rest) == 1 else 's'}")
    return dg.MetadataValue.md("\n".join(lines))


def _lines(group: FailureGroup, example: Link | None) -> tuple[str, str, str]:
    """A reason as a line of the list: in full, without the address of its example, and short."""
    example = Link(group.example) if example is None else example
    why = ": ".join(part for part in (group.error_type, group.error_message) if part) or "no reason was given"
    counts = {"failed": group.failed, "dead": group.dead}
    how_many = ", ".join(f"{number:,} {status}" for status, number in counts.items() if number)
    full, short = f"- **{how_many}**: {cell(why, REASON)}; e.g. ", f"- **{how_many}**: {cell(why, REASON // 2)}; e.g. "
    return full + cell(example), full + cell(example.text), short + cell(example.text, REASON // 2)


def _entry(failure: Failure) -> LedgerEntry:
    return LedgerEntry(
        file=failure.file,
        status=failure.status,
        attempts=failure.attempts,
        error_type=failure.error_type,
        error_message=failure.message,
        error_lines=None,
        run_id=None,
        bytes=None,
        retract=False,
        selected_at=None,
        claimed_at=None,
        settled_at=None,
        due=None,
    )
