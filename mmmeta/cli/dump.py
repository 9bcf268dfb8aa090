"""``mmmeta dump``: everything, for another program."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mmmeta.cli.options import order_by_option, read_filters, require_keys, settings_options, split_keys
from mmmeta.cli.out import opened_binary, opened_text, require_writable
from mmmeta.cli.output import harmless
from mmmeta.cli.progress import ProgressCallback, progress_bar
from mmmeta.cli.targets import find_target

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from mmmeta.files.file import File

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r]")
"""How text begins that a spreadsheet computes, and that may then send what is in the sheet elsewhere."""

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")

EVERY = 500
"""Files between two reports of progress."""

Row = Mapping[str, Any]


@click.command("dump")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Also where each document is and how far each job is with it.",
)
@click.option("--json", "plain", flag_value="jsonl", default=True, help="One JSON object a line (the default).")
@click.option("--csv", "plain", flag_value="csv", help="CSV with a line of names; lists and objects as JSON.")
@click.option("--formulas", is_flag=True, help="CSV: leave text that a spreadsheet takes for a formula as it is.")
@click.option("--columns", metavar="KEYS", help="Only these keys, separated by commas, in this order.")
@order_by_option
@click.option("--deleted", is_flag=True, help="Write the files that are marked deleted instead.")
@click.option(
    "-o", "--out", "--output", "output", metavar="FILE", help="Write into a file, which appears once it is whole."
)
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    filters: tuple[str, ...],
    form: str | None,
    plain: str,
    formulas: bool,
    columns: str | None,
    order_by: str | None,
    deleted: bool,
    output: str | None,
) -> None:
    """Write all files with their metadata as JSON lines, CSV or Parquet.

    Filters select as in `mmmeta find`. Keys are flattened (publisher:name), values keep their types in JSON and in
    Parquet; local columns are included. It is UTF-8, whatever the terminal has. In CSV an apostrophe stands before text
    that a spreadsheet would take for a formula (=, +, -, @ at its beginning), unless --formulas is given.

    With --format there are also __path, where the document is on this machine, and __job:NAME, the status that each job
    has for the file (pending, claimed, done, failed, postponed, dead, skipped; nothing where the job does not mean it).

    \b
    Examples:
      mmmeta dump > files.jsonl
      mmmeta dump --csv --columns content_hash,title,url -o files.csv
      mmmeta dump --format parquet --out files.parquet
    """
    from mmmeta.cli.parquet import Kinds, require_pyarrow, write_parquet
    from mmmeta.filters import to_where
    from mmmeta.jobs.beside import Beside

    if form is not None and ctx.get_parameter_source("plain") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--format says the form already: leave --json and --csv out.")
    if form == "parquet":
        require_pyarrow()
    where = to_where(read_filters(filters))
    keys = split_keys(columns)
    target = find_target(ctx)
    with target.open() as metadir, progress_bar() as progress:
        require_writable(output, metadir)
        files = metadir.files
        metadir.require_files()
        require_keys(split_keys(order_by), files, "--order-by")
        total = files.count(where, deleted=deleted)

        def found(what: str = "writing") -> Iterator[File]:
            matching = files.find(where, order_by=split_keys(order_by), deleted=deleted)
            return matching if progress is None else _counted(matching, total, progress, what)

        with closing(Beside(metadir.layout, metadir.config, target.jobs)) as beside:
            # Plain metadata is to be had also while the ledger is out of reach.
            columns_beside = beside.columns if form is not None or any(key.startswith("__") for key in keys) else []
            require_keys(keys, files, "--columns", columns_beside)
            wanted = keys or [*files.columns, *(columns_beside if form is not None else ())]
            with_beside = not set(columns_beside).isdisjoint(wanted)

            def rows() -> Iterator[Row]:
                for file, more in beside.rows(found()) if with_beside else ((file, {}) for file in found()):
                    yield {key: file.get(key) for key in keys if key not in more} | more if keys else {**file, **more}

            if form == "parquet":
                kinds = Kinds(wanted)
                for file in found("looking at types"):
                    kinds.learn({key: file.get(key) for key in keys} if keys else file)
                with opened_binary(output) as stream:
                    write_parquet(stream, rows(), wanted, kinds)
                return
            write: Callable[[SupportsWrite[str], Iterable[Row], Sequence[str]], None] = _write_json
            if (form or plain) == "csv":
                write = _write_formulas if formulas else _write_csv
            elif not keys:
                wanted = []
            with opened_text(output) as text:
                write(text, rows(), wanted)


def _write_json(stream: SupportsWrite[str], rows: Iterable[Row], keys: Sequence[str]) -> None:
    from mmmeta.values import json_text

    for row in rows:
        stream.write(harmless(json_text({key: row.get(key) for key in keys} if keys else dict(row))) + "\n")


def _write_csv(stream: SupportsWrite[str], rows: Iterable[Row], keys: Sequence[str], *, formulas: bool = False) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_cell(key, formulas=formulas) for key in keys])
    writer.writerows([_cell(row.get(key), formulas=formulas) for key in keys] for row in rows)


def _write_formulas(stream: SupportsWrite[str], rows: Iterable[Row], keys: Sequence[str]) -> None:
    _write_csv(stream, rows, keys, formulas=True)


def _cell(value: Any, *, formulas: bool) -> Any:
    """One value in CSV: nothing for null and for absent, JSON for what CSV has no form for."""
    if isinstance(value, str):
        return f"'{value}" if not formulas and _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value
    if value is None:
        return value
    from mmmeta.values import json_text

    return json_text(value)


def _counted(files: Iterable[File], total: int, progress: ProgressCallback, what: str) -> Iterator[File]:
    for number, file in enumerate(files, start=1):
        yield file
        if number % EVERY == 0:
            progress(what, number, total)
