"""A table that does not fit a job ends the run, with nobody's attempts used up; what one row is the reason of stays with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from databases import on_postgresql, on_servers
from sql_target import identify_by_id, publish, query

from mmmeta import Job, Metadir
from mmmeta.errors import TargetError


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


def load(archive: Archive, url: str, **options: Any) -> Job:
    return archive.client.job("import", load={"to": url, "table": "documents", **options}, attempts=1)


def assert_run_ends(job: Job, count: int, *words: str) -> None:
    """It says where and why; no file failed, none has used up an attempt, and all are pending."""
    with pytest.raises(TargetError) as caught:
        job.run()
    for word in ("table 'documents'", *words):
        assert word in str(caught.value), str(caught.value)
    assert (job.status().pending, job.status().failed, job.status().dead, job.status().claimed) == (count, 0, 0, 0)
    assert {entry.attempts for entry in job.files("pending")} == {0}


def by(archive: Archive, tmp_path: Path, unique: str) -> Archive:
    """The same documents in an archive whose files are identified by something else."""
    other = Archive(tmp_path / f"by {unique}")
    other.server.layout.config.parent.mkdir(parents=True)
    other.server.layout.config.write_text(f"metadata:\n  unique: {unique}\n")
    return other


@pytest.mark.parametrize("columns", [None, ["title"]])
@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_a_changed_unique_key_meets_the_old_table(
    archive: Archive, url: str, tmp_path: Path, columns: Any, mode: str
) -> None:
    """The old rows lack the new key, and their primary key would refuse every new one."""
    publish(archive, {f"d{number}": {"title": "T"} for number in range(30)})
    assert load(archive, url, columns=columns).run().done == 30
    other = by(archive, tmp_path, "foreign_id")
    for number in range(30):
        other.write(f"d{number}", {"id": f"d{number}", "foreign_id": f"f{number}", "title": "T"})
    other.deliver()
    job = load(other, url, columns=columns, mode=mode)
    assert_run_ends(job, 30, "by 'id'", "'foreign_id'", "another table")
    assert len(query(url, "SELECT id FROM documents")) == 30
    query(url, "DROP TABLE documents")
    assert job.run().done == 30
    other.close()


def test_a_changed_unique_key_that_new_files_lack(archive: Archive, url: str, tmp_path: Path) -> None:
    """All old rows have the new key, but the table wants the old one of all rows."""
    publish(archive, {"a": {"url": "u1"}})
    assert load(archive, url).run().done == 1
    other = by(archive, tmp_path, "url")
    other.write("a", {"id": "a", "url": "u1"})
    other.write("b", {"url": "u2"})
    other.deliver()
    assert_run_ends(load(other, url), 2, "files without 'id'")
    other.write("b", {"id": "b", "url": "u2"})
    other.deliver()
    assert load(other, url).run().done == 2
    other.close()


def test_a_changed_unique_key_whose_old_one_files_share(archive: Archive, url: str, tmp_path: Path) -> None:
    """All rows and files have both keys, but the table still takes one row only for each value of the old one."""
    publish(archive, {"a": {"url": "u1"}, "b": {"url": "u2"}})
    assert load(archive, url).run().done == 2
    other = by(archive, tmp_path, "url")
    for number, name in enumerate(("a", "b", "b", "c"), 1):
        other.write(f"f{number}", {"id": name, "url": f"u{number}"})
    other.deliver()
    job = load(other, url)
    assert_run_ends(job, 4, "by 'id'", "identified by 'url'", "'u2' and 'u3' have the same 'id'", "another table")
    assert sorted(query(url, "SELECT id, url FROM documents")) == [("a", "u1"), ("b", "u2")]
    query(url, "DROP TABLE documents")
    assert job.run().done == 4
    other.close()


def test_a_column_that_nobody_fills(archive: Archive, url: str) -> None:
    """NOT NULL without a default; with one, or filled by a key, it is fine."""
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, batch VARCHAR(20) NOT NULL)")
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    assert_run_ends(load(archive, url), 2, "'batch' must not be NULL")
    query(url, "DROP TABLE documents")
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, batch VARCHAR(20) DEFAULT 'x' NOT NULL)")
    assert load(archive, url).run().done == 2
    query(url, "DROP TABLE documents")
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, batch VARCHAR(20) NOT NULL)")
    job = load(archive, url, columns=[{"batch": "title"}])
    job.forget()
    assert job.run().done == 2


def test_a_number_that_the_database_gives(archive: Archive, url: str) -> None:
    """A primary key of the table's own that fills itself."""
    kind = {"s": "INTEGER PRIMARY KEY", "p": "SERIAL PRIMARY KEY", "m": "INTEGER PRIMARY KEY AUTO_INCREMENT"}[url[0]]
    query(url, f"CREATE TABLE documents (number {kind}, id VARCHAR(20) NOT NULL UNIQUE)")
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    assert load(archive, url).run().done == 2
    assert sorted(query(url, "SELECT number, id FROM documents")) == [(1, "a"), (2, "b")]


@on_servers  # SQLite takes no such column
def test_a_column_that_comes_to_be_demanded(archive: Archive, url: str) -> None:
    """By somebody's ALTER TABLE, between two runs."""
    publish(archive, {"a": {"title": "A"}})
    assert load(archive, url).run().done == 1
    query(url, "DELETE FROM documents")
    query(url, "ALTER TABLE documents ADD COLUMN batch VARCHAR(20) NOT NULL")
    publish(archive, {"b": {"title": "B"}})
    assert_run_ends(load(archive, url), 1, "'batch' must not be NULL")


@pytest.mark.parametrize("column", ["title", "id"])
def test_a_generated_column(archive: Archive, url: str, column: str) -> None:
    """It takes nobody's values; renamed, the key has a column of its own."""
    other = "title" if column == "id" else "id"
    query(
        url,
        f"CREATE TABLE documents ({other} VARCHAR(20), x VARCHAR(20), {column} VARCHAR(20) GENERATED ALWAYS AS (x) STORED)",
    )
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    assert_run_ends(load(archive, url), 2, f"'{column}' is generated")
    if column == "title":
        assert load(archive, url, columns=[{"headline": "title"}]).run().done == 2


@on_servers  # SQLite takes any value
@pytest.mark.parametrize(
    ("kind", "value"), [("INTEGER", "word"), ("DOUBLE PRECISION", "word"), ("VARCHAR(3)", "longer")]
)
def test_a_column_that_takes_none_of_the_values(archive: Archive, url: str, kind: str, value: str) -> None:
    """None of several: it is the column; one of several: it is the row."""
    query(url, f"CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, title {kind})")
    publish(archive, {name: {"title": value} for name in "abc"})
    assert_run_ends(load(archive, url), 3, "'title'", "another table")
    publish(archive, {"d": {"title": "12"}})
    report = load(archive, url).run()
    assert (report.done, {failure.file for failure in report.failures}) == (1, {"a", "b", "c"})


def test_a_strict_table_of_sqlite(archive: Archive, tmp_path: Path) -> None:
    """Has types that count."""
    url = f"sqlite:///{tmp_path}/t.db"
    query(url, "CREATE TABLE documents (id TEXT PRIMARY KEY, title INTEGER) STRICT")
    publish(archive, {name: {"title": "word"} for name in "abc"})
    assert_run_ends(load(archive, url), 3, "'title' is INTEGER")


def test_a_view(archive: Archive, url: str) -> None:
    """Also one that the database would write through."""
    query(url, "CREATE TABLE behind (id VARCHAR(20) PRIMARY KEY, title VARCHAR(20))")
    query(url, "CREATE VIEW documents AS SELECT * FROM behind")
    publish(archive, {"a": {"title": "A"}})
    assert_run_ends(load(archive, url), 1, "is a view")
    query(url, "DROP VIEW documents")


@on_postgresql
def test_missing_privileges(archive: Archive, url: str) -> None:
    """Of a table, and of making one."""
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, title VARCHAR(20))")
    query(url, "DROP ROLE IF EXISTS reader")
    query(url, "CREATE ROLE reader LOGIN")
    query(url, "GRANT USAGE ON SCHEMA public TO reader")
    query(url, "GRANT SELECT ON documents TO reader")
    publish(archive, {"a": {"title": "A"}})
    assert_run_ends(load(archive, url.replace("://test@", "://reader@")), 1, "permission denied")


def test_a_key_that_collides_is_its_rows_failure(archive: Archive, url: str) -> None:
    """Somebody's other unique column refuses one row, and the others are in."""
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, title VARCHAR(20) UNIQUE)")
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}, "c": {"title": "A"}})
    report = load(archive, url).run()
    assert (report.done, len(report.failures)) == (2, 1)


def test_one_metadir_is_enough(tmp_path: Path, url: str) -> None:
    """The case as it is met: config.yml says another `unique`, and the metadata db is made anew."""
    archive = Archive(tmp_path / "one")
    for number in range(20):
        archive.write(f"d{number}", {"title": "T"})
    archive.deliver()
    job = load(archive, url, columns=["title"])
    assert job.run().done == 20
    archive.server.close()
    archive.server.layout.config.write_text("metadata:\n  unique: foreign_id\n")
    with Metadir(archive.server_path) as server:
        for number in range(20):
            archive.write(f"d{number}", {"title": "T", "foreign_id": f"f{number}"})
        server.generate(replace=True, allow_mass_delete=True)
    other = tmp_path / "client of the new one"
    other.mkdir()
    archive.client_path = other
    archive.client.close()
    archive.client = Metadir(other)
    archive.sync()
    archive.client.update()
    assert_run_ends(load(archive, url, columns=["title"]), 20, "by 'content_hash'")
    archive.close()
