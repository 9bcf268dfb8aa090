"""``mmmeta jobs retry`` and ``mmmeta jobs forget``: a person changes the ledger."""

from __future__ import annotations

import sys

import click

from mmmeta.cli.group import dry_run_option, json_option, settings_options
from mmmeta.cli.job_names import check_files, find_job


@click.command("retry")
@click.argument("job")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--dead", is_flag=True, help="Dead files, too.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def retry(ctx: click.Context, job: str, files: tuple[str, ...], dead: bool, dry_run: bool, as_json: bool) -> None:
    """Make failed files due now, with all their attempts before them again.

    Dead ones only with --dead, or by name. Named files are done again even if they are done; a FILE is given by its
    unique value. The next run takes them; files in a worker's hands are left alone.

    \b
    Examples:
      mmmeta jobs retry import_recent --dead
      mmmeta jobs retry archive/import_recent contract-003 report-001

    \b
    --json: {metadir, path, job, retried, left_alone: {file: status}, dry_run}
    """
    from mmmeta.cli.output import echo_report, files_text, note, say

    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.of(metadir)
        check_files(found, files)
        # Looked at before, because afterwards all of them are pending.
        known = {file: entry.status if (entry := found.entry(file)) else "never selected" for file in files}
        count = found.retry(dead=dead, files=list(dict.fromkeys(files)) or None, dry_run=dry_run)
        waiting = len(found.files("dead")) if not files and not dead else 0
    left = {file: status for file, status in known.items() if status not in ("done", "failed", "dead")}
    if as_json:
        echo_report(name.target, {"job": name.name, "retried": count, "left_alone": left, "dry_run": dry_run})
        return
    would = "would be" if dry_run else "is" if count == 1 else "are"
    say(f"{name.full}: {files_text(count)} {would} due now")
    if count and not name.in_project:
        note("  it stands in no project file: the next run where it is defined, in Python or a component, takes them")
    for file, status in left.items():
        note(f"  left alone: {file}: {_LEFT.get(status, status)}")
    if waiting:
        note(f"  {files_text(waiting)} dead: add --dead to try again")


_LEFT = {
    "claimed": "in a worker's hands",
    "pending": "pending already",
    "skipped": "was set aside, see `mmmeta why`",
    "never selected": "the job does not select it, see `mmmeta why`",
}


@click.command("forget")
@click.argument("job")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def forget(ctx: click.Context, job: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove a job's part of the ledger: the next run does every file again.

    Asks before; without a terminal it refuses unless --yes is given. What the job did (documents, rows) stays where it
    is. A job that the project file no longer has can be forgotten, too.

    \b
    Examples:
      mmmeta jobs forget import_recent
      mmmeta jobs forget archive/import_recent --yes

    \b
    --json: {metadir, path, job, forgotten, dry_run}
    """
    from mmmeta.cli.output import echo_report, files_text, say

    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.of(metadir)
        count = found.forget(dry_run=True)
        if count and not dry_run:
            _ask(name.full, files_text(count), yes)
        if not dry_run:
            count = found.forget()
    if as_json:
        echo_report(name.target, {"job": name.name, "forgotten": count, "dry_run": dry_run})
    else:
        say(f"{name.full}: {files_text(count)} {'would be ' if dry_run else ''}forgotten")


def _ask(job: str, files: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{job}: what is known of {files} would be forgotten: add --yes to do it without a terminal."
        )
    click.confirm(
        f"{job}: forget what is known of {files}, so that the next run does all of them again?", abort=True, err=True
    )
