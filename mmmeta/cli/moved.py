"""``mmmeta state moved``: results that lie elsewhere now."""

from __future__ import annotations

from pathlib import Path

import click

from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, note, say
from mmmeta.cli.targets import find_target


@click.command("moved")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@dry_run_option
@json_option
@settings_options
@click.pass_context
def moved(ctx: click.Context, old: Path, new: Path, dry_run: bool, as_json: bool) -> None:
    """Say that what jobs have put below OLD is below NEW now: a folder that was moved or renamed, or another machine's.

    It moves nothing. Without it, results in another folder are "done elsewhere", and would be made again there. OLD is a
    folder of documents, one above it, or an SQLite file that jobs load into; NEW has to be there. Change `to:` in the
    project file as well, if it names the old path. Refused while jobs run.

    \b
    Examples:
      mmmeta state moved /srv/archive /data/archive --dry-run
      mmmeta state moved /home/me/documents.sqlite /data/documents.sqlite

    \b
    --json: {metadir, path, old, new, jobs: {job: files}, still_there, dry_run}
    """
    from mmmeta.state.moved import moved as write

    target = find_target(ctx)
    with target.open() as metadir, run_lock(metadir.layout, exclusive=True, dry_run=dry_run):
        report = write(metadir.layout, old.expanduser(), new.expanduser(), dry_run=dry_run)
    if as_json:
        echo_report(target, report)
        return
    jobs = ", ".join(f"{files:,} of {job}" for job, files in report.jobs.items())
    say(f"{target.name}: {'would now be' if dry_run else 'are now'} below {report.new}: {jobs}")
    if report.still_there:
        note(f"  {report.old} is there still: what is in it is nobody's from now on")
