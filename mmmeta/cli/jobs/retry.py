"""``mmmeta jobs retry``: makes files due, whatever became of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import check_files, find_job
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, note, say

if TYPE_CHECKING:
    from mmmeta.state.ledger.view import LedgerEntry

TAKEN = ("done", "failed", "dead", "dismissed")
"""Statuses from which a named file is made due; every other one is left alone."""

LEFT_ALONE = {
    "claimed": "in a worker's hands",
    "pending": "pending already",
    "skipped": "was set aside, see `mmmeta why`",
    "never selected": "the job does not select it, see `mmmeta why`",
}
"""Why a file of another status is left alone."""


@click.command("retry")
@click.argument("job")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--dead", is_flag=True, help="Dead files, too.")
@click.option("--elsewhere", is_flag=True, help="Just what is done elsewhere than where the job points now.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context, job: str, files: tuple[str, ...], dead: bool, elsewhere: bool, dry_run: bool, as_json: bool
) -> None:
    """Make failed files due now, with all their attempts before them again.

    Dead ones only with --dead, or by name. Named files are done again even if they are done; a FILE is given by its
    unique value. The next run takes them; files in a worker's hands are left alone. After a change of `to:`, `table:` or
    `name:`, --elsewhere has what is done somewhere else done anew where the job points now.

    \b
    Examples:
      mmmeta jobs retry import_recent --dead
      mmmeta jobs retry archive/import_recent contract-003 report-001

    \b
    --json: {metadir, path, job, retried, left_alone: {file: status}, dry_run}
    """
    if elsewhere and (files or dead):
        raise click.UsageError("--elsewhere goes with neither FILE nor --dead.")
    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.find_in(metadir)
        check_files(found, files)
        # Looked at before, because afterwards all of them are pending.
        known = {file: _status(found.entry(file)) for file in files}
        names = list(dict.fromkeys(files)) or None
        count = found.retry(dead=dead, elsewhere=elsewhere, files=names, dry_run=dry_run)
        waiting = len(found.files("dead")) if not (files or dead or elsewhere) else 0
    left_alone = {file: status for file, status in known.items() if status not in TAKEN}
    if as_json:
        echo_report(name.target, {"job": name.name, "retried": count, "left_alone": left_alone, "dry_run": dry_run})
        return
    are = "would be" if dry_run else "is" if count == 1 else "are"
    say(f"{name.full}: {files_text(count)} {are} due now")
    if count and not name.in_project:
        note("  it stands in no project file: the next run where it is defined, in Python or a component, takes them")
    for file, status in left_alone.items():
        note(f"  left alone: {file}: {LEFT_ALONE.get(status, status)}")
    if waiting:
        note(
            f"  {files_text(waiting)} dead: add --dead to try again, or settle them with `mmmeta jobs dismiss {name.full}`"
        )


def _status(entry: LedgerEntry | None) -> str:
    """What became of a file before; one that a person has dismissed may come back, others that were set aside not."""
    from mmmeta.state.ledger.rules import DISMISSED

    if entry is None:
        return "never selected"
    return "dismissed" if entry.status == "skipped" and entry.error_type == DISMISSED else entry.status
