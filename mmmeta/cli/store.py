"""``mmmeta store``: the key-value store, for shell scripts on both sides."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.group import OrderedGroup
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_json, say
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import find_target
from mmmeta.clock import utcnow
from mmmeta.errors import MetadirNotFoundError, StoreKeyError, near_misses
from mmmeta.masking import visible

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
    from mmmeta.store.store import Store


@click.group("store", cls=OrderedGroup, invoke_without_command=True)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Read and write the small key-value store of a metadir.

    Without a command it lists keys and values. Keys that begin with `local_` stay on this machine; all others are
    synced.

    \b
    Examples:
      mmmeta store
      mmmeta store get remote_last_updated
      mmmeta store set batch 17
      mmmeta store touch documents_last_updated
    """
    if ctx.invoked_subcommand is not None:
        return
    with find_target(ctx).open() as metadir:
        entries = {key: _read(metadir.store, key) for key in metadir.store}
        types = {key: type(metadir.store[key]).__name__ for key in entries}
    if as_json:
        echo_json(entries)
    else:
        draw_table(["key", "value", "type"], [(key, value, types[key]) for key, value in entries.items()])


@verb.command("get")
@click.argument("key")
@json_option
@settings_options
@click.pass_context
def get(ctx: click.Context, key: str, as_json: bool) -> None:
    """Print the value of a key; exit code 1 where there is none.

    \b
    Example:
      mmmeta store get remote_last_updated
    """
    with find_target(ctx).open() as metadir:
        store = metadir.store
        if key not in store:
            raise _missing(store, key)
        value = _read(store, key)
    if as_json:
        echo_json(value)
    else:
        # A program gets the value as it is; at a terminal a value from the remote must not steer it.
        text = str(value)
        click.echo(visible(text) if sys.stdout.isatty() else text)


@verb.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--text", is_flag=True, help="Keep the value as text, even if it looks like a number or a date.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def set_(ctx: click.Context, key: str, value: str, text: bool, dry_run: bool, as_json: bool) -> None:
    """Write a value under a key.

    What looks like an integer, a float or a date and time is kept as such.

    \b
    Examples:
      mmmeta store set batch 17
      mmmeta store set --text zip 01067
    """
    from mmmeta.store.text import decode, encode

    parsed = value if text else decode(value)
    with find_target(ctx).open() as metadir:
        _check(metadir, key)
        encode(key, parsed)
        if not dry_run:
            metadir.store[key] = parsed
            parsed = _read(metadir.store, key)
    _tell_set(key, parsed, dry_run, as_json)


@verb.command("touch")
@click.argument("key")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def touch(ctx: click.Context, key: str, dry_run: bool, as_json: bool) -> None:
    """Write the present time under a key.

    \b
    Example:
      mmmeta store touch documents_last_updated
    """
    with find_target(ctx).open() as metadir:
        _check(metadir, key)
        if not dry_run:
            metadir.touch(key)
        value = utcnow() if dry_run else _read(metadir.store, key)
    _tell_set(key, value, dry_run, as_json)


@verb.command("delete")
@click.argument("key")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def delete(ctx: click.Context, key: str, dry_run: bool, as_json: bool) -> None:
    """Remove a key; exit code 1 where there is none.

    \b
    Example:
      mmmeta store delete batch
    """
    with find_target(ctx).open() as metadir:
        store = metadir.store
        if key not in store:
            raise _missing(store, key)
        value = _read(store, key)
        if not dry_run:
            del store[key]
    if as_json:
        echo_json({key: value})
    else:
        say(f"{key} would be deleted, was {value}" if dry_run else f"{key} deleted, was {value}")


def _check(metadir: Metadir, key: str) -> None:
    """What makes writing impossible is an error in a dry run as well; a mistyped path makes no new folder."""
    metadir.store.raw(key)
    if not metadir.layout.base.is_dir():
        raise MetadirNotFoundError(f"{metadir.layout.base} is not a folder; check the path.")


def _read(store: Store, key: str) -> Any:
    """The value for printing: times in UTC as they are on disk (the library reads them as naive local time)."""
    return _printed(store.moment(key) or store[key])


def _printed(value: Any) -> Any:
    """Times as ISO texts with their offset."""
    return value.isoformat() if isinstance(value, datetime) else value


def _tell_set(key: str, value: Any, dry_run: bool, as_json: bool) -> None:
    value = _printed(value)
    if as_json:
        echo_json({key: value})
    else:
        say(f"{key} would be set to {value}" if dry_run else f"{key} set to {value}")


def _missing(store: Store, key: str) -> StoreKeyError:
    return StoreKeyError(f"The store has no key {key!r}.{near_misses(key, store)}")
