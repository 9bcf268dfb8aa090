"""Where a SQL target is: its URL, its table, its folder; locked, broken, or of another make."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sql_target import query, quoted, write

from mmmeta.errors import LoadError, MmmetaError
from mmmeta.project.job import job_config
from mmmeta.target.target import SqlTarget, Written


def test_a_locked_database_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written; the file is not to blame."""
    monkeypatch.setattr("mmmeta.target.engine.LOCK_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path}/target.db"
    with SqlTarget(url, "documents", "content_hash") as target:
        write(target, ("a", {"v": 1}, 1))
        connection = sqlite3.connect(tmp_path / "target.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LoadError, match=r"target\.db, table 'documents': database is locked"):
            write(target, ("a", {"v": 2}, 2))
        connection.execute("ROLLBACK")
        connection.close()
        assert Written(1) == write(target, ("a", {"v": 2}, 2))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "cannot be opened"),
        ("nodialect://user:secret@host/db", "cannot be opened"),
        ("postgresql+nodriver://user:secret@host/db", "cannot be opened"),
        ("sqlite:////proc/nowhere/x.db", "cannot be opened"),
    ],
)
def test_a_url_that_cannot_be_opened(url: str, reason: str) -> None:
    """One clear error without the password."""
    with pytest.raises(LoadError, match=reason) as caught:
        SqlTarget(url, "documents", "content_hash")
    assert "secret" not in str(caught.value)


def test_a_target_that_is_not_a_database(tmp_path: Path) -> None:
    """Named, and left alone."""
    (tmp_path / "target.db").write_text("not a database, but long enough to be looked at" * 100)
    with (
        SqlTarget(f"sqlite:///{tmp_path}/target.db", "documents", "content_hash") as target,
        pytest.raises(LoadError, match="not a database"),
    ):
        write(target, ("a", {"v": 1}, 1))
    assert (tmp_path / "target.db").read_text().startswith("not a database")


@pytest.mark.parametrize(
    "table",
    [
        "",
        " ",
        "_mmmeta_receipts",
        "_MMMETA_x",
        "sqlite_master",
        "a\0b",
        "a\nb",
        "x" * 64,
        "ä" * 32,
        "%(x)s",
        ".a",
        "a.",
        "a..b",
        "a.b.c",
        "s._mmmeta_columns",
    ],
)
def test_names_of_tables(table: str, tmp_path: Path) -> None:
    """Neither ours nor the database's, and nothing that a database would cut."""
    with pytest.raises(LoadError, match="name of a table"):
        SqlTarget(f"sqlite:///{tmp_path}/target.db", table, "content_hash")


def test_odd_names_of_tables(url: str) -> None:
    """A table's name is taken literally, but for a dot."""
    for table in ('my "documents"', "it's `so`", "a:b", "select", "100% ä", "user", "x" * 63):
        with SqlTarget(url, table, "content_hash") as target:
            assert Written(1) == write(target, (table, {"v": 1}, 1))
        assert [str(v) for (v,) in query(url, f"SELECT v FROM {quoted(url, table)}")] == ["1"]


def test_the_folder_of_a_sqlite_target_is_made(tmp_path: Path) -> None:
    """As a person expects of a file that does not exist yet."""
    with SqlTarget(f"sqlite:///{tmp_path}/a/b/target.db", "documents", "content_hash") as target:
        assert Written(1) == write(target, ("a", {"v": 1}, 1))


@pytest.mark.parametrize("backend", ["mssql+pyodbc", "oracle", "duckdb", "nodialect"])
def test_other_databases_are_refused(backend: str) -> None:
    """Before anything is imported or reached, with those that there are."""
    for refused in (SqlTarget, lambda url, table, key: job_config("j", load={"to": url, "table": table})):
        with pytest.raises(MmmetaError, match="SQLite, PostgreSQL, MariaDB and MySQL") as caught:
            refused(f"{backend}://user:secret@host/db", "documents", "content_hash")
        assert "secret" not in str(caught.value)


def test_importing_is_light() -> None:
    """SQLAlchemy costs a fifth of a second; whoever loads nothing does not pay it."""
    code = "import sys, mmmeta.target.target, mmmeta.documents.transfer; print('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
