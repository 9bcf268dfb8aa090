"""``mmmeta update``: the client's verb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import counts_text, echo_report, note, say
from mmmeta.cli.problems import DONE, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.errors import UnfinishedSyncError
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
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
    so at once. A copy that a sync has not finished yet is waited for: it is said, what was merged stays, and the exit code is 0.

    \b
    Examples:
      mmmeta update
      mmmeta --metadir ./client update --json
    """

    def update(target: Target) -> int:
        with target.open() as metadir, progress_bar() as progress:
            report = update_or_wait(
                metadir,
                replace=replace,
                accept_older=accept_older,
                allow_mass_delete=allow_mass_delete,
                dry_run=dry_run,
                progress=progress,
            )
        if isinstance(report, Waiting):
            if as_json:
                echo_report(target, report)
            else:
                tell_waiting(target, report)
        elif as_json:
            echo_report(target, report)
        else:
            tell_update(target, report)
        return DONE

    act_on(ctx, find_targets(ctx), update)


@dataclass(frozen=True)
class Waiting:
    """A sync has not finished: nothing was merged, and what was merged before stays.

    Attributes:
        waiting: what is not there yet.
        revision: of what was merged before.
    """

    waiting: str
    revision: int | None


def update_or_wait(metadir: Metadir, **options: Any) -> UpdateReport | Waiting:
    """An update, or that there is nothing to merge until a sync has finished.

    Raises:
        UnfinishedSyncError: that, where nothing was merged before that one could go on with.
        MmmetaError: as ``Metadir.update``.
    """
    try:
        return metadir.update(**options)
    except UnfinishedSyncError as error:
        if not metadir.is_client:
            raise
        metadir.ignore_news()  # it is said here, and what follows works with what is merged
        return Waiting(str(error), metadir.status().revision)


def tell_waiting(target: Target, waiting: Waiting) -> None:
    """One line, and what is not there yet."""
    say(f"{target.name}: waiting for a sync to finish, revision {waiting.revision} is merged")
    note(f"  {waiting.waiting}")


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
