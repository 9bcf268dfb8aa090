"""``mmmeta jobs failed``: with what files failed, how many of each, and each of them on request."""

from __future__ import annotations

import shlex
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import JobName, act_on_jobs, find_jobs, note_dead
from mmmeta.cli.options import json_option, limit_option, row_limit, settings_options
from mmmeta.cli.output import counts_text, echo_json, files_text, first_shown, moment_text, note, plain
from mmmeta.cli.problems import DONE, failure_text
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target
from mmmeta.state.ledger.rules import POSTPONED

if TYPE_CHECKING:
    from mmmeta.jobs.job import LedgerEntry
    from mmmeta.metadir import Metadir


@click.command("failed")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--dead", is_flag=True, help="Only those whose attempts are used up.")
@click.option("--each", is_flag=True, help="Each file, instead of one line an error.")
@limit_option("rows")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, jobs: tuple[str, ...], dead: bool, each: bool, limit: int | None, as_json: bool) -> None:
    """List with what files failed, how many for each error, and when they are tried again.

    Errors that differ only in what is the file's own (names, addresses, numbers) are one, with the file that failed last
    as its example. With --each all files come, the last that failed first. Those that wait for a web server are among
    them as postponed. Without JOB those of all jobs. A table has 50 rows unless --limit is given.

    \b
    Examples:
      mmmeta jobs failed import_recent
      mmmeta jobs failed --dead --each --json | jq -r .error_lines

    \b
    --json, a line an error: {metadir, job, error_type, error_message, files,
      failed, dead, postponed, example, title, due, command}
    --each --json, a line a file: {metadir, job, file, status, attempts, error_type,
      error_message, error_lines, run_id, bytes, retract, selected_at,
      claimed_at, settled_at, due}
    """
    statuses = ["dead"] if dead else ["failed", "dead"]
    most = row_limit(limit, as_json)

    def show(target: Target, names: list[JobName]) -> int:
        with target.open() as metadir:
            if metadir.layout.ledger is None:
                metadir.require_state()
            for name in names:
                found = name.find_in(metadir).files(statuses)
                if not each:
                    _tell_groups(name, metadir, found, most, dead, as_json)
                elif as_json:
                    for entry in found[:most]:
                        echo_json({"metadir": target.name, "job": name.name, **plain(entry)})
                else:
                    _draw(name, found, most, dead)
        return DONE

    act_on_jobs(ctx, find_jobs(ctx, jobs), show)


def _tell_groups(
    name: JobName, metadir: Metadir, found: list[LedgerEntry], most: int | None, dead: bool, as_json: bool
) -> None:
    """One row an error."""
    from mmmeta.jobs.failures import group_failures

    groups = group_failures(found)
    shown = groups[:most]
    # Where machines share the ledger, it may be here without the files.
    files = metadir.files.get_many([group.example for group in shown]) if metadir.is_client else {}
    titles = {file: str(one.get("title") or "") for file, one in files.items()}
    if as_json:
        for group in shown:
            command = name.target.command(f"why {shlex.quote(group.example)} {name.name}")
            more = {"title": titles.get(group.example) or None, "command": command}
            echo_json({"metadir": name.target.name, "job": name.name, **plain(group), **more})
        return
    rows = [
        [
            group.files,
            counts_text({"failed": group.failed, "dead": group.dead, "postponed": group.postponed}),
            moment_text(group.due),
            group.example,
            shorten(titles.get(group.example, ""), 40, placeholder=" …"),
            failure_text(group.error_type, group.error_message),
        ]
        for group in shown
    ]
    columns = ["files", "status", "due after", "for example", "title", "error"]
    if not any(titles.values()):
        columns.remove("title")
        rows = [[*row[:4], row[5]] for row in rows]
    if rows:
        draw_table(columns, rows, numbers=["files"], below=["error"])
    _note_count(name, found, dead, len(shown), len(groups))
    if shown:
        note(f"One: mmmeta why {shlex.quote(shown[0].example)} {name.full}; all: mmmeta jobs failed {name.full} --each")
    if any(entry.status == "dead" for entry in found):
        note_dead(name.full)


def _note_count(name: JobName, found: list[LedgerEntry], dead: bool, shown: int, total: int) -> None:
    postponed = sum(entry.error_type == POSTPONED for entry in found)
    sentence = f"{name.full}: {files_text(len(found) - postponed)} {'dead' if dead else 'failed'}"
    sentence += f", {postponed:,} postponed" if postponed else ""
    note(first_shown(sentence, shown, total))


def _draw(name: JobName, found: list[LedgerEntry], most: int | None, dead: bool) -> None:
    rows = [
        [
            entry.file,
            "postponed" if entry.error_type == POSTPONED else entry.status,
            entry.attempts,
            moment_text(entry.due) if entry.status == "failed" else "",
            failure_text(entry.error_type, entry.error_message),
        ]
        for entry in found[:most]
    ]
    if rows:
        draw_table(["file", "status", "attempts", "due after", "error"], rows, numbers=["attempts"], below=["error"])
    _note_count(name, found, dead, len(rows), len(found))
    if any(entry.status == "dead" for entry in found):
        note_dead(name.full)
