"""``mmmeta migrate``: a metadir of mmmeta 0.1-0.4 becomes one of today."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import count_text, echo_report, files_text, note, say
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets

if TYPE_CHECKING:
    from mmmeta.legacy.migrate import Migration


@click.command("migrate")
@click.option("--server", is_flag=True, help="Metadata is written here, too, although there is a client's state db.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, server: bool, dry_run: bool, as_json: bool) -> None:
    """Make a metadir of today beside one of mmmeta 0.1-0.4, which stays as it is.

    Files and their deletions, what a client has set, the store and config.yml come along. What the old versions left
    ambiguous is listed with counts. The new metadir lies in _mmmeta.migrated beside the old one; the last lines say how to
    put it into its place. The exit code is 3 where something had to stay behind.

    \b
    Examples:
      mmmeta migrate --dry-run
      mmmeta --metadir ./archive migrate

    \b
    --json: {metadir, path, old, new, version, is_server, is_client, files, deleted, from_state, own_files,
      store, dry_run, own: {key: files}, flags: [key], doubts: {sentence: {count, names, left, more}}, notes: [sentence]}
    """
    from mmmeta.clock import utcnow
    from mmmeta.legacy.migrate import migrate
    from mmmeta.metadir import Metadir

    def act(target: Target) -> int:
        with target.open() as metadir, progress_bar() as progress:
            assert isinstance(metadir, Metadir)
            report = migrate(metadir.layout, utcnow, server=server, dry_run=dry_run, progress=progress)
        if as_json:
            echo_report(target, report)
        else:
            _tell(target, report)
        return WITH_PROBLEMS if report.left_behind else DONE

    act_on(ctx, find_targets(ctx), act)


def _tell(target: Target, report: Migration) -> None:
    roles = {"a server": report.is_server, "a client": report.is_client}
    role = " and ".join(role for role, held in roles.items() if held) or "a client without anything of its own"
    would = "would become" if report.dry_run else "was made into"
    say(f"{target.name}: the metadir of mmmeta {report.version} {would} one of today, {role}")
    there = [f"{report.deleted:,} of them deleted"] if report.deleted else []
    there += [f"{report.from_state:,} only in the old state db"] if report.from_state else []
    say(f"  {files_text(report.files)}{', ' if there else ''}{', '.join(there)}")
    if report.own:
        keys = ", ".join(f"{key} {count:,}" for key, count in report.own.items())
        say(f"  own values of {files_text(report.own_files)}: {keys}")
    if report.store:
        say(f"  {count_text(report.store, 'value')} in the store")
    _doubts(report, left=False, title="  ambiguous:")
    _doubts(report, left=True, title="  stayed behind:")
    for sentence in report.notes:
        note(f"  {sentence}")
    if report.dry_run:
        note("  dry run, nothing written")
        return
    say(f"  the old one is as it was; the new one is {report.new}")
    say("next:")
    for line in _next(target, report):
        say(f"  {line}")


def _doubts(report: Migration, *, left: bool, title: str) -> None:
    doubts = [(sentence, doubt) for sentence, doubt in report.doubts.items() if doubt.left is left]
    if doubts:
        say(title)
    for sentence, doubt in doubts:
        say(f"    {sentence}: {doubt.count:,} ({', '.join(doubt.names)}{' …' if doubt.more else ''})")


def _next(target: Target, report: Migration) -> list[str]:
    old, new = shlex.quote(report.old), shlex.quote(report.new)
    lines = [
        f"mv {old} {shlex.quote(report.old + '.old')}",
        f"mv {new} {old} && rmdir {shlex.quote(str(Path(report.new).parent))}",
    ]
    if report.is_server:
        lines.append(target.command("generate"))
    if report.is_client:
        if not report.is_server:
            lines.append("(sync from the server once it is migrated, without _mmmeta/local)")
        lines.append(target.command("update"))
        if report.flags:
            flag = "imported" if "imported" in report.flags else report.flags[0]
            lines.append(target.command(f"jobs adopt JOB --where {shlex.quote(f'{flag}=true')}"))
    return lines
