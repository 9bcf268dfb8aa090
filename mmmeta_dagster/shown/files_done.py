"""Which files a run did, as a table for the UI, with links to their documents where these are on the web."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from mmmeta import File, Metadir
from mmmeta.errors import MmmetaError
from mmmeta.filters import format_size
from mmmeta.jobs.job import Job
from mmmeta_dagster.shown.markdown import ROWS, Link, table

HEAD = ("file", "name", "now", "size")


def links_of(metadir: Metadir, files: Iterable[str]) -> dict[str, Link]:
    """Unique value → itself, leading to the document where metadata or config.yml know a web address of it."""
    wanted = list(dict.fromkeys(files))[:ROWS]
    found = metadir.files.get_many(wanted) if wanted else {}
    return {name: Link(name, _url(file)) for name, file in found.items()}


def table_of_run(metadir: Metadir, job: Job, run_id: str, total: int, see_more: str) -> dg.MarkdownMetadataValue | None:
    """The last files of a run, by the ledger; None where it did none. There are ``total``, which the command ``see_more``
    lists."""
    attempts = job.history(run_id=run_id, limit=ROWS)
    if not attempts:
        return None
    files = metadir.files.get_many([attempt.file for attempt in attempts])
    rows = []
    for attempt in attempts:
        file = files.get(attempt.file)
        size = "" if attempt.bytes is None else format_size(attempt.bytes)
        name = "" if file is None else file.get(metadir.config.metadata.file_name) or ""
        rows.append((Link(attempt.file, _url(file)), name, attempt.status, size))
    return table(HEAD, rows, total, see_more)


def linked(links: Mapping[str, Link] | None, file: str) -> Link | str:
    """The link of a file, its name where it has none."""
    return file if links is None else links.get(file, file)


def _url(file: File | None) -> str | None:
    """Where the document is on the web: what config.yml's template ``url`` says, else the metadata's ``public_url``."""
    if file is None:
        return None
    if "url" in file.remote:
        try:
            return file.remote["url"]
        except MmmetaError:
            pass  # this file lacks something that the template needs
    public = file.get("public_url")
    return public.strip() if isinstance(public, str) else None
