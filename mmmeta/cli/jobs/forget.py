"""``mmmeta jobs forget``: removes what the ledger knows of a job, after it has asked."""

from __future__ import annotations

import sys

import click

from mmmeta.cli.jobs.names import find_job
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, say


@click.command("forget")
@click.argument("job")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, job: str, yes: bool, dry_run: bool, as_json: bool) -> None:
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
    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.find_in(metadir)
        count = found.forget(dry_run=True)
        if not dry_run:
            if count and not yes:
                _ask(name.full, count)
            count = found.forget()
    if as_json:
        echo_report(name.target, {"job": name.name, "forgotten": count, "dry_run": dry_run})
    else:
        say(f"{name.full}: {files_text(count)} {'would be ' if dry_run else ''}forgotten")


def _ask(job: str, count: int) -> None:
    """Go on only after a yes.

    Raises:
        click.Abort: the answer is no.
        click.UsageError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{job}: what is known of {files_text(count)} would be forgotten: add --yes to do it without a terminal."
        )
    click.confirm(
        f"{job}: forget what is known of {files_text(count)}, so that the next run does all of them again?",
        abort=True,
        err=True,
    )
