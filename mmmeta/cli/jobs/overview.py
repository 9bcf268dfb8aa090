"""The table of ``mmmeta jobs``: how far each job is, and in sentences what a table has no room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import JobName, ledger_jobs, note_elsewhere, project_jobs
from mmmeta.cli.output import age_text, echo_report, files_text, moment_text, note, waiting_text
from mmmeta.cli.problems import DONE, act_on
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets
from mmmeta.clock import utcnow
from mmmeta.errors import MmmetaError
from mmmeta.masking import shown

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
    from mmmeta.state.ledger.view import Waiting
    from mmmeta.state.status import JobStatus

COUNTS = ("pending", "claimed", "done", "failed", "dead")
"""Numbers of files that the table shows of each job, after those that its selection means."""

IDLE = timedelta(days=30)
"""How long a job that no project file has must not have run until it is asked whether it is gone."""

NUMBERS = (*COUNTS, "postponed", "skipped", "due", "earliest_due", "heartbeat")
"""What a row takes over from the status of the job."""


@dataclass(frozen=True)
class JobRow:
    """One job as the table and ``--json`` show it; numbers are None where nothing was evaluated yet.

    Attributes:
        job: its name.
        in_project: whether the project file has it.
        changed: whether its definition is another one than at the last run.
        selection: in words; None where only the ledger knows the job.
        selected: files that the selection means now.
        pending, claimed, done, failed, postponed, dead, skipped, due, earliest_due, heartbeat: as in ``JobStatus``.
        oldest_pending: since when the file waits that waits longest.
        waiting: the postponed files, by what they wait for.
        set_aside: reason → files.
        left_out: files that the selection means and the ledger cannot keep.
        elsewhere: what is done elsewhere than where it points now, in a sentence.
        problem: why it cannot run.
    """

    job: str
    in_project: bool
    changed: bool = False
    selection: str | None = None
    selected: int | None = None
    pending: int | None = None
    claimed: int | None = None
    done: int | None = None
    failed: int | None = None
    postponed: int | None = None
    dead: int | None = None
    skipped: int | None = None
    due: int | None = None
    earliest_due: datetime | None = None
    heartbeat: datetime | None = None
    oldest_pending: datetime | None = None
    waiting: tuple[Waiting, ...] = ()
    set_aside: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    elsewhere: str | None = None
    problem: str | None = None


def show_overview(ctx: click.Context, as_json: bool) -> None:
    """Show all jobs of all metadirs that are meant."""

    def show(target: Target) -> int:
        names = [*project_jobs(target), *ledger_jobs(target)]
        with target.open() as metadir:
            rows = [_row(metadir, name) for name in names]
            if as_json:
                echo_report(target, {"jobs": rows})
            else:
                _tell(target, metadir.is_client, rows, metadir.layout.ledger)
        return DONE

    act_on(ctx, find_targets(ctx), show)


def _row(metadir: Metadir, name: JobName) -> JobRow:
    from mmmeta.filters import describe

    try:
        job = name.find_in(metadir)
    except MmmetaError as error:
        return JobRow(name.name, name.in_project, problem=str(error))
    selection = describe(job.config.condition) if name.in_project else None
    if not metadir.is_client:
        return JobRow(name.name, name.in_project, selection=selection)
    status: JobStatus | None = metadir.status().jobs.get(name.name)
    return JobRow(
        name.name,
        name.in_project,
        changed=name.in_project and (status is None or status.fingerprint != job.config.fingerprint()),
        selection=selection,
        selected=job.selected() if name.in_project else None,
        **({} if status is None else {number: getattr(status, number) for number in NUMBERS}),
        oldest_pending=None if status is None else job.oldest_pending(),
        waiting=job.waiting() if status is not None and status.postponed else (),
        set_aside={} if status is None else job.set_aside(),
        left_out=len(job.left_out()) if status is not None else 0,
        elsewhere=None if status is None else job.elsewhere(),
        problem=job.problem() if name.in_project else None,
    )


def _tell(target: Target, updated: bool, rows: Sequence[JobRow], shared: str | None) -> None:
    if not rows:
        note(f"{target.name}: {target.without_jobs}")
        return
    numbers = ["selected", *COUNTS]
    draw_table(
        [target.name, *numbers, "oldest\npending"],
        [
            [row.job, *(_number_text(getattr(row, number)) for number in numbers), age_text(row.oldest_pending)]
            for row in rows
        ],
        numbers=numbers,
    )
    if not updated:
        where = (
            ""
            if shared is None
            else (
                f" here, so nothing can be counted; the ledger is at {shown(shared)}: ask where updates run, or bring the metadir"
            )
        )
        note(f"{target.name}: never updated{where}: run `mmmeta update`")
        return
    for row in rows:
        for sentence in _sentences(row):
            note(f"{row.job}: {sentence}")
        if row.elsewhere is not None:
            note_elsewhere(f"{target.name}/{row.job}", row.elsewhere)


def _number_text(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _idle_text(row: JobRow) -> str:
    """Advice on a job that may be gone. It is nobody's business here to clear one that is at work elsewhere."""
    if row.heartbeat is not None and utcnow() - row.heartbeat < IDLE:
        return ""
    since = "never ran" if row.heartbeat is None else f"has not run for {age_text(row.heartbeat)}"
    return f"; it {since}. If nothing makes it any more, `mmmeta jobs forget {row.job}` clears it"


def _sentences(row: JobRow) -> list[str]:
    """What a table has no room for."""
    from mmmeta.state.ledger.rules import REASONS

    sentences = []
    if row.problem is not None:
        sentences.append(f"cannot run: {row.problem}")
    elif not row.in_project:
        sentences.append(
            "not in the project file: made in Python or by a component, or taken out or renamed there (then `mmmeta jobs "
            f"rename {row.job} NEW` before the next run){_idle_text(row)}"
        )
    elif row.pending is None:
        sentences.append("new: the next update or run selects; see `mmmeta jobs plan`")
    elif row.changed:
        sentences.append("its definition changed; see `mmmeta jobs plan` before the next update or run")
    sentences += [waiting_text(one) for one in row.waiting]
    if row.earliest_due is not None and row.failed:
        sentences.append(f"the next failed file is tried again after {moment_text(row.earliest_due)}")
    sentences += [
        f"set aside: {files_text(count)}: {REASONS.get(reason, reason)}"
        for reason, count in sorted(row.set_aside.items())
    ]
    if row.left_out:
        sentences.append(
            f"left out: {files_text(row.left_out)}, whose names the ledger in PostgreSQL cannot keep; see `mmmeta status --check`"
        )
    return sentences
