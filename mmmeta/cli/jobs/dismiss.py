"""``mmmeta jobs dismiss``: settles dead files for good."""

from __future__ import annotations

import click

from mmmeta.cli.jobs.names import check_files, find_job
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, note, say


@click.command("dismiss")
@click.argument("job")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, job: str, files: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Settle dead files for good, so that nobody is reminded of them.

    All that are dead, or those that are named by their unique value. They are set aside in the version that failed:
    `run` ends with 0 again. A new version of such a file comes as any other, and `jobs retry JOB FILE` takes one back.

    \b
    Examples:
      mmmeta jobs dismiss import_recent
      mmmeta jobs dismiss archive/import_recent contract-003

    \b
    --json: {metadir, path, job, dismissed, left_alone: {file: status}, dry_run}
    """
    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.find_in(metadir)
        check_files(found, files)
        # Looked at before, because afterwards all of them are set aside.
        known = {file: entry.status if (entry := found.entry(file)) else "never selected" for file in files}
        count = found.dismiss(list(files) or None, dry_run=dry_run)
    left_alone = {file: status for file, status in known.items() if status != "dead"}
    if as_json:
        echo_report(name.target, {"job": name.name, "dismissed": count, "left_alone": left_alone, "dry_run": dry_run})
        return
    say(f"{name.full}: {files_text(count)} {'would be ' if dry_run else ''}dismissed")
    for file, status in left_alone.items():
        note(f"  left alone: {file} is not dead: {status}")
