"""How results are printed: JSON lines for programs, sentences and tables for people."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console

    from mmmeta.cli.targets import Target

SHOWN = 20
"""Problems and failures printed one by one before the rest is only counted; ``--json`` has all that the report kept."""

UNBROKEN = 40
"""Characters up to which a cell is not broken into lines, so that a SHA-1 can be copied."""

FOLDED = 20
"""Characters that a column of longer texts is not narrowed below."""

GAP = 3
"""Characters between two columns of a table."""

PLAIN_WIDTH = 160
"""Columns of a table that does not go to a terminal; COLUMNS overrides it."""


def echo_json(value: Any) -> None:
    """One JSON value as one line on stdout."""
    click.echo(to_line(value))


def echo_report(target: Target, report: object, **more: Any) -> None:
    """The result of a verb on one metadir as one line of JSON: which one it is, then the fields of the report."""
    echo_json({"metadir": target.name, "path": target.path, **plain(report), **more})


def to_line(value: Any) -> str:
    """One JSON value without line breaks; integers of any size stay exact, text stays readable."""
    return json.dumps(value, default=plain, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def plain(value: Any) -> Any:
    """What JSON has no form for: results become objects, times ISO texts, paths and the rest texts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # One level only: what lies below comes back here by itself.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Path, Exception)):
        return str(value)
    return str(value)


def note(message: object) -> None:
    """A line for people, beside the result."""
    click.echo(str(message), err=True)


def listing(title: str, lines: Sequence[object], count: int | None = None) -> None:
    """Problems or failures on stderr: the first ones, and how many there are in all."""
    count = len(lines) if count is None else count
    if not count:
        return
    note(title)
    for line in lines[:SHOWN]:
        note(f"  {line}")
    if count > len(lines[:SHOWN]):
        note(f"  … and {count - len(lines[:SHOWN]):,} more")


def counts(**numbers: int | None) -> str:
    """``12 added, 3 changed``; what is zero is left out, and ``nothing`` says that all of it is."""
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items() if number) or "nothing"


def draw_table(columns: Iterable[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[str] = ()) -> None:
    """Print a table on stdout, into a pipe or file without the spaces that fill it up to the right.

    Long texts are folded. Where even that is not enough it is wider than the terminal: nothing is cut.

    Args:
        columns: their names.
        rows: one value a column.
        numbers: the columns that stand to the right.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    right = set(numbers)
    cells = [[cell_text(cell) for cell in row] for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    needed = 0
    for position, name in enumerate(columns):
        widest = max(cell_len(text) for text in [name, *(row[position] for row in cells)])
        justify: Literal["left", "right"] = "right" if name in right else "left"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=widest <= UNBROKEN)
        needed += GAP + (widest if widest <= UNBROKEN else FOLDED)
    for row in cells:
        # Text, not markup: a title such as "[red]" is what it is.
        drawn.add_row(*map(Text, row))
    output = console()
    output.width = max(output.width, needed)
    if output.is_terminal:
        output.print(drawn)
        return
    with output.capture() as capture:
        output.print(drawn)
    click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def cell_text(value: object) -> str:
    """One value in a table: control characters made visible, so that metadata cannot steer the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        value = to_line(value)
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
    return "".join(c if c.isprintable() else "\\n" if c == "\n" else f"\\x{ord(c):02x}" for c in text)


def console(*, err: bool = False) -> Console:
    """A rich console on today's stdout or stderr; without a terminal wide enough not to cut what a program may read."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)
