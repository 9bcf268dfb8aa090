"""How results are printed: JSON lines for programs, sentences and tables for people."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import textwrap
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

GAP = 2
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


def say(message: object = "") -> None:
    """A line of the result, for people."""
    click.echo(visible(str(message)))


def note(message: object) -> None:
    """A line for people, beside the result."""
    click.echo(visible(str(message)), err=True)


def note_error(place: str, message: str) -> None:
    """An error that does not end everything; one of a file that people write has a line for each mistake."""
    first, *others = message.split("\n")
    note(f"Error: {place}: {first}")
    for line in others:
        note(line)


def visible(text: str) -> str:
    """A text with its control characters made visible: whatever metadata, documents and servers put into names and
    errors, it cannot steer the terminal or pass for a line of ours."""
    return "".join(c if c.isprintable() else "\\n" if c == "\n" else f"\\x{ord(c):02x}" for c in text)


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
        columns: their names.
        rows: one value a column.
        numbers: the columns that stand to the right.
        below: columns, the last ones, that stand on lines of their own below their row where there is no room.
    """
    cells = [[cell_text(cell) for cell in row] for row in rows]
    output = console()
    widths = [_needed([name, *(row[position] for row in cells)]) for position, name in enumerate(columns)]
    kept = len(columns)
    if below and sum(widths) + GAP * (len(widths) - 1) > output.width:
        kept -= len(below)
        # Wide enough for the rest: a row that is broken could not be told from what stands below it.
        output.width = max(output.width, sum(map(_width_of, _by_column(columns, cells)[:kept])) + GAP * kept)
    output.width = max(output.width, sum(widths[:kept]) + GAP * kept)
    lines = _drawn(output, columns[:kept], [row[:kept] for row in cells], set(numbers))
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


def age(moment: datetime | None) -> str:
    """How long ago, in one unit, or nothing."""
    if moment is None:
        return ""
    from mmmeta.clock import utcnow

    seconds = max(0.0, (utcnow() - moment).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number = int(seconds // length)
        if number or unit == "second":
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return ""


def moment_text(moment: datetime | None) -> str:
    """A moment in local time: today's with seconds, others with the date, both to the minute at least."""
    if moment is None:
        return ""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == date.today() else f"{local:%Y-%m-%d %H:%M}"


def files_text(number: int) -> str:
    """``1 file``, ``1,200 files``."""
    return f"{number:,} file{'' if number == 1 else 's'}"


def console(*, err: bool = False) -> Console:
    """A rich console on today's stdout or stderr; without a terminal wide enough not to cut what a program may read."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)
