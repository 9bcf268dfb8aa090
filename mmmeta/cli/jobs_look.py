"""``mmmeta jobs failed`` and ``mmmeta jobs history``: what the ledger says of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.group import json_option, settings_options
from mmmeta.cli.job_names import JobName, find_job, find_jobs
from mmmeta.cli.targets import Target, act_on, find_targets

if TYPE_CHECKING:
    from mmmeta.jobs.job import Attempt, LedgerEntry

ROWS = 50
"""Rows in a table unless --limit says otherwise."""

limit_option = click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N rows; 0 for all.")


@click.command("failed")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--dead", is_flag=True, help="Only those whose attempts are used up.")
@limit_option
@json_option
@settings_options
@click.pass_context
def failed(ctx: click.Context, jobs: tuple[str, ...], dead: bool, limit: int | None, as_json: bool) -> None:
    """List the files that failed, with the error and when they are tried again.

    The last that failed come first; without JOB those of all jobs. A table shows 50 files unless --limit is given.
    `--json` also has the last lines of the traceback.

    \b
    Examples:
      mmmeta jobs failed import_recent
      mmmeta jobs failed --dead --json | jq -r .error_lines

    \b
    --json, a line a file: {metadir, job, file, status, attempts, error_type,
      error_message, error_lines, run_id, bytes, retract, selected_at,
      claimed_at, settled_at, due}
    """
    from mmmeta.cli.output import echo_json, plain

    chosen = find_jobs(ctx, jobs)
    statuses = ["dead"] if dead else ["failed", "dead"]

    def show(target: Target) -> int:
        with target.open() as metadir:
            metadir.require_state()
            for name in (name for name in chosen if name.target is target):
                found = name.of(metadir).files(statuses)
                most = len(found) if limit == 0 else limit if limit is not None else len(found) if as_json else ROWS
                if as_json:
                    for entry in found[:most]:
                        echo_json({"metadir": target.name, "job": name.name, **plain(entry)})
                else:
                    _draw_failed(name, found, most, dead)
        return 0

    act_on(ctx, list(dict.fromkeys(name.target for name in chosen)), show)


def _draw_failed(name: JobName, found: list[LedgerEntry], most: int, dead: bool) -> None:
    from mmmeta.cli.output import draw_table, files_text, moment_text, note

    rows = [
        [entry.file, entry.status, entry.attempts, _due(moment_text(entry.due), entry), _error(entry)]
        for entry in found[:most]
    ]
    if rows:
        draw_table(["file", "status", "attempts", "due after", "error"], rows, numbers=["attempts"], below=["error"])
    cut = f", the first {len(rows):,} shown" if len(found) > len(rows) else ""
    waiting = sum(entry.status == "dead" for entry in found)
    note(f"{name.full}: {files_text(len(found))} {'dead' if dead else 'failed'}{cut}")
    if waiting:
        note(f"Dead files wait for you: mmmeta jobs retry {name.full} --dead")


def _due(text: str, entry: LedgerEntry) -> str:
    return text if entry.status == "failed" else ""


def _error(entry: LedgerEntry | Attempt) -> str:
    return f"{entry.error_type}: {entry.error_message}" if entry.error_type else ""


@click.command("history")
@click.argument("job", required=False)
@click.option("--file", metavar="FILE", help="Only of this file, given by its unique value.")
@click.option("--run", "run_id", metavar="ID", help="Only of this run; the beginning of its id is enough.")
@limit_option
@json_option
@settings_options
@click.pass_context
def history(
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
      status: done, failed, dead, lost, retracted or adopted
    """
    from mmmeta.cli.output import echo_json, plain

    name = None if job is None else find_job(ctx, job)
    most = None if limit == 0 or (limit is None and as_json) else limit or ROWS

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
        else:
            _draw_history(target, found[:most], len(found) > len(found[:most]), job is None)
        return 0

    act_on(ctx, find_targets(ctx) if name is None else [name.target], show)


def _draw_history(target: Target, found: list[Attempt], more: bool, all_jobs: bool) -> None:
    from mmmeta.cli.output import draw_table, moment_text, note

    if not found:
        note(f"{target.name}: nothing in the history")
        return
    several = all_jobs and len({attempt.job for attempt in found}) > 1
    columns = ["when", "file", "status", "run", *(["job"] if several else []), "error"]
    rows = [
        [
            moment_text(attempt.ended_at),
            attempt.file,
            attempt.status,
            (attempt.run_id or "")[:8],
            *([attempt.job] if several else []),
            _error(attempt),
        ]
        for attempt in found
    ]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    draw_table(columns, rows, below=[name for name in columns if name in ("job", "error")])
    if more:
        note(f"{target.name}: the latest {len(found):,}; more with --limit")
