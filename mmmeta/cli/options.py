"""What options a verb takes: those that several verbs share, and what is made of the words typed behind them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mmmeta.files.files import Files
    from mmmeta.filters.conditions import Condition

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ROWS = 50
"""Rows in a table unless --limit says otherwise: what fits into a terminal's memory, and a person's."""

SETTING_OPTIONS = {
    "metadir": (
        "PATH",
        "The folder that holds _mmmeta, or the name of a metadir in the project file (a folder of the same name is "
        "written ./NAME). Default: MMMETA, the project file's metadirs, the current directory.",
    ),
    "files_root": (
        "PATH",
        "Where the metadata files lie. Default: MMMETA_FILES_ROOT, the project file, the metadir's folder.",
    ),
    "project": ("FILE", "The project file. Default: MMMETA_PROJECT, ./mmmeta.yaml."),
}
"""The options that choose a metadir, each with its metavar and its help; they may stand before the verb or behind it."""


ZERO_WIDTH_SPACE = "\u200b"
"""Of no use in a path: one that is not there with it is meant without it."""


class Settings:
    """What was typed for the options that choose a metadir; behind the verb it outranks what stands before it."""

    metadir: str | None = None
    files_root: str | None = None
    project: str | None = None

    @classmethod
    def of(cls, ctx: click.Context) -> Settings:
        """Those of this call of the command."""
        return ctx.ensure_object(cls)


def main_settings_options(command: Decorated) -> Decorated:
    """``--metadir``, ``--files-root`` and ``--project`` before the verb, with their help."""
    return _with_settings(command, hidden=False)


def settings_options(command: Decorated) -> Decorated:
    """``--metadir``, ``--files-root`` and ``--project`` behind the verb as well, where people type them too."""
    return _with_settings(command, hidden=True)


def _with_settings(command: Decorated, *, hidden: bool) -> Decorated:
    def keep(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            # Dagster's UI shows commands whose long paths have such spaces, so that a browser may break them.
            value = value if os.path.lexists(value) else value.replace(ZERO_WIDTH_SPACE, "")
            setattr(Settings.of(ctx), str(parameter.name), value)

    for name, (metavar, text) in reversed(SETTING_OPTIONS.items()):
        flag = f"--{name.replace('_', '-')}"
        option = click.option(flag, metavar=metavar, help=text, hidden=hidden, expose_value=False, callback=keep)
        command = option(command)
    return command


json_option: Callable[[Decorated], Decorated] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs, and nothing else."
)
dry_run_option: Callable[[Decorated], Decorated] = click.option(
    "--dry-run", is_flag=True, help="Say what would happen; write nothing."
)
order_by_option: Callable[[Decorated], Decorated] = click.option(
    "--order-by", metavar="KEYS", help="Keys to sort by, separated by commas; -KEY for the largest first."
)


def limit_option(what: str) -> Callable[[Decorated], Decorated]:
    """``--limit`` of a verb that draws a table of ``what``; ``row_limit`` says what it means."""
    return click.option("--limit", type=click.IntRange(min=0), metavar="N", help=f"At most N {what}; 0 for all.")


def row_limit(limit: int | None, as_json: bool) -> int | None:
    """How many rows at most are meant by ``--limit``, None for all: a program gets all unless it says otherwise."""
    return ROWS if limit is None and not as_json else limit or None


def read_filters(words: Sequence[str]) -> Condition:
    """What was typed as a condition; a word that is no filter is a usage error."""
    from mmmeta.errors import FilterError
    from mmmeta.filters import parse_text

    try:
        return parse_text(words)
    except FilterError as error:
        raise click.BadParameter(str(error), param_hint="FILTER") from error


def require_keys(keys: Sequence[str], files: Files, option: str, beside: Sequence[str] = ()) -> None:
    """Refuse keys that no file has: a table of nothing would look like an answer. Before the first file any may come.

    Args:
        beside: names that are no keys and may be asked for as well.

    Raises:
        click.BadParameter: names the first one, with the near misses.
    """
    from mmmeta.errors import near_misses

    known = [*files.columns, *beside] if keys else []
    for key in keys:
        name = key.removeprefix("-") if option == "--order-by" else key
        of_mmmeta = option == "--order-by" and name.startswith("__")
        if name not in known and not of_mmmeta and next(files.find(_limit=1, deleted=None), None) is not None:
            raise click.BadParameter(f"no file has the key {name!r}.{near_misses(name, known)}", param_hint=option)


def split_keys(text: str | None) -> list[str]:
    """Keys from a list with commas."""
    return [key.strip() for key in text.split(",") if key.strip()] if text else []
