"""``mmmeta generate``: the server's verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import count_text, counts_text, echo_report, listing, note, say
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.metadata.generate.report import GenerateReport


@click.command("generate")
@click.option("--replace", is_flag=True, help="Begin a new metadata db from what is there now.")
@click.option("--ensure", is_flag=True, help="Mark files deleted that have no metadata file any more.")
@click.option("--ensure-files", is_flag=True, help="Mark files deleted whose document is missing.")
@click.option("--no-meta", is_flag=True, help="Also describe the documents that have no metadata file.")
@click.option("--allow-mass-delete", is_flag=True, help="Go on even if more than half of all files, or all, would go.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    replace: bool,
    ensure: bool,
    ensure_files: bool,
    no_meta: bool,
    allow_mass_delete: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read the metadata files and write what changed into the metadata db (server).

    Metadata files (*.json) are found recursively; what one does not say itself (content_hash, size ...) the document beside
    it tells, which is read once. Files are added and updated; what is merely no longer there is kept,
    unless --ensure says otherwise. Input that cannot be read is named and set aside, and the exit code is 3.

    \b
    Examples:
      mmmeta generate
      mmmeta --metadir ./server --files-root ./documents generate --ensure --dry-run
    """

    def generate(target: Target) -> int:
        with target.open() as metadir, progress_bar() as progress:
            report = metadir.generate(
                replace=replace,
                ensure=ensure,
                ensure_files=ensure_files,
                no_meta=no_meta,
                allow_mass_delete=allow_mass_delete,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            echo_report(target, report, total=report.total)
        else:
            _tell(target, report, no_meta=no_meta)
        return WITH_PROBLEMS if report.problem_count else DONE

    act_on(ctx, _servers(ctx), generate)


def _servers(ctx: click.Context) -> list[Target]:
    """Of several metadirs those whose metadata is written here."""
    targets = find_targets(ctx)
    if len(targets) == 1:
        return targets
    servers = [target for target in targets if target.config is not None and target.config.generate]
    if not servers:
        raise click.UsageError(
            f"None of the metadirs in {targets[0].project} has `generate: true`. Name one with --metadir "
            f"({', '.join(target.name for target in targets)})."
        )
    return servers


def _tell(target: Target, report: GenerateReport, *, no_meta: bool) -> None:
    changes = counts_text(
        {
            "added": report.added,
            "changed": report.changed,
            "deleted": report.deleted,
            "returned": report.returned,
            "unchanged": report.unchanged,
        }
    )
    if not changes:
        changes = "nothing"
    elif report.dry_run:
        changes = f"would be {changes}"
    revision = "dry run, nothing written" if report.dry_run else f"revision {report.revision}"
    say(f"{target.name}: {changes} ({revision}, {format_duration(report.duration)})")
    for sentence in report.notes:
        note(f"  {sentence}")
    kind = "documents" if no_meta else "metadata files"
    listing(f"  {kind} with one unique value:", _shared(report), report.shared_count)
    listing(f"{count_text(report.problem_count, 'problem')}:", report.problems, report.problem_count)


def _shared(report: GenerateReport) -> list[str]:
    lines = []
    for shared in report.shared:
        more = report.shared_more.get(shared.file)
        lines.append(f"  {shared}{f' and {more:,} more' if more else ''}")
    return lines
