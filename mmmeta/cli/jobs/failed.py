"""``mmmeta jobs failed``: the files that failed, and how often, when and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import JobName, act_on_jobs, find_jobs, note_dead
from mmmeta.cli.options import json_option, limit_option, row_limit, settings_options
from mmmeta.cli.output import echo_json, files_text, first_shown, moment_text, note, plain
from mmmeta.cli.problems import DONE, failure_text
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target
from mmmeta.state.ledger.rules import POSTPONED

if TYPE_CHECKING:
    from mmmeta.jobs.job import LedgerEntry


@click.command("failed")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--dead", is_flag=True, help="Only those whose attempts are used up.")
@limit_option("rows")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, jobs: tuple[str, ...], dead: bool, limit: int | None, as_json: bool) -> None:
    """List the files that failed, with the error and when they are tried again.

    Those that wait for a web server are among them as postponed. The last that failed come first; without JOB those of
    all jobs. A table shows 50 files unless --limit is given. `--json` also has the last lines of the traceback.

    \b
    Examples:
      mmmeta jobs failed import_recent
      mmmeta jobs failed --dead --json | jq -r .error_lines

    \b
    --json, a line a file: {metadir, job, file, status, attempts, error_type,
      error_message, error_lines, run_id, bytes, retract, selected_at,
      claimed_at, settled_at, due}
    """
    statuses = ["dead"] if dead else ["failed", "dead"]
    most = row_limit(limit, as_json)

    def show(target: Target, names: list[JobName]) -> int:
        with target.open() as metadir:
            metadir.require_state()
            for name in names:
                found = name.find_in(metadir).files(statuses)
                if as_json:
                    for entry in found[:most]:
                        echo_json({"metadir": target.name, "job": name.name, **plain(entry)})
                else:
                    _draw(name, found, most, dead)
        return DONE

    act_on_jobs(ctx, find_jobs(ctx, jobs), show)


def _draw(name: JobName, found: list[LedgerEntry], most: int | None, dead: bool) -> None:
    postponed = sum(entry.error_type == POSTPONED for entry in found)
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
    sentence = f"{name.full}: {files_text(len(found) - postponed)} {'dead' if dead else 'failed'}"
    sentence += f", {postponed:,} postponed" if postponed else ""
    note(first_shown(sentence, len(rows), len(found)))
    if any(entry.status == "dead" for entry in found):
        note_dead(name.full)
