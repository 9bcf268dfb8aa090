"""``mmmeta jobs``: how far each job is, and the commands that look into the ledger or change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.group import OrderedGroup, json_option, settings_options
from mmmeta.cli.job_names import JobName, ledger_jobs
from mmmeta.cli.jobs_adopt import adopt
from mmmeta.cli.jobs_change import forget, retry
from mmmeta.cli.jobs_look import failed, history
from mmmeta.cli.jobs_plan import plan
from mmmeta.cli.targets import Target, act_on, find_targets
from mmmeta.errors import MmmetaError

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
    from mmmeta.state.status import JobStatus

COUNTS = ("pending", "claimed", "done", "failed", "dead")


@click.group("jobs", cls=OrderedGroup, invoke_without_command=True)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Say how far each job is; look into its ledger, and change it.

    Without a command it draws a table: files that the selection means now, and how many of those that it ever selected
    are pending, claimed (in a worker's hands), done, failed (tried again later) and dead (attempts used up, waiting for
    `jobs retry --dead`). It changes nothing; a changed definition counts from the next update or run on.

    \b
    Examples:
      mmmeta jobs
      mmmeta jobs plan import_recent
      mmmeta jobs failed archive/import_recent
      mmmeta jobs --json | jq '.jobs[] | {job, pending, dead}'

    \b
    --json: {metadir, path, jobs: [{job, in_project, changed, selection,
      selected, pending, claimed, done, failed, dead, skipped, due,
      earliest_due, oldest_pending, set_aside: {reason: files}, problem}]}
    """
    if ctx.invoked_subcommand is not None:
        return

    def show(target: Target) -> int:
        names = [JobName(target, name) for name in (*target.jobs, *ledger_jobs(target))]
        with target.open() as metadir:
            rows = [_row(metadir, name) for name in names]
            if as_json:
                from mmmeta.cli.output import echo_report

                echo_report(target, {"jobs": rows})
            else:
                _tell(target, metadir.is_client, rows)
        return 0

    act_on(ctx, find_targets(ctx), show)


for command in (plan, failed, retry, history, adopt, forget):
    verb.add_command(command)


def _row(metadir: Metadir, name: JobName) -> dict[str, Any]:
    """One job for programs; numbers are None where nothing was evaluated yet."""
    from mmmeta.cli.output import plain
    from mmmeta.filters import describe

    row: dict[str, Any] = {
        "job": name.name,
        "in_project": name.in_project,
        "changed": False,
        "selection": None,
        "selected": None,
        **dict.fromkeys((*COUNTS, "skipped", "due", "earliest_due", "oldest_pending")),
        "set_aside": {},
        "problem": None,
    }
    try:
        job = name.of(metadir)
    except MmmetaError as error:
        return row | {"problem": str(error)}
    if name.in_project:
        row["selection"] = describe(job.config.condition)
    if not metadir.is_client:
        return row
    status: JobStatus | None = metadir.status().jobs.get(name.name)
    if name.in_project:
        row["selected"] = job.selected()
        row["problem"] = job.problem()
        row["changed"] = status is None or status.fingerprint != job.config.fingerprint()
    if status is not None:
        numbers = plain(status)
        row |= {key: numbers[key] for key in (*COUNTS, "skipped", "due", "earliest_due")}
        row["oldest_pending"] = job.oldest_pending()
        row["set_aside"] = job.set_aside()
    return row


def _tell(target: Target, updated: bool, rows: Sequence[dict[str, Any]]) -> None:
    from mmmeta.cli.output import age, draw_table, note

    if not rows:
        where = f"{target.project} has none for it" if target.project else "there is no project file"
        note(f"{target.name}: no jobs: {where}")
        return
    columns = [target.name, "selected", *COUNTS, "oldest\npending"]
    numbers = columns[1:-1]
    draw_table(
        columns,
        [[row["job"], *(_number(row[key]) for key in numbers), age(row["oldest_pending"])] for row in rows],
        numbers=numbers,
    )
    if not updated:
        note(f"{target.name}: never updated: run `mmmeta update`")
        return
    for row in rows:
        for sentence in _sentences(row):
            note(f"{row['job']}: {sentence}")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _sentences(row: dict[str, Any]) -> list[str]:
    """What a table has no room for."""
    from mmmeta.cli.output import files_text, moment_text
    from mmmeta.state.ledger.rules import REASONS

    sentences = []
    if row["problem"] is not None:
        sentences.append(f"cannot run: {row['problem']}")
    elif not row["in_project"]:
        sentences.append(
            f"not in the project file: made in Python, or gone from there (`mmmeta jobs forget {row['job']}` clears it)"
        )
    elif row["pending"] is None:
        sentences.append("new: the next update or run selects; see `mmmeta jobs plan`")
    elif row["changed"]:
        sentences.append("its definition changed; see `mmmeta jobs plan` before the next update or run")
    if row["earliest_due"] is not None:
        sentences.append(f"the next failed file is tried again after {moment_text(row['earliest_due'])}")
    sentences += [
        f"set aside: {files_text(count)}: {REASONS.get(reason, reason)}"
        for reason, count in sorted(row["set_aside"].items())
    ]
    return sentences
