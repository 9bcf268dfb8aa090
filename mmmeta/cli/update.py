"""``mmmeta update``: the client's verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import counts_text, echo_report, note, say
from mmmeta.cli.problems import DONE, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.state.update import UpdateReport

HOW = {"everything": "compared everything", "repair": "repaired"}
"""What is worth a word about how an update went."""


@click.command("update")
@click.option("--replace", is_flag=True, help="Build the remote part of the state db anew; local columns are kept.")
@click.option("--accept-older", is_flag=True, help="Merge even what is older than what was merged already.")
@click.option("--allow-mass-delete", is_flag=True, help="Go on even if more than half of all files, or all, would go.")
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
            tell_update(target, report)
        return DONE

    act_on(ctx, find_targets(ctx), update)


def tell_update(target: Target, report: UpdateReport) -> None:
    """One line about an update, and the sentences that its report brings."""
    changes = counts_text(
        {"added": report.added, "changed": report.changed, "deleted": report.deleted, "returned": report.returned}
    )
    if not changes:
        changes = "nothing new"
    elif report.dry_run:
        changes = f"would be {changes}"
    facts = [f"revision {report.revision}"]
    # On the first day everything is compared anyway, later it is worth a word.
    if report.revision_before is not None and report.how in HOW:
        facts.append(HOW[report.how])
    if report.dry_run:
        facts += ["dry run", "nothing written"]
    say(f"{target.name}: {changes} ({', '.join(facts)}, {format_duration(report.duration)})")
    for sentence in report.notes:
        note(f"  {sentence}")
