"""``mmmeta update``: the client's verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.group import dry_run_option, json_option, settings_options
from mmmeta.cli.targets import Target, act_on, find_targets

if TYPE_CHECKING:
    from mmmeta.state.update import UpdateReport


@click.command("update")
@click.option("--replace", is_flag=True, help="Build the remote part of the state db anew; local columns are kept.")
@click.option("--accept-older", is_flag=True, help="Merge even what is older than what was merged already.")
@click.option("--allow-mass-delete", is_flag=True, help="Go on even if more than half of all files would be deleted.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context, replace: bool, accept_older: bool, allow_mass_delete: bool, dry_run: bool, as_json: bool
) -> None:
    """Merge what the server published into the state db (client).

    Reads the synced metadata db; local columns and what jobs have done are never touched. Where nothing is new, it says
    so at once.

    \b
    Examples:
      mmmeta update
      mmmeta --metadir ./client update --json
    """
    from mmmeta.cli.output import echo_report
    from mmmeta.cli.progress import progress_bar

    def update(target: Target) -> int:
        with target.open() as metadir, progress_bar() as progress:
            report = metadir.update(
                replace=replace,
                accept_older=accept_older,
                allow_mass_delete=allow_mass_delete,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            echo_report(target, report)
        else:
            tell(target, report)
        return 0

    act_on(ctx, find_targets(ctx), update)


def tell(target: Target, report: UpdateReport) -> None:
    """One line about an update, and the sentences that its report brings."""
    from mmmeta.cli.output import counts, note, say
    from mmmeta.quantities import format_duration

    changes = counts(added=report.added, changed=report.changed, deleted=report.deleted, returned=report.returned)
    what = "nothing new" if changes == "nothing" else f"{'would be ' if report.dry_run else ''}{changes}"
    # On the first day everything is compared anyway, later it is worth a word.
    how = {"everything": ", compared everything", "repair": ", repaired"}.get(report.how, "")
    facts = f"revision {report.revision}{how if report.revision_before is not None else ''}"
    written = ", dry run, nothing written" if report.dry_run else ""
    say(f"{target.name}: {what} ({facts}{written}, {format_duration(report.duration)})")
    for sentence in report.notes:
        note(f"  {sentence}")
