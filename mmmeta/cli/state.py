"""``mmmeta state``: copies of the state db, and putting one back."""

from __future__ import annotations

from pathlib import Path

import click

from mmmeta.cli.copying import copy
from mmmeta.cli.group import OrderedGroup
from mmmeta.cli.lock import run_lock
from mmmeta.cli.moved import moved
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, note, say
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.rekey import rekey
from mmmeta.cli.targets import find_target


@click.group("state", cls=OrderedGroup, invoke_without_command=True)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Copy the state db to a safe place or into PostgreSQL, put it back, and bring it along when things move.

    The state db holds what was set here and what jobs have done; everything else comes from the remote. A plain copy of
    the file may miss what its write-ahead log holds. Without a command it says where the state db is.

    \b
    Examples:
      mmmeta state
      mmmeta state backup /backups/state.db
      mmmeta state restore /backups/state.db
      mmmeta state moved /old/archive /new/archive --dry-run
      mmmeta state rekey --dry-run
      mmmeta state copy _mmmeta/local/state.db '{{ env.STATE_URL }}'

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
@dry_run_option
@json_option
@settings_options
@click.pass_context
def backup(ctx: click.Context, file: Path, dry_run: bool, as_json: bool) -> None:
    """Copy the state db into FILE, as of one moment, also while jobs run.

    An older copy of that name is replaced when the new one is whole; any other file is left as it is.

    \b
    Example:
      mmmeta state backup /backups/state.db

    \b
    --json: {metadir, path, file, revision, dry_run}
    """
    from mmmeta.state.backup import back_up
    from mmmeta.state.open import require_own_ledger

    target = find_target(ctx)
    with target.open() as metadir, progress_bar() as progress:
        require_own_ledger(metadir.layout, "state backup", "back that up with the server's own tools (pg_dump)")
        merged = back_up(metadir.layout.state, file.absolute(), dry_run=dry_run, progress=progress)
    if as_json:
        echo_report(target, {"file": str(file.absolute()), "revision": merged.revision, "dry_run": dry_run})
    else:
        say(f"{target.name}: {'would be ' if dry_run else ''}copied to {file} (revision {merged.revision})")


@verb.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@dry_run_option
@json_option
@settings_options
@click.pass_context
def restore(ctx: click.Context, file: Path, dry_run: bool, as_json: bool) -> None:
    """Put a copy of the state db back, here or on another machine; refused while jobs run.

    What was there stays beside it, in state.db.before-restore. What jobs have done since the copy was made is done again,
    but for rows that `load` has written in their present version, and documents that are in their place. On another
    machine the first one must not run jobs any more; where paths are others there, `mmmeta state moved` follows.

    \b
    Example:
      mmmeta state restore /backups/state.db --dry-run

    \b
    --json: {metadir, path, file, revision, revision_here (or null), kept: file, or null, dry_run}
    """
    from mmmeta.state.backup import BEFORE, merged_here
    from mmmeta.state.backup import restore as put_back
    from mmmeta.state.status import write_status

    target = find_target(ctx)
    with (
        target.open() as metadir,
        progress_bar() as progress,
        run_lock(metadir.layout, exclusive=True, dry_run=dry_run),
    ):
        layout = metadir.layout
        there, before = layout.state.exists(), merged_here(layout.state)
        merged = put_back(file.absolute(), layout, dry_run=dry_run, progress=progress)
        if not dry_run:
            write_status(layout.status, metadir.status())
    kept = f"{layout.state}{BEFORE}" if there else None
    here = None if before is None else before.revision
    if as_json:
        facts = {"file": str(file.absolute()), "revision": merged.revision, "revision_here": here, "kept": kept}
        echo_report(target, {**facts, "dry_run": dry_run})
        return
    would = "would be " if dry_run else ""
    was = f"; what {'is' if dry_run else 'was'} there {'would stay' if dry_run else 'is'} in {kept}" if kept else ""
    rest = "" if dry_run else ". `mmmeta run` goes on from there"
    say(f"{target.name}: {would}restored from {file} (revision {merged.revision}){was}{rest}")
    if before is not None and before.metadata_id != merged.metadata_id:
        note("  the copy has merged another metadata db than what is here: look whether it is this archive's")
    elif before is not None and before.revision > merged.revision:
        note(f"  the copy is older: what is here has merged revision {before.revision}")


verb.add_command(moved)
verb.add_command(rekey)
verb.add_command(copy)
