"""Where a SQL target is: its URL, its table, its folder; locked, broken, or of another make."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sql_target import query, read, receipts, write

from mmmeta.errors import LoadError
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


@pytest.mark.parametrize("table", ["", "_mmmeta_receipts", "sqlite_master", "a\0b", "x" * 64])
def test_names_of_tables(table: str, tmp_path: Path) -> None:
    """Neither ours nor the database's, and nothing that a database would cut."""
    with pytest.raises(LoadError, match="cannot be the name of a table"):
        SqlTarget(f"sqlite:///{tmp_path}/target.db", table, "content_hash")


def test_odd_names_of_tables(url: str) -> None:
    """A table's name is taken literally."""
    for table in ('my "documents"', "a.b", "select", "100% ä"):
        with SqlTarget(url, table, "content_hash") as target:
            assert Written(1) == write(target, (table, {"v": 1}, 1))
        assert query(
            url, 'SELECT v FROM "{}"'.format(table.replace('"', '""').replace("%", "%%" if "post" in url else "%"))
        ) == [(1,)]


def test_the_folder_of_a_sqlite_target_is_made(tmp_path: Path) -> None:
    """As a person expects of a file that does not exist yet."""
    with SqlTarget(f"sqlite:///{tmp_path}/a/b/target.db", "documents", "content_hash") as target:
        assert Written(1) == write(target, ("a", {"v": 1}, 1))


def test_without_on_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of other databases, shown on SQLite under another name: the same outcome, every value as text."""
    from sqlalchemy.dialects.sqlite.base import SQLiteDialect

    url = f"sqlite:///{tmp_path}/target.db"
    with SqlTarget(url, "documents", "content_hash") as target:
        target._engine.dialect.name = "other"
        first = {"title": "A", "pages": 3, "public": True, "tags": ["x"]}
        assert Written(2) == write(target, ("a", first, 1), ("b", {"title": "B"}, 1))
        assert Written(2, ("b",)) == write(target, ("a", {"title": "A2"}, 2), ("b", {}, 1), ("c", {"new": 1.5}, 1))
        assert receipts(url, *"abc") == {"a": 2, "b": 1, "c": 1}
    assert SQLiteDialect.name == "sqlite"
    assert read(url) == {"a": {"title": "A2"}, "b": {"title": "B"}, "c": {"new": "1.5"}}


def test_importing_is_light() -> None:
    """SQLAlchemy costs a fifth of a second; whoever loads nothing does not pay it."""
    code = "import sys, mmmeta.target.target, mmmeta.documents.transfer; print('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
