"""``mmmeta jobs``: how far each job is, and the verbs that look into the ledger or change it, one file a verb."""

from __future__ import annotations

import click

from mmmeta.cli.group import VerbGroup
from mmmeta.cli.options import json_option, settings_options


@click.group(
    "jobs",
    cls=VerbGroup,
    package=__name__,
    verbs={
        "plan": "Say what a run would do: files and bytes, and what a changed definition changes.",
        "failed": "List with what files failed, how many for each error, and when they are tried again.",
        "retry": "Make failed files due now, with all their attempts before them again.",
        "dismiss": "Settle dead files for good, so that nobody is reminded of them.",
        "history": "Say what happened: which run did what, and what became of a file.",
        "adopt": "Take files for done, because somebody did them before the job was there.",
        "rename": "Give a job another name in the ledger, its history and the receipts of its targets, so that nothing is done anew.",
        "forget": "Remove a job's part of the ledger: the next run does every file again.",
    },
    invoke_without_command=True,
)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Say how far each job is; look into its ledger, and change it.

    Without a command it draws a table: files that the selection means now, and how many of those that it ever selected
    are pending, claimed (in a worker's hands), done, failed (tried again later) and dead (attempts used up, waiting for
    `jobs retry --dead` or `jobs dismiss`). It changes nothing; a changed definition counts from the next update or run on.

    \b
    Examples:
      mmmeta jobs
      mmmeta jobs plan import_recent
      mmmeta jobs failed archive/import_recent
      mmmeta jobs --json | jq '.jobs[] | {job, pending, dead}'

    \b
    --json: {metadir, path, jobs: [{job, in_project, changed, selection,
      selected, pending, claimed, done, failed, postponed, dead, skipped,
      due, earliest_due, oldest_pending, waiting: [{reason, files, until}],
      set_aside: {reason: files}, left_out, elsewhere, problem}]}
    """
    if ctx.invoked_subcommand is None:
        from mmmeta.cli.jobs.overview import show_overview

        show_overview(ctx, as_json)
