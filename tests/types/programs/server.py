# pyright: strict
"""What a server writes: the README's "at the server", typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from mmmeta import (
    Files,
    GenerateReport,
    Inspection,
    Metadir,
    MmmetaError,
    Problem,
    Publication,
    Store,
    __version__,
    mmmeta,
    read_publication,
)


def publish(base: Path, scraper: Iterable[Mapping[str, Any]]) -> int:
    with mmmeta(base) as m:
        assert_type(m, Metadir)
        assert_type(m.files, Files)
        for data in scraper:
            assert_type(m.files.upsert(data, ["content_hash"]), str)
        with m.bulk():
            m.files.insert(content_hash="a", pages=3)
            m.files.insert({"content_hash": "b", "publisher:name": "x"})
            m.files.insert_many([{"content_hash": "c"}])
            m.files.update({"content_hash": "c", "title": "C"}, ["content_hash"])
        assert_type(m.files.delete(content_hash="c"), bool)
        report = m.generate(ensure=True, progress=show)
        assert_type(report, GenerateReport)
        for problem in report.problems:
            assert_type(problem, Problem)
            print(problem.source, problem.words)
        keep(m.store)
        return report.added + report.changed


def keep(store: Store) -> None:
    store["new_files"] = 17
    store["local_seen"] = "2026-03-01"
    assert_type(store["new_files"], Any)
    assert_type(store.touch("my_ts_key"), datetime)
    assert_type(store.moment("remote_last_updated"), datetime | None)
    if store["remote_last_updated"] > store["local_last_updated"]:
        del store["new_files"]


def show(what: str, done: int, total: int | None) -> None:
    print(what, done, total)


def look(base: str) -> str:
    try:
        inspection = mmmeta(base).inspect()
        assert_type(inspection, Inspection)
        publication = read_publication("s3://bucket/archive", timeout=5)
        assert_type(publication, Publication)
        assert_type(publication.moment, datetime)
    except MmmetaError as error:
        return str(error)
    print(__version__)
    return publication.text
