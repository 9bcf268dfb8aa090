"""Which database and table a URL means, however it is spelled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmmeta.target.identity import is_file, split_name, table_name

POSTGRESQL = (
    "postgresql://db.example.org/archive",
    "postgres://db.example.org:5432/archive",
    "postgresql+psycopg://reader:old@DB.example.org/archive",
    "postgresql+psycopg2://reader:new%40?x/y@db.example.org/archive?sslmode=require",
)


@pytest.mark.parametrize("url", POSTGRESQL)
def test_spellings_of_one_server(url: str) -> None:
    """Driver, login, the usual port and options that do not say where make no other database."""
    name = table_name(url, "docs")
    assert name == "postgresql://db.example.org:5432/archive, table 'docs'"
    assert split_name(name) == ("postgresql://db.example.org:5432/archive", "docs")
    assert not is_file(name)


def test_spellings_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, through a link, with a driver, as a file: URI."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    os.symlink("real", "link")
    path = tmp_path / "real" / "my docs.db"
    spelled = (
        f"sqlite:///{path}",
        "sqlite:///real/../link/my docs.db",
        f"sqlite+pysqlite:///{path}?timeout=5",
        f"sqlite:///file:{tmp_path}/real/my%20docs.db?mode=rwc&uri=true",
        f"sqlite:///file://localhost{path}?uri=true",
    )
    assert {table_name(url, "it's") for url in spelled} == {f'sqlite:///{path}, table "it\'s"'}
    assert split_name(table_name(spelled[0], "it's")) == (f"sqlite:///{path}", "it's")
    assert is_file(table_name(spelled[0], "docs"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:///docs.db", "sqlite:///docs_neu.db"),
        ("postgresql://h/a", "postgresql://h/b"),
        ("postgresql://h/a", "postgresql://g/a"),
        ("postgresql://h/a", "postgresql://h:5433/a"),
        ("postgresql://h/a", "mysql://h/a"),
        ("postgresql:///a?host=/run/one", "postgresql:///a?host=/run/two"),
    ],
)
def test_other_databases(one: str, other: str) -> None:
    """And another table is another place, too."""
    assert table_name(one, "t") != table_name(other, "t")
    assert table_name(one, "t") != table_name(one, "u")


def test_what_is_none_of_ours() -> None:
    """A folder is no table."""
    assert split_name("/data/downloads") is None
    assert split_name("/data/downloads, table of contents") is None
