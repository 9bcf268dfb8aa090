"""A config.yml that a sync brought in half, or not at all: jobs go on by what was merged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import Metadir

CONFIG = "metadata:\n  unique: id\n"


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("mode", ["upsert", "append"])
@pytest.mark.parametrize("left", ["metadata:\n", "", None])
def test_rows_go_by_the_key_that_was_merged(archive: Archive, tmp_path: Path, mode: str, left: str | None) -> None:
    """What was deleted is taken out, what changed replaces its row, and the table gets no other index."""
    archive.server.layout.metadir.mkdir()
    archive.server.layout.config.write_text(CONFIG)
    for name in "abc":
        archive.write(name, id=name, content_hash=f"{name}1", v=1)
    archive.deliver()
    archive.client.close()
    target = tmp_path / "target.db"
    load = {"to": f"sqlite:///{target}", "table": "documents", "mode": mode}
    with Metadir(archive.client_path) as client:
        assert client.job("load", load=load, on_delete="action").run().done == 3
    made = rows(target, "SELECT name, sql FROM sqlite_master ORDER BY name")
    (archive.server_path / "a.json").unlink()
    archive.write("b", id="b", content_hash="b2", v=2)
    archive.server.generate(ensure=True)
    archive.sync()
    config = archive.client.layout.config
    config.unlink()
    if left is not None:
        config.write_text(left)
    with Metadir(archive.client_path) as client:
        client.update()
        report = client.job("load", load=load, on_delete="action").run()
        assert (report.done, report.retracted, report.failed) == (1, 1, 0)
    assert rows(target, "SELECT id, max(v) FROM documents GROUP BY id ORDER BY id") == [("b", 2), ("c", 1)]
    assert rows(target, "SELECT name, sql FROM sqlite_master ORDER BY name") == made
