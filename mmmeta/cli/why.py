"""``mmmeta why``: what a job makes of one file."""

from __future__ import annotations

import click

from mmmeta.cli.jobs.names import find_job
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, say


@click.command("why")
@click.argument("file")
@click.argument("job")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, file: str, job: str, as_json: bool) -> None:
    """Say why a job has done a file, or has not.

    Whether the selection means it, and by which condition not; pending, done when and by which run, failed with what,
    waiting until when. FILE is given by its unique value.

    \b
    Examples:
      mmmeta why contract-003 download_contracts
      mmmeta why 7c4a8d09ca3762af61e59520943dc26494f8941b archive/extract --json

    \b
    --json: {metadir, path, file, job, deleted, selected,
      unmet: [{condition, actual}], entry (as in `jobs failed`, or null),
      attempts (as in `jobs history`), most_attempts, again, lines}
    """
    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        explanation = name.find_in(metadir).why(file)
    if as_json:
        echo_report(name.target, explanation, lines=explanation.lines)
        return
    first, *others = explanation.lines
    say(first)
    for line in others:
        say(f"  {line}")
