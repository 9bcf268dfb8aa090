"""``mmmeta jobs adopt``: takes for done what somebody did before the job was there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import JobName, check_files, find_job
from mmmeta.cli.options import dry_run_option, json_option, read_filters, settings_options
from mmmeta.cli.output import counts_text, echo_report, files_text, note, say
from mmmeta.errors import JobError

if TYPE_CHECKING:
    from mmmeta.jobs.adoption import Adoption
    from mmmeta.jobs.job import Job


@click.command("adopt")
@click.argument("job")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--where", "filters", multiple=True, metavar="FILTER", help="Files that a filter of `mmmeta find` selects."
)
@click.option("--present", is_flag=True, help="Files that are where the job puts them: in its table, in its folder.")
@click.option("--elsewhere", is_flag=True, help="What is done elsewhere than where the job points now, as it is.")
@click.option("--column", metavar="[TABLE.]COLUMN", help="Files whose unique value is in a column of the SQL database.")
@click.option("--query", metavar="SQL", help="Files whose unique value is in the first column of a query.")
@click.option("--database", metavar="URL", help="The database of --column and --query, unless it is the job's own.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    job: str,
    files: tuple[str, ...],
    filters: tuple[str, ...],
    present: bool,
    elsewhere: bool,
    column: str | None,
    query: str | None,
    database: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take files for done, because somebody did them before the job was there.

    So a switch to mmmeta does not do everything again. Nothing is processed; later versions of the files come as those
    of any other. Say in one way which files these are: by their unique values, by filters (which must all hold), by
    what is in the job's target already, or by a column or a query of an SQL database. With --elsewhere nothing is said any
    more of what was done before `to:`, `table:` or `name:` was changed.

    \b
    Examples:
      mmmeta jobs adopt import_recent --where imported=true --dry-run
      mmmeta jobs adopt download_contracts --present
      mmmeta jobs adopt import_recent --column old_documents.sha1
      mmmeta jobs adopt extract --database sqlite:///texts.db \\
        --query 'SELECT hash FROM texts WHERE body IS NOT NULL'

    \b
    --json: {metadir, path, job, named, adopted, already_done, claimed,
      not_selected, unknown, unknown_names, dry_run}
    """
    ways = {
        "FILE": files,
        "--where": filters,
        "--present": present,
        "--elsewhere": elsewhere,
        "--column": column,
        "--query": query,
    }
    given = [way for way, value in ways.items() if value]
    if len(given) != 1:
        wrong = f", not {' and '.join(given)}" if given else ""
        raise click.UsageError(f"Say in one way which files: {', '.join(list(ways)[:-1])} or --query{wrong}.")
    if database is not None and given[0] not in ("--column", "--query"):
        raise click.UsageError("--database goes with --column or --query.")
    from mmmeta.jobs.adoption import Adoption

    condition = read_filters(filters)
    name = find_job(ctx, job)
    with name.target.open() as metadir:
        metadir.require_state()
        found = name.find_in(metadir)
        if filters:
            from mmmeta.filters import to_where

            adoption = found.adopt(where=to_where(condition), dry_run=dry_run)
        elif present:
            adoption = found.adopt_present(dry_run=dry_run)
        elif elsewhere:
            count = found.adopt_elsewhere(dry_run=dry_run)
            adoption = Adoption(count, count, 0, 0, 0, 0, ())
        else:
            check_files(found, files)
            adoption = found.adopt(list(files) or _from_sql(found, column, query, database), dry_run=dry_run)
    if as_json:
        echo_report(name.target, adoption, job=name.name, dry_run=dry_run)
    else:
        _tell(name, adoption, dry_run)


def _from_sql(job: Job, column: str | None, query: str | None, database: str | None) -> list[str]:
    """Unique values out of the job's own database, or another."""
    from mmmeta.target.elsewhere import from_column, from_query

    load = job.config.load
    url = database if database is not None else load.to if load is not None else None
    if url is None:
        raise JobError(f"job {job.name!r} loads into no database: name one with --database")
    if query is not None:
        return from_query(url, query)
    table, _, name = (column or "").rpartition(".")
    if not table:
        if load is None:
            raise JobError(f"job {job.name!r} loads into no table: write --column TABLE.COLUMN")
        table = load.table
    return from_column(url, table, name)


def _tell(name: JobName, adoption: Adoption, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    sentence = f"{name.full}: {files_text(adoption.adopted)} {would}adopted, {adoption.named:,} named"
    others = counts_text(
        {
            "done before": adoption.already_done,
            "not selected": adoption.not_selected,
            "in a worker's hands": adoption.claimed,
            "not known here": adoption.unknown,
        }
    )
    say(f"{sentence}; of the others: {others}" if others else sentence)
    if adoption.unknown_names:
        cut = adoption.unknown > len(adoption.unknown_names)
        note(f"  not known here: {', '.join((*adoption.unknown_names, *(['…'] if cut else [])))}")
