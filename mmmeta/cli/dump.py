"""``mmmeta dump``: everything, for another program."""

from __future__ import annotations

import codecs
import csv
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.options import order_by_option, read_filters, require_keys, settings_options, split_keys
from mmmeta.cli.output import UNENCODABLE, harmless
from mmmeta.cli.progress import ProgressCallback, progress_bar
from mmmeta.cli.targets import find_target
from mmmeta.masking import visible

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from mmmeta.files.file import File

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r]")
"""How text begins that a spreadsheet computes, and that may then send what is in the sheet elsewhere."""

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")

EVERY = 500
"""Files between two reports of progress."""


@click.command("dump")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@click.option("--json", "form", flag_value="json", default=True, help="One JSON object a line (the default).")
@click.option("--csv", "form", flag_value="csv", help="CSV with a line of names; lists and objects as JSON.")
@click.option("--formulas", is_flag=True, help="CSV: leave text that a spreadsheet takes for a formula as it is.")
@click.option("--columns", metavar="KEYS", help="Only these keys, separated by commas, in this order.")
@order_by_option
@click.option("--deleted", is_flag=True, help="Write the files that are marked deleted instead.")
@click.option("-o", "--output", metavar="FILE", help="Write into a file, which appears once it is whole.")
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    filters: tuple[str, ...],
    form: str,
    formulas: bool,
    columns: str | None,
    order_by: str | None,
    deleted: bool,
    output: str | None,
) -> None:
    """Write all files with their metadata as JSON lines or CSV.

    Filters select as in `mmmeta find`. Keys are flattened (publisher:name), values keep their types in JSON; local
    columns are included. It is UTF-8, whatever the terminal has. In CSV an apostrophe stands before text that a
    spreadsheet would take for a formula (=, +, -, @ at its beginning), unless --formulas is given.

    \b
    Examples:
      mmmeta dump > files.jsonl
      mmmeta dump --csv --columns content_hash,title,url -o files.csv
    """
    from mmmeta.filters import to_where

    where = to_where(read_filters(filters))
    keys = split_keys(columns)
    with find_target(ctx).open() as metadir, progress_bar() as progress:
        files = metadir.files
        metadir.require_files()
        require_keys(keys, files, "--columns")
        require_keys(split_keys(order_by), files, "--order-by")
        total = files.count(where, deleted=deleted)
        found = files.find(where, order_by=split_keys(order_by), deleted=deleted)
        if progress is not None:
            found = _counted(found, total, progress)
        with _opened(output) as stream:
            if form == "csv":
                _write_csv(stream, found, keys or files.columns, formulas=formulas)
            else:
                _write_json(stream, found, keys)


def _write_json(stream: SupportsWrite[str], files: Iterable[File], keys: Sequence[str]) -> None:
    from mmmeta.values import json_text

    for file in files:
        stream.write(harmless(json_text({key: file.get(key) for key in keys} if keys else dict(file))) + "\n")


def _write_csv(stream: SupportsWrite[str], files: Iterable[File], keys: Sequence[str], *, formulas: bool) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_cell(key, formulas=formulas) for key in keys])
    writer.writerows([_cell(file.get(key), formulas=formulas) for key in keys] for file in files)


def _cell(value: Any, *, formulas: bool) -> Any:
    """One value in CSV: nothing for null and for absent, JSON for what CSV has no form for."""
    if isinstance(value, str):
        return f"'{value}" if not formulas and _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value
    if value is None:
        return value
    from mmmeta.values import json_text

    return json_text(value)


def _counted(files: Iterable[File], total: int, progress: ProgressCallback) -> Iterator[File]:
    for number, file in enumerate(files, start=1):
        yield file
        if number % EVERY == 0:
            progress("writing", number, total)


@contextmanager
def _opened(output: str | None) -> Iterator[SupportsWrite[str]]:
    """In UTF-8, for programs: stdout whatever encoding it has, or a file that takes its name only when everything is in it."""
    if output is None:
        yield _Shown(sys.stdout) if sys.stdout.isatty() else codecs.getwriter("utf-8")(sys.stdout.buffer, UNENCODABLE)
        return
    path = Path(output)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors=UNENCODABLE, newline="") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Shown:
    """A terminal, on which nothing that is written steers it."""

    def __init__(self, stream: SupportsWrite[str]) -> None:
        self._stream = stream

    def write(self, text: str, /) -> object:
        return self._stream.write("\n".join(map(visible, text.split("\n"))))
