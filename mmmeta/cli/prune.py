"""``mmmeta prune``: a smaller state db."""

from __future__ import annotations

from datetime import timedelta

import click

from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import counts_text, echo_report, files_text, note, say
from mmmeta.cli.problems import DONE, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets

NEVER = "never"


class _Age(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A duration, or ``never``."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | None:
        from mmmeta.errors import QuantityError
        from mmmeta.quantities import parse_duration

        if isinstance(value, timedelta) or value == NEVER:
            return value if isinstance(value, timedelta) else None
        try:
            return timedelta(seconds=parse_duration(str(value)))
        except QuantityError as error:
            self.fail(f"{error} Or {NEVER}.", param, ctx)


@click.command("prune")
@click.option(
    "--history",
    type=_Age(),
    default="90d",
    show_default=True,
    metavar="AGE",
    help="Attempts older than this, or never.",
)
@click.option(
    "--deleted",
    type=_Age(),
    default="365d",
    show_default=True,
    metavar="AGE",
    help="Metadata of files whose deletion was merged longer ago than this, or never.",
)
@click.option("--values", is_flag=True, help="Deleted files with values of your own as well, and these values.")
@click.option("--no-vacuum", is_flag=True, help="Leave the file as large as it is; the space is used again.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    history: timedelta | None,
    deleted: timedelta | None,
    values: bool,
    no_vacuum: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove what nobody needs any more: old history, and metadata of files deleted long ago.

    It goes beside running jobs, in small steps; only the vacuum at the end waits for a time when none is at work. What a
    job has done with a file stays known, so that nothing is done twice, and so does what failed or is dead. The metadata
    db is left as it is, for clients prove by its rows and revisions; scan.db may be deleted at any time.

    \b
    Examples:
      mmmeta prune --dry-run
      mmmeta prune --history 30d --deleted never

    \b
    --json: {metadir, path, attempts, files, rows, kept_values, kept_jobs,
      bytes_before, bytes_after, not_vacuumed, dry_run}
    """
    from mmmeta.clock import utcnow
    from mmmeta.quantities import format_size
    from mmmeta.state.prune import prune
    from mmmeta.state.status import write_status

    def act(target: Target) -> int:
        with target.open() as metadir, progress_bar() as progress:
            report = prune(
                metadir.layout,
                utcnow(),
                history=history,
                deleted=deleted,
                values=values,
                vacuum=not no_vacuum,
                dry_run=dry_run,
                progress=progress,
            )
            if not dry_run:
                write_status(metadir.layout.status, metadir.status())
        if as_json:
            echo_report(target, report)
            return DONE
        found = counts_text({"attempts of the history": report.attempts, "rows of the ledger": report.rows})
        parts = [f"the metadata of {files_text(report.files)}"] if report.files else []
        said = ", ".join([*parts, *([found] if found else [])]) or "nothing"
        size = format_size(report.bytes_before)
        if not dry_run and report.bytes_after != report.bytes_before:
            size = f"{size} before, {format_size(report.bytes_after)} now"
        say(f"{target.name}: {said} {'would be ' if dry_run else ''}removed ({size})")
        if report.kept_values:
            note(f"  {files_text(report.kept_values)} kept for values of your own (--values removes them, too)")
        if report.kept_jobs:
            note(f"  {files_text(report.kept_jobs)} kept for jobs that have yet to settle them")
        if report.not_vacuumed:
            note(f"  not vacuumed: {report.not_vacuumed}")
        return DONE

    act_on(ctx, find_targets(ctx), act)
