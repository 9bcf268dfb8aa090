"""``mmmeta state rekey``: the state db after config.yml's `unique` was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, listing, note, say
from mmmeta.cli.problems import WITH_PROBLEMS
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_target

if TYPE_CHECKING:
    from mmmeta.state.rekey import RekeyReport


@click.command("rekey")
@click.option("--by", "keys", metavar="KEY", multiple=True, help="Match files by this key; may be given several times.")
@click.option("--allow-mass-delete", is_flag=True, help="Go on even if more than half of all files have no match.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def rekey(ctx: click.Context, keys: tuple[str, ...], allow_mass_delete: bool, dry_run: bool, as_json: bool) -> None:
    """Bring the state db along when the remote identifies files by another key: `unique` in config.yml was changed.

    Each file is matched with what it is called now, by what identified it, by what identifies it, and by its content,
    unless --by says otherwise. What was set here, the ledger, the places of documents and rows and the history go with it.
    A done file is due anew only where what its job compares is another. Files without a match stay under their old names,
    as deleted at the remote. All of it happens at once or not at all; the old state db stays beside it, in
    state.db.before-rekey. The exit code is 3 where files are ambiguous. Refused while jobs run.

    \b
    Examples:
      mmmeta state rekey --dry-run
      mmmeta state rekey --by url --by content_hash

    \b
    --json: {metadir, path, before, now, files, matched, by: {key: files}, earlier,
      ambiguous: {file: why}, alone: [file], values_moved, values_left, kept,
      jobs: {job: {done, again, left}}, dry_run}
    """
    from mmmeta.jobs.versions import same_version
    from mmmeta.state.rekey import rekey as bring_along
    from mmmeta.state.status import write_status

    target = find_target(ctx)
    with (
        target.open() as metadir,
        progress_bar() as progress,
        run_lock(metadir.layout, exclusive=True, dry_run=dry_run),
    ):
        report = bring_along(
            metadir.layout,
            same_version,
            by=keys,
            content=metadir.config.metadata.content,
            allow_mass_delete=allow_mass_delete,
            dry_run=dry_run,
            progress=progress,
        )
        if not dry_run:
            write_status(metadir.layout.status, metadir.status())
    _tell(target, report, as_json)
    if report.matches.ambiguous:
        ctx.exit(WITH_PROBLEMS)


def _tell(target: Target, report: RekeyReport, as_json: bool) -> None:
    found = report.matches
    if as_json:
        facts = {name: value for name, value in vars(report).items() if name != "matches"}
        matched = {**vars(found), "matched": len(found.names), "earlier": len(found.earlier)}
        del matched["names"]
        echo_report(target, facts, **matched)
        return
    would = "would be" if report.dry_run else "are"
    by = ", ".join(f"{count:,} by {key}" for key, count in found.by.items())
    say(f"{target.name}: files {would} identified by {report.now}, not by {report.before}")
    say(f"  {files_text(len(found.names))} matched{f' ({by})' if by else ''}; {files_text(report.files)} before")
    if found.earlier:
        say(f"  {files_text(len(found.earlier))} earlier versions of these: they stay, as deleted")
    if found.alone:
        say(f"  {files_text(len(found.alone))} without a match: they stay, as deleted at the remote")
    if report.values_moved or report.values_left:
        say(
            f"  values of your own: {files_text(report.values_moved)} with a match, {files_text(report.values_left)} without"
        )
    if report.jobs:
        rows = [
            [name, *(f"{number:,}" for number in (job.done, job.again, job.left))] for name, job in report.jobs.items()
        ]
        columns = ["job", "stays done", "due anew", "no match"]
        draw_table(columns, rows, numbers=columns[1:])
    listing("ambiguous:", [f"{name}: several files have {why}" for name, why in found.ambiguous.items()])
    if report.dry_run:
        note("  dry run, nothing written")
    else:
        note(f"  the old state db is in {report.kept}. `mmmeta run` goes on from here")
