"""Targets that are locked, full, read-only, broken or picky: what is written is whole, what is not comes again."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from sql_target import identify_by_id, publish, query
from sqlalchemy import event

from mmmeta import Job
from mmmeta.errors import TargetError
from mmmeta.jobs.actions.load import Load


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


def load(archive: Archive, url: str, **options: Any) -> Job:
    return archive.client.job("import", load={"to": url, "table": "documents", **options}, batch_size=1000)


def assert_run_ends(job: Job, count: int, *words: str) -> None:
    """It says where and why; no file failed, none has used up an attempt, and all are pending."""
    with pytest.raises(TargetError) as caught:
        job.run()
    for word in ("table 'documents'", *words):
        assert word in str(caught.value)
    assert (job.status().pending, job.status().failed, job.status().claimed) == (count, 0, 0)
    assert {entry.attempts for entry in job.files("pending")} == {0}


def test_a_locked_table(archive: Archive, tmp_path: Path) -> None:
    """Held longer than the URL says to wait for: nothing is written, and the next attempt writes all."""
    publish(archive, {name: {} for name in "abc"})
    url = f"sqlite:///{tmp_path}/t.db?timeout=0.2"
    holder = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    job = load(archive, url)
    assert_run_ends(job, 3, "t.db", "database is locked")
    holder.execute("ROLLBACK")
    holder.close()
    assert job.run().done == 3
    assert query(url, "SELECT count(*) FROM documents") == [(3,)]


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_one_row_of_a_thousand(archive: Archive, url: str, mode: str) -> None:
    """The target refuses one: 999 go in, that one fails with the target's own words, and goes in when it is mended."""
    query(url, "CREATE TABLE documents (id VARCHAR(20), pages INTEGER, CONSTRAINT sane CHECK (pages <> 500))")
    publish(archive, {f"{number:04}": {"pages": number} for number in range(1000)})
    job = load(archive, url, mode=mode)
    report = job.run()
    assert (report.done, report.failed) == (999, 1)
    assert report.failures[0].file == "0500"
    assert "sane" in report.failures[0].message
    assert query(url, "SELECT count(*), count(DISTINCT id) FROM documents") == [(999, 999)]
    publish(archive, {"0500": {"pages": 501, "content_hash": "2"}})
    assert job.run().done == 1
    assert query(url, "SELECT count(*), count(DISTINCT id) FROM documents") == [(1000, 1000)]


def test_a_full_disk(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in clear words; of the batch that did not fit nothing is there, neither rows nor receipts."""
    url = f"sqlite:///{tmp_path}/t.db"
    publish(archive, {"small": {}})
    job = load(archive, url)
    assert job.run().done == 1
    publish(archive, {f"{number:03}": {"text": "x" * 1000} for number in range(100)})
    original = Load.__init__

    def limited(self: Load, *arguments: Any) -> None:
        original(self, *arguments)

        def limit(connection: sqlite3.Connection, record: object) -> None:
            connection.execute("PRAGMA max_page_count = 20").fetchall()

        event.listen(self._target._engine, "connect", limit)

    with monkeypatch.context() as patch:
        patch.setattr(Load, "__init__", limited)
        assert_run_ends(job, 100, "t.db", "database or disk is full")
    assert query(url, "SELECT id FROM documents") == query(url, "SELECT file FROM _mmmeta_receipts") == [("small",)]
    assert query(url, "PRAGMA integrity_check") == [("ok",)]
    assert job.run().done == 100


def test_a_read_only_target(archive: Archive, tmp_path: Path) -> None:
    """Whether by its URL or by what the database says."""
    publish(archive, {"a": {}})
    query(f"sqlite:///{tmp_path}/t.db", "CREATE TABLE documents (id)")
    url = f"sqlite:///file:{tmp_path}/t.db?mode=ro&uri=true"
    assert_run_ends(load(archive, url), 1, "t.db", "attempt to write a readonly database")
    assert query(f"sqlite:///{tmp_path}/t.db", "SELECT * FROM documents") == []


def test_a_file_that_is_no_database(archive: Archive, tmp_path: Path) -> None:
    """It is left as it is."""
    (tmp_path / "t.db").write_text("somebody's notes " * 1000)
    publish(archive, {"a": {}})
    assert_run_ends(load(archive, f"sqlite:///{tmp_path}/t.db"), 1, "t.db", "file is not a database")
    assert (tmp_path / "t.db").read_text() == "somebody's notes " * 1000


def test_a_view_in_the_place_of_the_table(archive: Archive, tmp_path: Path) -> None:
    """Nothing can be written into it, and that is what the message says."""
    url = f"sqlite:///{tmp_path}/t.db"
    query(url, "CREATE VIEW documents AS SELECT 'a' AS id")
    publish(archive, {"a": {}})
    assert_run_ends(load(archive, url), 1, "t.db", "view")


def test_columns_of_other_types(archive: Archive, url: str) -> None:
    """A table that somebody made keeps its types: what the database can take goes in, what it cannot fails alone."""
    strict = " STRICT" if url.startswith("sqlite") else ""
    text = "VARCHAR(100)" if "pymysql" in url else "TEXT"
    query(url, f"CREATE TABLE documents (id {text} PRIMARY KEY, pages INTEGER, day TEXT NOT NULL){strict}")
    publish(
        archive,
        {
            "good": {"pages": 3, "day": "2026-01-01", "new": [1]},
            "word": {"pages": "three", "day": "2026-01-01"},
            "list": {"pages": [3], "day": "2026-01-01"},
            "null": {"pages": 3},
        },
    )
    report = load(archive, url).run()
    assert (report.done, {failure.file for failure in report.failures}) == (1, {"word", "list", "null"})
    reasons = {failure.file: failure.message for failure in report.failures}
    assert "day" in reasons["null"]
    assert all("INTEGER" in reasons[name] or "integer" in reasons[name] for name in ("word", "list"))
    assert query(url, "SELECT id, pages, day, new FROM documents") == [("good", 3, "2026-01-01", "[1]")]


def test_a_unique_key_of_another_type(archive: Archive, url: str) -> None:
    """Numbers in the place of texts: those that are numbers go in, the others fail alone."""
    strict = " STRICT" if url.startswith("sqlite") else ""
    query(url, f"CREATE TABLE documents (id INTEGER PRIMARY KEY, pages INTEGER){strict}")
    publish(archive, {"1": {"pages": 1}, "x": {"pages": 2}})
    report = load(archive, url).run()
    assert (report.done, [failure.file for failure in report.failures]) == (1, ["x"])
    assert query(url, "SELECT id, pages FROM documents") == [(1, 1)]


def test_a_column_that_another_type_has_come_to(archive: Archive, url: str) -> None:
    """Chosen columns, filled over time with whatever comes: nothing is lost."""
    job = load(archive, url, columns=["value"])
    values: list[Any] = [None, 1, "0012", 1.5, True, None]
    for number, value in enumerate(values):
        publish(archive, {"a": {"value": value, "content_hash": str(number)}, f"b{number}": {"value": value}})
        assert job.run().failed == 0
    rows = dict(query(url, "SELECT id, value FROM documents"))
    assert rows.pop("a") is None
    assert [rows[f"b{number}"] for number in (0, 2, 5)] == [None, "0012", None]
    assert [str(rows[f"b{number}"]).lower() for number in (1, 3)] == ["1", "1.5"]


def test_a_database_that_cannot_be_reached(archive: Archive) -> None:
    """Nobody answers at its port: the run ends at once."""
    pytest.importorskip("psycopg")
    publish(archive, {name: {} for name in "abc"})
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://x:secret@127.0.0.1:{nobody.getsockname()[1]}/y"
        assert_run_ends(load(archive, url), 3, "127.0.0.1")


def test_columns_that_do_not_fit(archive: Archive, tmp_path: Path) -> None:
    """What one file may be the reason of, such as more columns than SQLite has, is its batch's failure and ends no run."""
    publish(archive, {"a": {f"key{number}": 1 for number in range(3000)}})
    report = load(archive, f"sqlite:///{tmp_path}/t.db").run()
    assert report.done + report.failed == 1
