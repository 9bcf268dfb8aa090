"""The command line: verbs over a metadir, one file a verb.

Exit codes: 0 done, 1 error, 2 usage, 3 done but some files were set aside or failed, or something needs a
person (and 128 + the signal's number when ``run`` was stopped). Results go to stdout, everything else (problems, notes, progress) to stderr. Nothing but click is
imported before a verb is chosen, so that ``--help`` and shell completion are quick.
"""

from __future__ import annotations

import click

import mmmeta
from mmmeta.cli.group import MainGroup
from mmmeta.cli.options import main_settings_options

__all__ = ["main"]


@click.group(
    cls=MainGroup,
    package=__name__,
    verbs={
        "init": "Look at a folder of documents and write a config.yml and a project file that fit it.",
        "generate": "Read the metadata files and write what changed into the metadata db (server).",
        "sync": "Bring a metadir from where a server publishes it, or to there; only what is missing moves.",
        "update": "Merge what the server published into the state db (client).",
        "run": "Update, then run the jobs of the project file: the one line for cron.",
        "work": "Help with what is due, until nothing is: no update, no evaluation.",
        "status": "Say what is merged, what is outdated, and how far each job is.",
        "jobs": "Say how far each job is; look into its ledger, and change it.",
        "why": "Say why a job has done a file, or has not.",
        "check": "Prove that the state db is what was merged, and that what jobs did is really there.",
        "inspect": "Say what a folder holds: databases, roles, problems. Changes nothing.",
        "state": "Copy the state db to a safe place or into PostgreSQL, put it back, and bring it along when things move.",
        "migrate": "Make a metadir of today beside one of mmmeta 0.1-0.4, which stays as it is.",
        "prune": "Remove what nobody needs any more: old history, and metadata of files deleted long ago.",
        "find": "List the files that filters select.",
        "dump": "Write all files with their metadata as JSON lines, CSV or Parquet.",
        "store": "Read and write the small key-value store of a metadir.",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 done but some files failed, or something needs a person.",
)
@click.version_option(mmmeta.__version__, prog_name="mmmeta")
@main_settings_options
def main() -> None:
    """Metadata for large archives of documents: publish, sync, select, process.

    A server publishes metadata with `generate`; a client syncs the folder `_mmmeta`, merges it with `update`, and
    processes each file once with `run`.

    \b
    Examples:
      mmmeta init                            in a folder of documents, once
      mmmeta generate                        at the server, in the archive's folder
      mmmeta sync pull                       at a client, without a sync tool of its own
      mmmeta --metadir ./client update       at a client, after the sync
      mmmeta find document_type=contract 'retrieved_at>=7d' imported=false
      mmmeta run                             what cron calls
    """
