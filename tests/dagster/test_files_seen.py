"""How the sensor looks at a metadir's files: what it says of them, and that a look disturbs nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_archive import Archive

from mmmeta import mmmeta
from mmmeta_dagster.files_seen import layout_of, mark_of_files, why_not_readable, why_not_there

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("has the write lock")
"""


def another_writer(meta_db: Path) -> str:
    """What another process gets that wants to write the metadata db now."""
    done = subprocess.run([sys.executable, "-c", WRITER, meta_db], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_look_while_this_process_writes_leaves_it_the_write_lock(archive: Archive) -> None:
    """POSIX drops all locks of a process on a file of which it closes any descriptor."""
    layout = layout_of(archive.config.model_copy(update={"path": archive.server}))
    with mmmeta(archive.server) as m, m.bulk():
        m.files.insert(content_hash="a")
        assert another_writer(layout.meta_db) == "database is locked"
        assert why_not_there(layout) is None
        assert why_not_readable(layout) is None
        mark_of_files(layout)
        assert another_writer(layout.meta_db) == "database is locked"
    assert another_writer(layout.meta_db) == "has the write lock"


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (b"", 0, "is empty or cut off after 0 bytes; a sync may be under way"),
        (b"", 60, "is empty or cut off after 60 bytes; a sync may be under way"),
        (b"", -1_000, "bytes; a sync may be under way"),
        (b"<html>", None, "is not a SQLite database (yet)"),
    ],
)
def test_a_metadata_db_that_is_not_whole_is_named(archive: Archive, begin: bytes, end: int | None, words: str) -> None:
    """By what its header says of it."""
    layout = layout_of(archive.config)
    assert why_not_readable(layout) is None
    whole = layout.meta_db.read_bytes()
    layout.meta_db.write_bytes(begin + whole[:end])
    assert why_not_readable(layout) is None, "the change log is whole"
    segment = next(layout.changes.iterdir())
    segment.unlink()
    in_log = why_not_readable(layout)
    assert in_log is not None
    assert in_log.startswith(f"{segment} is not there yet")
    layout.meta_db.write_bytes(whole)
    assert why_not_readable(layout) is None, "meta.db is whole"
    layout.head.unlink()
    layout.meta_db.write_bytes(begin + layout.meta_db.read_bytes()[:end])
    reason = why_not_readable(layout)
    assert reason is not None
    assert reason.startswith(str(layout.meta_db))
    assert reason.endswith(words)
