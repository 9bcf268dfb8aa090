"""What generate sets aside travels in the metadata db, and is no part of what was published."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from archives import LOG, copy_metadir

from mmmeta import mmmeta
from mmmeta.metadata.setaside import DUPLICATE, KEPT, PROBLEM


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One good metadata file and two bad ones."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "a.json").write_text('{"content_hash": "a1", "title": "Lease"}')
    (folder / "b.json").write_text("{broken")
    (folder / "c.json").write_text('{"title": "no hash"}')
    return folder


def noted(folder: Path) -> dict[str, str]:
    with mmmeta(folder) as m:
        return {row.path: row.kind for row in m.inspect().set_aside.rows}


def meta_db(folder: Path) -> str:
    return hashlib.sha1((folder / "_mmmeta" / "meta.db").read_bytes()).hexdigest()


def test_it_is_noted_until_it_is_mended(root: Path) -> None:
    """And no revision, digest or announcement tells of it; what is as before is not even written."""
    with mmmeta(root) as m:
        m.generate()
        first, store = m.inspect(), dict(m.store.items())
        assert [(row.path, row.kind) for row in first.set_aside.rows] == [("b.json", PROBLEM), ("c.json", PROBLEM)]
        assert first.set_aside.problems == 2
        assert first.set_aside.rows[0].since is not None
        before = meta_db(root)
        m.generate()
        assert meta_db(root) == before
        (root / "b.json").unlink()
        m.generate()
        then = m.inspect()
        assert [row.path for row in then.set_aside.rows] == ["c.json"]
        assert then.set_aside.rows[0].since == first.set_aside.rows[1].since
        assert then.set_aside.problems == 1
        assert then.metadata_db is not None
        assert first.metadata_db is not None
        assert (then.metadata_db.revision, then.metadata_db.digest) == (1, first.metadata_db.digest)
        assert dict(m.store.items()) == store
        (root / "c.json").write_text('{"content_hash": "c3"}')
        m.generate()
        assert m.inspect().set_aside.rows == ()


def test_a_dry_run_notes_nothing(root: Path) -> None:
    """Like everything else."""
    with mmmeta(root) as m:
        m.generate()
        before = meta_db(root)
        (root / "d.json").write_text("[")
        assert m.generate(dry_run=True).problem_count == 3
    assert meta_db(root) == before


def test_duplicates_are_noted_by_the_one_that_counts(root: Path) -> None:
    """The losers; once they are gone, no more."""
    (root / "z.json").write_text('{"content_hash": "a1", "title": "Lease"}')
    with mmmeta(root) as m:
        m.generate()
        (row,) = [row for row in m.inspect().set_aside.rows if row.kind == DUPLICATE]
        assert "a1" in row.reason
        assert row.path in ("a.json", "z.json")
        assert m.inspect().set_aside.problems == 2
        (root / row.path).unlink()
        m.generate()
        assert DUPLICATE not in noted(root).values()


def test_many_are_bounded_and_counted(root: Path) -> None:
    """A bad archive does not grow the metadata db."""
    for number in range(KEPT + 5):
        (root / f"bad{number}.json").write_text("{" + "x" * 3)
    with mmmeta(root) as m:
        m.generate()
        found = m.inspect().set_aside
    assert (len(found.rows), found.problems) == (KEPT, KEPT + 7)


def test_names_that_are_no_utf_8(root: Path) -> None:
    """As the walk shows them."""
    with open(bytes(root) + b"/\xff.json", "w") as stream:
        stream.write("{")
    assert mmmeta(root).generate().problem_count == 3
    assert "\\xff.json" in noted(root)


@pytest.mark.parametrize("without", [(), LOG, ("meta.db",)], ids=["all", "without the log", "without meta.db"])
def test_it_survives_replace_and_travels(root: Path, tmp_path: Path, without: tuple[str, ...]) -> None:
    """A new metadata db has its own; a client reads them there, or beside the change log."""
    with mmmeta(root) as m:
        m.generate()
        m.generate(replace=True)
    assert set(noted(root)) == {"b.json", "c.json"}
    client = tmp_path / "client"
    copy_metadir(root, client, without=without)
    with mmmeta(client) as m:
        m.update()
        (root / "b.json").unlink()
        mmmeta(root).generate()
        copy_metadir(root, client, without=without)
        assert m.update().how == "nothing new"
        assert {row.path for row in m.inspect().set_aside.rows} == {"c.json"}


def test_a_metadata_db_without_it_is_as_good(root: Path) -> None:
    """One of an earlier version, or with nothing bad; the next generate makes the table."""
    (root / "b.json").unlink()
    (root / "c.json").unlink()
    with mmmeta(root) as m:
        m.generate()
    with closing(sqlite3.connect(root / "_mmmeta" / "meta.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'setaside'").fetchone() == (0,)
    assert noted(root) == {}
    (root / "b.json").write_text("{")
    mmmeta(root).generate()
    assert noted(root) == {"b.json": PROBLEM}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW setaside AS SELECT 'x' AS path, 'problem' AS kind, 'y' AS reason, 'z' AS since",
        "CREATE TABLE setaside (path, kind, reason, since)",
    ],
)
def test_what_is_not_our_table_is_not_read(root: Path, tmp_path: Path, statement: str) -> None:
    """A remote may have anything there; updates are not disturbed by it."""
    with mmmeta(root) as m:
        m.generate()
    client = tmp_path / "client"
    shutil.copytree(root / "_mmmeta", client / "_mmmeta", ignore=shutil.ignore_patterns("local", *LOG))
    with closing(sqlite3.connect(client / "_mmmeta" / "meta.db")) as connection, connection:
        connection.execute("DROP TABLE setaside")
        connection.execute(statement)
    with mmmeta(client) as m:
        m.update()
        inspection = m.inspect()
        assert inspection.set_aside.rows == ()
        assert any("setaside" in problem for problem in inspection.problems)


def test_hostile_cells(root: Path) -> None:
    """Cells that are no text, and moments that are none."""
    with mmmeta(root) as m:
        m.generate()
    with closing(sqlite3.connect(root / "_mmmeta" / "meta.db")) as connection, connection:
        connection.execute("UPDATE setaside SET since = 'never' WHERE path = 'b.json'")
    with mmmeta(root) as m:
        assert [row.since is None for row in m.inspect().set_aside.rows] == [True, False]
    with closing(sqlite3.connect(root / "_mmmeta" / "meta.db")) as connection, connection:
        connection.execute("UPDATE setaside SET reason = x'00'")
    with mmmeta(root) as m:
        assert any("no text" in problem for problem in m.inspect().problems)
