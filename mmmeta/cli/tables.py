"""How a table is drawn: as wide as it needs to be, nothing cut, and nothing in it that steers the terminal."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import click

from mmmeta.cli.output import to_line
from mmmeta.masking import visible

if TYPE_CHECKING:
    from rich.console import Console

UNBROKEN = 40
"""Characters up to which a cell is not broken into lines, so that a SHA-1 can be copied."""

FOLDED = 20
"""Characters that a column of longer texts is not narrowed below."""

GAP = 2
"""Characters between two columns of a table."""

PLAIN_WIDTH = 160
"""Columns of a table that does not go to a terminal; COLUMNS overrides it."""


def draw_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Iterable[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Print a table on stdout, into a pipe or file without the spaces that fill it up to the right.

    Long texts are folded. Where even that is not enough it is wider than the terminal: nothing is cut.

    Args:
        columns: their names; ours may be broken into lines, keys of the metadata are made ``visible`` by whoever names them.
        rows: one value a column.
        numbers: the columns that stand to the right.
        below: columns, the last ones, that stand on lines of their own below their row where there is no room.
    """
    columns = ["\n".join(map(visible, name.split("\n"))) for name in columns]
    cells = [[cell_text(cell) for cell in row] for row in rows]
    output = console()
    texts = _by_column(columns, cells)
    widths = list(map(_needed, texts))
    kept = len(columns)
    if below and sum(widths) + GAP * (len(widths) - 1) > output.width:
        kept -= len(below)
        # Wide enough for the rest: a row that is broken could not be told from what stands below it.
        output.width = max(output.width, sum(map(_width_of, texts[:kept])) + GAP * kept)
    output.width = max(output.width, sum(widths[:kept]) + GAP * kept)
    lines = _drawn(output, columns[:kept], [row[:kept] for row in cells], set(map(visible, numbers)))
    if kept == len(columns):
        _print(lines)
        return
    header, body = lines[: -len(cells)] if cells else lines, lines[-len(cells) :] if cells else []
    _print(header)
    for line, row in zip(body, cells, strict=True):
        more = textwrap.wrap("  ".join(filter(None, row[kept:])), console().width - 4)
        _print([line, *(f"    {part}" for part in more)])


def _by_column(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[name, *(row[position] for row in cells)] for position, name in enumerate(columns)]


def _width_of(texts: Sequence[str]) -> int:
    from rich.cells import cell_len

    # A name may be broken into lines, a value never is.
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _needed(texts: Sequence[str]) -> int:
    """What a column needs at least; longer texts are folded."""
    widest = _width_of(texts)
    return widest if widest <= UNBROKEN else FOLDED


def _drawn(output: Console, columns: Sequence[str], cells: Sequence[Sequence[str]], right: set[str]) -> list[str]:
    """The lines of a table, with the terminal's colours where it goes to one."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for name, texts in zip(columns, _by_column(columns, cells), strict=True):
        justify: Literal["left", "right"] = "right" if name in right else "left"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=_width_of(texts) <= UNBROKEN)
    for row in cells:
        # Text, not markup: a title such as "[red]" is what it is.
        drawn.add_row(*map(Text, row))
    with output.capture() as capture:
        output.print(drawn)
    return [line.rstrip() for line in capture.get().rstrip("\n").split("\n")]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def cell_text(value: object) -> str:
    """One value in a table: control characters made visible, so that metadata cannot steer the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        value = to_line(value)
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
    return visible(text)


def console(*, err: bool = False) -> Console:
    """A rich console on today's stdout or stderr; without a terminal wide enough not to cut what a program may read."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)
