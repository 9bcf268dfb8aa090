"""Files as the UI names them, by title and name, with links to their documents where these are on the web; and which ones a
run did, as a table."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from mmmeta import File, Metadir
from mmmeta.errors import MmmetaError
from mmmeta.filters import format_size
from mmmeta.jobs.job import Job
from mmmeta_dagster.shown.markdown import ROWS, Link, short_digests, table

HEAD = ("file", "now", "size")

TITLE = 90
"""Letters of a title; those of parliamentary papers are whole sentences."""


def links_of(metadir: Metadir, files: Iterable[str]) -> dict[str, Link]:
    """Unique value → what the file is called, leading to the document where metadata or config.yml know a web address of
    it; the first ``ROWS`` files."""
    wanted = list(dict.fromkeys(files))[:ROWS]
    found = metadir.files.get_many(wanted) if wanted else {}
    return {name: _link(metadir, name, found.get(name)) for name in wanted}


def table_of_run(
    metadir: Metadir, job: Job, run_id: str | None, total: int, see_more: str
) -> dg.MarkdownMetadataValue | None:
    """The last files of a run, by the ledger, or without one of all runs; None where it did none. There are ``total``, which
    the command ``see_more`` lists."""
    attempts = job.history(run_id=run_id, limit=ROWS if run_id is not None else min(ROWS, total))
    if not attempts:
        return None
    links = links_of(metadir, (attempt.file for attempt in attempts))
    rows = [
        (links[attempt.file], attempt.status, "" if attempt.bytes is None else format_size(attempt.bytes))
        for attempt in attempts
    ]
    return table(HEAD, rows, total, see_more)


def _link(metadir: Metadir, unique: str, file: File | None) -> Link:
    """What a person calls a file: its title and its name. A digest is no name: only where there is nothing else, it is told
    by how it begins."""
    values = () if file is None else (file.get("title"), file.get(metadir.config.metadata.file_name))
    title, name = (*(" ".join(str(value or "").split()) for value in values), "", "")[:2]
    title = title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
    readable = next((text for text in (name, unique) if text and short_digests(text) == text), "")
    if title:
        text = title if readable in ("", title) else f"{title} ({readable})"
    else:
        text = readable or short_digests(name or unique)
    return Link(text, _url(file))


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
