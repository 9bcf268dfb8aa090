"""Views, virtual tables and triggers in place of a metadata db's tables, and pages without an end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from archives import Archive
from metadirs import client_with_own, forge, own_values, sql_of, survives

from mmmeta import Metadir
from mmmeta.errors import MetadataDbError, MmmetaError
from mmmeta.sqlite.connection import connect
from mmmeta.state.database import StateDatabase

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"
NAMES = "'a', 1, x'00', '', 1, '', '', 0, NULL, NULL, NULL, NULL"


def instead(table: str, *statements: str) -> tuple[str, ...]:
    """Statements that put something else in a table's place, which lies beside it under another name."""
    return (f"ALTER TABLE {table} RENAME TO real_{table}", *statements)


CASES: dict[str, tuple[str, ...]] = {
    **{
        f"{table} as a view": instead(table, f"CREATE VIEW {table} AS SELECT * FROM real_{table}")
        for table in ("info", "registry", "revisions", "files")
    },
    "an endless view of files": instead(
        "files", f"CREATE VIEW files AS {ENDLESS} x AS content_hash, * FROM n, real_files"
    ),
    "an endless view of info": instead("info", f"CREATE VIEW info AS {ENDLESS} 'a' || x AS name, x AS value FROM n"),
    "an endless view of the registry": instead(
        "registry",
        f"CREATE VIEW registry AS {ENDLESS} x AS id, 'remote' AS owner, 'k' || x AS key, NULL AS column_name, "
        "'s' AS usual, 's' AS kinds FROM n",
    ),
    "an endless view of the history": instead(
        "revisions", f"CREATE VIEW revisions AS {ENDLESS} x AS rev, * FROM n, real_revisions"
    ),
    "a virtual table": instead("files", "CREATE VIRTUAL TABLE files USING fts5(content_hash, title)"),
    "a generated column": ("ALTER TABLE files ADD COLUMN more AS (hex(zeroblob(100000000)))",),
    "a column with a collation": ("ALTER TABLE files ADD COLUMN more COLLATE NOCASE",),
    "a column with a check": ("ALTER TABLE files ADD COLUMN more CHECK (length(hex(zeroblob(100000000))) > 5)",),
    "a column with a type": ("ALTER TABLE files ADD COLUMN more INTEGER",),
    "a default of its own": ("ALTER TABLE files ADD COLUMN more DEFAULT 5",),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM files; END",),
    "a trigger on another table": (
        "CREATE TABLE other (x)",
        "CREATE TRIGGER t AFTER INSERT ON other BEGIN DELETE FROM files; END",
    ),
    "an index over an expression": ("CREATE INDEX i ON files (length(title))",),
    "an index over some": ("CREATE INDEX i ON files (title) WHERE pages > 1",),
    "no history": ("DROP TABLE revisions",),
    "a table of another make": instead("info", "CREATE TABLE info AS SELECT * FROM real_info"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_table_of_ours_is_refused(archive: Archive, case: str) -> None:
    """Before anything is read of it; quickly, and with one clear error at every verb."""
    client_with_own(archive)
    began = time.monotonic()
    forge(archive.client.layout.meta_db, sql_of(*CASES[case], revision=False))
    with pytest.raises(MmmetaError, match=r"meta\.db"):
        archive.client.update(accept_older=True, replace=True)
    survives(archive, lambda: None)
    assert time.monotonic() - began < 30


def test_what_a_person_puts_beside_the_tables_is_not_read(archive: Archive) -> None:
    """Views and tables of one's own at the server, and indexes over keys, are fine."""
    client_with_own(archive)
    archive.server.files.create_index(["title", "pages"])
    archive.write("f1", title="new", pages=1)
    archive.publish()
    own = (f"CREATE VIEW mine AS {ENDLESS} x FROM n", "CREATE TABLE other (x, y)", "ANALYZE")
    forge(archive.client.layout.meta_db, sql_of(*own, revision=False))
    assert archive.client.update().changed == 1


def endless_pages(path: Path) -> None:
    """Make the table ``files`` a tree that leads to one leaf a billion times, as no program writes it."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'info'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    pages = len(content) // size
    # A leaf of many equal rows, and interior pages above it that name it, or each other, hundreds of times.
    leaf = bytes(content[(root - 1) * size : root * size])
    kind = leaf[0]
    interior = {13: 5, 10: 2}[kind]
    assert interior in (2, 5)
    below = pages + 1
    content += leaf
    for level in range(4):
        page = bytearray(size)
        count = 200
        page[0] = interior
        page[3:5] = count.to_bytes(2, "big")
        page[5:7] = (size - 8 * count - 8).to_bytes(2, "big")
        page[8:12] = below.to_bytes(4, "big")
        for at in range(count):
            offset = size - 8 * (at + 1)
            page[12 + 2 * at : 14 + 2 * at] = offset.to_bytes(2, "big")
            cell = below.to_bytes(4, "big") + (b"\x03\x02\x01\x00" if interior == 2 else b"\x01\x00\x00\x00")
            page[offset : offset + 8] = cell
        if level == 3:
            content[(root - 1) * size : root * size] = page
        else:
            content += page
            below = len(content) // size
    content[28:32] = (len(content) // size).to_bytes(4, "big")
    path.write_bytes(content)


def test_pages_that_lead_to_one_leaf_without_an_end(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognised by a row that comes twice, or by the steps that it takes."""
    client_with_own(archive)
    endless_pages(archive.client.layout.meta_db)
    monkeypatch.setattr("mmmeta.sqlite.connection.STEPS", 2_000_000)
    monkeypatch.setattr("mmmeta.sqlite.connection.STEPS_PER_BYTE", 10)
    began = time.monotonic()
    survives(archive, lambda: None)
    assert time.monotonic() - began < 30


def test_more_steps_than_the_size_can_need_are_damage(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes a statement endless; the metadata db is blamed, not the state db."""
    client_with_own(archive)
    archive.write("f1", title="new", pages=1)
    archive.publish()
    monkeypatch.setattr("mmmeta.sqlite.connection.STEPS", 0)
    monkeypatch.setattr("mmmeta.sqlite.connection.STEPS_PER_BYTE", 0)
    monkeypatch.setattr("mmmeta.sqlite.connection.STEPS_AT_ONCE", 10)
    with Metadir(archive.client_path) as client, pytest.raises(MetadataDbError, match="takes more steps"):
        client.update()
    monkeypatch.undo()
    assert len(own_values(archive.client_path)) == 3
    with Metadir(archive.client_path) as client:
        assert client.update().changed == 1


def test_a_long_statement_is_interrupted_by_ctrl_c(tmp_path: Path) -> None:
    """SQLite is asked to end it, and the program that waits gets what it would get anywhere else."""
    code = (
        "import sys, pathlib\n"
        "from mmmeta.state.database import StateDatabase\n"
        f"database = StateDatabase(pathlib.Path({str(tmp_path / 'x.db')!r}))\n"
        "with database.atomic() as connection:\n"
        "    connection.execute('CREATE TABLE x (y)')\n"
        "with database.reading() as connection:\n"
        "    print('now', flush=True)\n"
        f'    connection.execute("{ENDLESS} max(x) FROM n").fetchone()\n'
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in error
    assert b"OperationalError: interrupted" in error  # what it came from


def insert_and_go_on(database: StateDatabase) -> None:
    with database.atomic() as connection:
        connection.execute("INSERT INTO x VALUES (1)")
        connection.execute(f"{ENDLESS} max(x) FROM n").fetchone()


def test_ctrl_c_in_a_transaction_rolls_it_back(tmp_path: Path) -> None:
    """And the database goes on."""
    database = StateDatabase(tmp_path / "x.db")
    with database.atomic() as connection:
        connection.execute("CREATE TABLE x (y)")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        insert_and_go_on(database)
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM x").fetchone() == (0,)
    database.close()
    plain = connect(tmp_path / "x.db", "ro", lambda connection: None)
    assert plain.execute("SELECT 1").fetchone() == (1,)
    plain.close()
