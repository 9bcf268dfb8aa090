"""``mmmeta state copy``: a ledger from a file into PostgreSQL, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import count_text, echo_report, files_text, note, say
from mmmeta.cli.problems import WITH_PROBLEMS
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_target

if TYPE_CHECKING:
    from mmmeta.layout import Layout
    from mmmeta.state.copying import CopyReport


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def copy(ctx: click.Context, source: str, target: str, dry_run: bool, as_json: bool) -> None:
    """Copy what jobs have done and what was set from a state in a file into PostgreSQL, or back.

    FROM and TO are what `state:` takes: the path of a state db, or postgresql+psycopg://user@host/database with
    ?schema=name; '{{ env.STATE_URL }}' keeps a password out of the command line. It is for before `state:` is changed: jobs,
    their files with statuses and places, the history, and what was set (file.save()) go along, compared by counts and a
    digest over all rows when they have arrived. FROM stays as it is. TO has to be empty: a file is made where there is none,
    with the metadata merged. One that was broken off is used by nothing until the same copy has run to its end. Refused
    while jobs run. The exit code is 3 where PostgreSQL cannot keep a file's name.

    \b
    Example:
      mmmeta state copy _mmmeta/local/state.db '{{ env.STATE_URL }}' --dry-run

    \b
    --json: {metadir, path, source, target, jobs: [job], rows: {table: number}, digests: {table: digest},
      left_out, such_as: [file], dry_run}
    """
    from mmmeta.state.copying import copy_state
    from mmmeta.state.status import write_status

    found = find_target(ctx)
    with (
        found.open() as metadir,
        progress_bar() as progress,
        run_lock(metadir.layout, exclusive=True, dry_run=dry_run),
    ):
        layout = metadir.layout
        ends = [_end(layout, source, "FROM"), _end(layout, target, "TO")]
        report = copy_state(*ends, dry_run=dry_run, progress=progress)
        if not dry_run and (layout.state, layout.ledger) == (ends[1].state, ends[1].ledger):
            write_status(layout.status, metadir.status())
    _tell(found, report, as_json)
    if report.left_out:
        ctx.exit(WITH_PROBLEMS)


def _end(layout: Layout, written: str, argument: str) -> Layout:
    """The metadir with the state that was typed."""
    from mmmeta.layout import Layout, state_path
    from mmmeta.project.variables import Variables

    variables = Variables()
    filled = variables.fill(written)
    if variables.problems or not filled:
        problem = variables.problems[0][1] if variables.problems else "it is empty."
        raise click.BadParameter(problem, param_hint=argument)
    there = Layout.at(layout.base, layout.files_root, state_path(filled, argument))
    return replace(there, state=layout.state) if there.ledger is not None else there


def _tell(target: Target, report: CopyReport, as_json: bool) -> None:
    if as_json:
        echo_report(target, report)
        return
    rows, would = report.rows, "would be " if report.dry_run else ""
    counts = [
        count_text(rows["jobs"], "job"),
        f"{files_text(rows['ledger'])} of jobs",
        count_text(rows["attempts"], "attempt"),
        *([f"what was set of {files_text(rows['own_values'])}"] if rows["own_values"] else []),
    ]
    say(f"{target.name}: {would}copied from {report.source} to {report.target}")
    say(f"  {', '.join(counts)}{'' if report.dry_run else '; counts and digests agree'}")
    if report.left_out:
        names = ", ".join(repr(name[:80]) for name in report.such_as)
        more = " …" if report.left_out > len(report.such_as) else ""
        note(f"  {files_text(report.left_out)} left out, whose names do not go into PostgreSQL's index: {names}{more}")
    if report.dry_run:
        note("  dry run, nothing written")
    else:
        note(f"  now let `state:` name {report.target}; no job may run with {report.source} any more")
