"""``mmmeta state``: copies of the state db, and putting one back."""

from __future__ import annotations

from pathlib import Path

import click

from mmmeta.cli.group import OrderedGroup
from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, say
from mmmeta.cli.targets import find_target


@click.group("state", cls=OrderedGroup, invoke_without_command=True)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Copy the state db to a safe place, also while jobs run, and put such a copy back.

    The state db holds what was set here and what jobs have done; everything else comes from the remote. A plain copy of
    the file may miss what its write-ahead log holds. Without a command it says where the state db is.

    \b
    Examples:
      mmmeta state
      mmmeta state backup /backups/state.db
      mmmeta state restore /backups/state.db

    \b
    --json: {metadir, path, file, revision}
    """
    if ctx.invoked_subcommand is not None:
        return
    target = find_target(ctx)
    with target.open() as metadir:
        file, revision = metadir.layout.state, metadir.status().revision
    if as_json:
        echo_report(target, {"file": str(file), "revision": revision})
    else:
        say(f"{target.name}: {file} (revision {revision})")


@verb.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@settings_options
@click.pass_context
def backup(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Copy the state db into FILE, as of one moment, also while jobs run.

    An older copy of that name is replaced when the new one is whole; any other file is left as it is.

    \b
    Example:
      mmmeta state backup /backups/state.db

    \b
    --json: {metadir, path, file, revision}
    """
    from mmmeta.state.backup import back_up

    target = find_target(ctx)
    with target.open() as metadir:
        merged = back_up(metadir.layout.state, file.absolute())
    if as_json:
        echo_report(target, {"file": str(file.absolute()), "revision": merged.revision})
    else:
        say(f"{target.name}: copied to {file} (revision {merged.revision})")


@verb.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@settings_options
@click.pass_context
def restore(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Put a copy of the state db back; refused while jobs run.

    What was there stays beside it, in state.db.before-restore. What jobs have done since the copy was made is done again,
    but for rows that `load` has written in their present version, and documents that are in their place.

    \b
    Example:
      mmmeta state restore /backups/state.db

    \b
    --json: {metadir, path, file, revision, kept: file, or null}
    """
    from mmmeta.state.backup import BEFORE
    from mmmeta.state.backup import restore as put_back
    from mmmeta.state.status import write_status

    target = find_target(ctx)
    with target.open() as metadir, run_lock(metadir.layout, exclusive=True):
        there = metadir.layout.state.exists()
        merged = put_back(file.absolute(), metadir.layout)
        write_status(metadir.layout.status, metadir.status())
    kept = f"{metadir.layout.state}{BEFORE}" if there else None
    if as_json:
        echo_report(target, {"file": str(file.absolute()), "revision": merged.revision, "kept": kept})
        return
    was = f"; what was there is in {kept}" if kept else ""
    say(f"{target.name}: restored from {file} (revision {merged.revision}){was}. `mmmeta run` goes on from there")
