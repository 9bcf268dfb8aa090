"""``table: archive.docs``: a schema's table, with all that belongs to it in the same schema; SQLite has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from archives import Archive
from databases import on_servers
from sql_target import identify_by_id, publish, query, tables_of

from mmmeta.errors import JobError, LoadError, TargetError
from mmmeta.target.target import SqlTarget
from mmmeta.target.view import view_table


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


@pytest.fixture
def server(url: str) -> str:
    """A database that has schemas, with one of them."""
    query(url, "DROP SCHEMA IF EXISTS archive" + (" CASCADE" if url.startswith("postgresql") else ""))
    query(url, "CREATE SCHEMA archive")
    return url


@on_servers
def test_a_table_in_a_schema(archive: Archive, server: str) -> None:
    """Rows, columns and receipts are there, nothing is beside it, and it is found again: by the next run and by a check."""
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    job = archive.client.job("import", load={"to": server, "table": "archive.docs"}, on_delete="action")
    assert job.run().done == 2
    assert sorted(query(server, "SELECT id, title FROM archive.docs")) == [("a", "A"), ("b", "B")]
    assert tables_of(server) == []
    publish(archive, {"a": {"title": "A2", "pages": 3}})
    assert job.run().done == 1
    assert len(query(server, "SELECT pages FROM archive.docs")) == 2
    assert (job.results().looked, job.results().missing) == (2, 0)
    archive.remove("b")
    archive.publish(ensure=True)
    archive.client.update()
    assert job.run().retracted == 1
    assert query(server, "SELECT id FROM archive.docs") == [("a",)]
    view = view_table(server, "archive.docs", count=True)
    assert view is not None
    assert view.rows == 1
    job.forget()
    assert job.adopt_present().adopted == 1


@on_servers
def test_a_table_of_that_name_in_two_schemas(archive: Archive, server: str) -> None:
    """They have nothing in common."""
    publish(archive, {"a": {"title": "A"}})
    query(server, "CREATE TABLE docs (id VARCHAR(20) PRIMARY KEY, other INTEGER)")
    for name, table in (("one", "archive.docs"), ("two", "docs")):
        assert archive.client.job(name, load={"to": server, "table": table}).run().done == 1
    assert query(server, "SELECT * FROM archive.docs") == [("a", "1", "A")] or len(query(server, "SELECT * FROM docs"))
    assert query(server, "SELECT other FROM docs") == [(None,)]


@on_servers
def test_a_schema_that_is_not_there_ends_the_run(archive: Archive, server: str) -> None:
    """It is no file's fault."""
    publish(archive, {"a": {}})
    job = archive.client.job("import", load={"to": server, "table": "nowhere.docs"})
    with pytest.raises(TargetError, match=r"(?s)table 'nowhere\.docs'.*nowhere"):
        job.run()
    assert (job.status().pending, job.status().failed) == (1, 0)


def test_sqlite_has_no_schemas(archive: Archive, tmp_path: Path) -> None:
    """Refused where the job is defined, with the hint; no table with a dot in its name appears."""
    url = f"sqlite:///{tmp_path}/t.db"
    for table in ("archive.docs", "main.docs"):
        with pytest.raises(JobError, match=r"SQLite has no schemas.*without a dot"):
            archive.client.job("import", load={"to": url, "table": table})
        with pytest.raises(LoadError, match="SQLite has no schemas"):
            SqlTarget(url, table, "id")
