"""``mmmeta jobs history``: what runs did, attempt by attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import find_job
from mmmeta.cli.options import json_option, limit_option, row_limit, settings_options
from mmmeta.cli.output import echo_json, moment_text, note, plain
from mmmeta.cli.problems import DONE, act_on, failure_text
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets

if TYPE_CHECKING:
    from mmmeta.jobs.job import Attempt


@click.command("history")
@click.argument("job", required=False)
@click.option("--file", metavar="FILE", help="Only of this file, given by its unique value.")
@click.option("--run", "run_id", metavar="ID", help="Only of this run; the beginning of its id is enough.")
@limit_option("rows")
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context, job: str | None, file: str | None, run_id: str | None, limit: int | None, as_json: bool
) -> None:
    """Say what happened: which run did what, and what became of a file.

    The latest comes first; without JOB of all jobs. Attempts are kept for 90 days, how each file ended last for ever. A
    table shows 50 attempts unless --limit is given.

    \b
    Examples:
      mmmeta jobs history
      mmmeta jobs history import_recent --file contract-003
      mmmeta jobs history --run 5f0c41d2 --json

    \b
    --json, a line an attempt: {metadir, job, file, status, run_id, worker,
      started_at, ended_at, error_type, error_message, bytes}
      status: done, failed, dead, lost, retracted, adopted or dismissed
    """
    name = None if job is None else find_job(ctx, job)
    most = row_limit(limit, as_json)

    def show(target: Target) -> int:
        with target.open() as metadir:
            found = metadir.history(
                job=None if name is None else name.name,
                file=file,
                run_id=run_id,
                # One more than is shown, to know whether there are more.
                limit=None if most is None else most + 1,
            )
        if as_json:
            for attempt in found[:most]:
                echo_json({"metadir": target.name, **plain(attempt)})
            return DONE
        shown = found[:most]
        if not shown:
            note(f"{target.name}: nothing in the history")
            return DONE
        _draw(shown, with_job=job is None and len({attempt.job for attempt in shown}) > 1)
        if len(found) > len(shown):
            note(f"{target.name}: the latest {len(shown):,}; more with --limit")
        return DONE

    act_on(ctx, find_targets(ctx) if name is None else [name.target], show)


def _draw(attempts: list[Attempt], *, with_job: bool) -> None:
    """The table; a column that would be the same or empty in every row is left out."""
    columns = ["when", "file", "status", "run", *(["job"] if with_job else []), "error"]
    rows = [
        [
            moment_text(attempt.ended_at),
            attempt.file,
            attempt.status,
            (attempt.run_id or "")[:8],
            *([attempt.job] if with_job else []),
            failure_text(attempt.error_type, attempt.error_message),
        ]
        for attempt in attempts
    ]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    draw_table(columns, rows, below=[name for name in columns if name in ("job", "error")])
