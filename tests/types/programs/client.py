# pyright: strict
"""What a client reads and does: loops over files, filters, jobs with the runner and with a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

from typing_extensions import assert_type

from mmmeta import (
    Failure,
    File,
    Files,
    Job,
    JobStatus,
    Plan,
    RunReport,
    Status,
    UpdateReport,
    mmmeta,
    read_status,
)


def read() -> None:
    m = mmmeta("./client", state="./state.db")
    report = m.update()
    assert_type(report, UpdateReport)
    assert_type(report.added, int)

    for file in m.files(document_type="contract"):
        assert_type(file, File)
        assert_type(file["public_url"], Any)
        assert_type(file.get("pages", 0), Any)
        assert_type(file.remote.url, str)
        assert_type(file.unique_value, str)
        assert_type(file.deleted, bool)
        assert_type(file.meta, MappingProxyType[str, Any])
    found = m.files.find({"publisher:name": ["a", "b"]}, retrieved_at={">=": date(2021, 5, 20)}, imported=False)
    assert_type(found, Iterator[File])
    for file in found:
        file["imported"] = True
        file["review"] = {"by": "Ada"}
        file.save()
    one = m.files.find_one(title="x", order_by="-retrieved_at")
    assert_type(one, File | None)
    if one is not None:
        title: str = one["title"]
        print(title, "pages" in one, dict(one), len(one))
    assert_type(m.files.get("abc"), File | None)
    assert_type(m.files.count(imported=True), int)
    assert_type(list(m.files), list[File])
    assert_type(len(m.files), int)
    assert_type(m.files.columns, list[str])
    for row in m.files.distinct("publisher:name", _limit=10):
        assert_type(row, dict[str, Any])
    m.close()


def work(files: Files) -> None:
    m = mmmeta("./client")
    job = m.job("import", where={"document_type": "contract"}, attempts=3, backoff="5m", limit={"files": 10})
    assert_type(job, Job)
    assert_type(job.plan(), Plan)
    assert_type(job.status(), JobStatus)
    report = job.run(process, limit=100, stop=lambda: False)
    assert_type(report, RunReport)
    for failure in report.failures:
        assert_type(failure, Failure)
    report.raise_for_failures()
    job.run(process_batch, batch=True)

    assert_type(job.claim(), list[File])
    while claimed := job.claim(10):
        for file in claimed:
            try:
                process(file)
            except OSError as error:
                job.failed(file, error)
            else:
                assert_type(job.done(file, bytes=100), list[str])
    with job.one() as maybe:
        assert_type(maybe, File | None)
    with job.several(10) as batch:
        assert_type(batch, list[File])
        job.release(*batch)
    job.retry(dead=True)
    m.job("fetch", where={}, download={"to": "./downloads", "name": "{_file_name}"}, order_by="-size").run()
    m.job("table", load={"to": "sqlite:///documents.db", "table": "documents"}, rerun_on=["title"]).run()

    status = m.status()
    assert_type(status, Status)
    assert_type(status.jobs, dict[str, JobStatus])
    assert_type(read_status("./client/_mmmeta/local/status.json"), Status | None)
    print(timedelta(seconds=report.duration), files.count())


def process(file: File) -> None:
    claim = file.claim
    if claim is not None:
        print(claim.job, claim.attempt, claim.retract)


def process_batch(files: list[File]) -> int:
    return len(files)
