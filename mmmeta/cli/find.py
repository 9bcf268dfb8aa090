"""``mmmeta find``: files by filters, as a table or as JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import (
    ROWS,
    json_option,
    limit_option,
    order_by_option,
    read_filters,
    require_keys,
    row_limit,
    settings_options,
    split_keys,
)
from mmmeta.cli.output import echo_json, files_text, first_shown, note
from mmmeta.cli.tables import GAP, UNBROKEN, cell_text, console, draw_table
from mmmeta.cli.targets import find_target
from mmmeta.masking import visible

if TYPE_CHECKING:
    from mmmeta.files.file import File
    from mmmeta.files.files import Files
    from mmmeta.filters.conditions import Condition

TEXT_WIDTH = 30
"""Characters that a column of long texts needs at least; it is left out of a table without room for it."""

PREFERRED = ("title", "document_type", "published_at", "retrieved_at", "_file_name", "url")
"""Keys that tell people most about a document, by what crawlers call them; shown as far as files have them."""

FILTER_HELP = """\b
    Filters, all of which must hold:
      key=value  key!=value   equal, not equal; key=a,b,c is one of them
      key<10  <=  >  >=       numbers, dates (2024-01-31) and durations:
                              retrieved_at>=7d is the last 7 days
      key~=%text%  !~=        like, not like (% is anything); ~*= in any case
      key^=text  key$=text    begins with, ends with
    true, false, null and numbers are recognised; "…" makes a value text, commas
    included. Quote for the shell what has < > $ * ! or spaces: 'pages>10'.
    A nested key is written publisher:name.
"""


@click.command(
    "find",
    help=f"""List the files that filters select.

    Without filters all files; deleted ones only with --deleted. A table shows {ROWS} files unless --limit is given.

    {FILTER_HELP}
    \b
    Examples:
      mmmeta find document_type=contract 'retrieved_at>=7d' imported=false
      mmmeta find 'title~=%report%' --order-by -published_at --limit 10
      mmmeta find extension=pdf --json | jq -r .url
    """,
)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@limit_option("files")
@order_by_option
@click.option("--columns", metavar="KEYS", help="Keys to show, separated by commas.")
@click.option("--deleted", is_flag=True, help="Find files that are marked deleted instead.")
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    filters: tuple[str, ...],
    limit: int | None,
    order_by: str | None,
    columns: str | None,
    deleted: bool,
    as_json: bool,
) -> None:
    from mmmeta.filters import condition_keys, to_where

    condition = read_filters(filters)
    order, shown = split_keys(order_by), split_keys(columns)
    with find_target(ctx).open() as metadir:
        files = metadir.files
        metadir.require_files()
        require_keys(shown, files, "--columns")
        require_keys(order, files, "--order-by")
        most = row_limit(limit, as_json)
        found = files.find(to_where(condition), order_by=order, _limit=most, deleted=deleted)
        if as_json:
            for file in found:
                echo_json({key: file.get(key) for key in shown} if shown else dict(file))
            return
        listed = list(found)
        asked = [metadir.config.metadata.unique, *sorted(condition_keys(condition)), *order]
        keys = shown or _columns(files.columns, listed, asked)
        rows = [[file.get(key) for key in keys] for file in listed]
        total = len(rows) if most is None or len(rows) < most else files.count(to_where(condition), deleted=deleted)
        _draw(keys, rows, total)
        if not rows:
            _hint(files, condition)


def _columns(known: Sequence[str], found: Sequence[File], asked: Sequence[str]) -> list[str]:
    """The keys of a table: all that was asked about, then what says most about a document, as far as there is room."""
    shown = [key for key in dict.fromkeys(key.removeprefix("-") for key in asked) if key in known]
    room = console().width

    def width(key: str) -> int:
        widest = max((len(cell_text(file.get(key))) for file in found[:ROWS]), default=0)
        return max(len(key), widest if widest <= UNBROKEN else TEXT_WIDTH) + GAP

    room -= sum(map(width, shown))
    for key in [key for key in PREFERRED if key in known] or known:
        if key not in shown and (taken := width(key)) <= room:
            shown.append(key)
            room -= taken
    return shown


def _draw(keys: Sequence[str], rows: Sequence[Sequence[object]], total: int) -> None:
    numbers = [
        key
        for position, key in enumerate(keys)
        if all(isinstance(row[position], (int, float, type(None))) for row in rows)
    ]
    if rows:
        draw_table(list(map(visible, keys)), rows, numbers=list(map(visible, numbers)))
    note(first_shown(files_text(total), len(rows), total))


def _hint(files: Files, condition: Condition) -> None:
    """Nothing found: perhaps a number or a date was typed where the metadata holds text."""
    from mmmeta.filters import compare, to_where, walk

    for part in walk(condition):
        value = part.value
        if part.op != "=" or isinstance(value, bool) or not isinstance(value, (int, float, date)):
            continue
        text = value.isoformat() if isinstance(value, date) else str(value)
        if files.count(to_where(compare(part.key, "=", text))):
            note(f"{part.key} holds text: write '{part.key}=\"{text}\"'")
