"""``mmmeta jobs rename``: a job goes on under another name, and nothing is done anew."""

from __future__ import annotations

import click

from mmmeta.cli.jobs.names import find_job
from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import count_text, echo_report, files_text, note, plain, say
from mmmeta.cli.targets import Target


@click.command("rename")
@click.argument("old")
@click.argument("new")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, old: str, new: str, dry_run: bool, as_json: bool) -> None:
    """Give a job another name in the ledger, its history and the receipts of its targets, so that nothing is done anew.

    The project file you rename yourself, before or after, and no run may come between: stop cron, or Dagster's sensor
    and schedules, for so long. While a run is at work it is refused, and where NEW is a job that has worked. Broken off,
    it goes on when it is called again.

    \b
    Example:
      mmmeta jobs rename import_recent import_letters

    \b
    --json: {metadir, path, old, new, files, receipts, unreached: [target],
      finished, dry_run}
    """
    place, _, new = new.rpartition("/")
    target, name = _find(ctx, old, new)
    if place not in ("", target.name):
        raise click.UsageError(f"{name!r} stays in {target.name}, whose ledger knows it: give the new name alone.")
    with target.open() as metadir, run_lock(metadir.layout, exclusive=True, dry_run=dry_run):
        metadir.require_state()
        renamed = metadir.rename_job(name, new, dry_run=dry_run)
    if as_json:
        echo_report(target, plain(renamed))
        return
    would = "would be " if dry_run else ""
    what = "the rest of it" if renamed.finished else files_text(renamed.files)
    say(f"{target.name}/{name}: {what} {would}renamed to {new}, with {count_text(renamed.receipts, 'receipt')}")
    for place in renamed.unreached:
        note(f"  receipts in {place} keep the old name: nobody here knows how to reach that database")
    action = metadir.job_configs.get(new) or metadir.job_configs.get(name)
    if action is None or action.call is not None:
        note(
            "  if it writes receipts of its own (file.claim.receipt), rename them there: UPDATE _mmmeta_receipts SET job = "
            f"'{new}' WHERE job = '{name}'"
        )
    if name in target.jobs and new not in target.jobs:
        note(f"  now rename it in {target.project}, before the next run: that would do everything anew as {name}")


def _find(ctx: click.Context, old: str, new: str) -> tuple[Target, str]:
    """The metadir and the old name. One that was broken off is known by its new name only."""
    try:
        found = find_job(ctx, old)
    except click.UsageError:
        try:
            prefix = old.rpartition("/")[0]
            renamed = find_job(ctx, f"{prefix}/{new}" if prefix else new)
        except click.UsageError:
            renamed = None
        if renamed is None:
            raise
        return renamed.target, old.rpartition("/")[2]
    return found.target, found.name
