"""What one file's row does to its batch: whatever the database refuses of it, the others are in."""

from __future__ import annotations

import random
from typing import Any

import pytest
from archives import Archive
from sql_target import identify_by_id, publish, query, write

from mmmeta import Job
from mmmeta.target.columns import WantedColumns
from mmmeta.target.receipts import Stamp
from mmmeta.target.target import SqlTarget, TargetRow

LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=6000))
"""Does not shrink below what an index of PostgreSQL takes (2,704 bytes)."""


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


def load(archive: Archive, url: str, **more: Any) -> Job:
    return archive.client.job("load", load={"to": url, "table": "documents", **more}, batch_size=1000)


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_an_id_that_no_index_takes_fails_alone(archive: Archive, url: str, mode: str) -> None:
    """49 short ids and a long one: SQLite takes all of them, the others all but that one; receipts are of what is in."""
    publish(archive, {f"short{number}": {} for number in range(49)} | {"long": {"id": LONG}})
    report = load(archive, url, mode=mode).run()
    refused = [] if url.startswith("sqlite") else [LONG]
    assert ([failure.file for failure in report.failures], report.done) == (refused, 50 - len(refused))
    rows = {name for (name,) in query(url, "SELECT id FROM documents")}
    assert len(rows) == report.done
    assert rows == {name for (name,) in query(url, "SELECT file FROM _mmmeta_receipts")}


def test_a_key_that_cannot_be_registered_fails_alone(archive: Archive, url: str) -> None:
    """The names of columns are kept in an index, too; one file with an endless key stops no other."""
    publish(archive, {"a": {"title": "A"}, "b": {LONG: 1}, "c": {"title": "C"}})
    report = load(archive, url).run()
    refused = ["b"] if url.startswith("postgresql") else []
    assert ([failure.file for failure in report.failures], report.done) == (refused, 3 - len(refused))
    assert {("a", "A"), ("c", "C")} <= set(query(url, "SELECT id, title FROM documents"))
    assert load(archive, url).run().done == 0


def test_a_newer_version_of_a_file_beside_a_bad_one(url: str) -> None:
    """Fences hold in a batch that is written row by row: what is overtaken is refused, what is there is counted once."""
    with SqlTarget(url, "documents", WantedColumns("id", append=True)) as target:
        rows = [TargetRow(name, {"v": 1}, Stamp(5, "1")) for name in ("present", "overtaken")]
        assert target.write(rows, state_id="state", job="load").written == 2
        query(url, "INSERT INTO _mmmeta_receipts VALUES ('state', 'load', 'refused', 9, '1')")
        if "pymysql" in url:  # which has no partial indexes
            query(url, "ALTER TABLE documents ADD CONSTRAINT one_v CHECK (v <> '666' OR id = 'taken')")
        else:
            query(url, "CREATE UNIQUE INDEX one_v ON documents (v) WHERE v = 666")
        query(url, "INSERT INTO documents (id, v) VALUES ('taken', 666)")
        batch = [
            TargetRow("present", {"v": 1}, Stamp(6, "1")),
            TargetRow("overtaken", {"v": 1}, Stamp(5, "2")),
            TargetRow("refused", {"v": 1}, Stamp(8, "2")),
            TargetRow("bad", {"v": 666}, Stamp(6, "1")),
            TargetRow("new", {"v": 2}, Stamp(6, "1")),
        ]
        written = target.write(batch, state_id="state", job="load")
    assert (written.written, written.refused, set(written.failed)) == (2, ("overtaken", "refused"), {"bad"})
    assert query(url, "SELECT id FROM documents ORDER BY id") == [
        (n,) for n in ("new", "overtaken", "present", "taken")
    ]
    assert query(url, "SELECT file, token FROM _mmmeta_receipts ORDER BY file") == [
        ("new", 6),
        ("overtaken", 5),
        ("present", 6),
        ("refused", 9),
    ]


def test_what_cannot_be_taken_out_fails_alone(url: str) -> None:
    """PostgreSQL keeps no NUL, so that an id with one has no receipt there; the others do."""
    with SqlTarget(url, "documents", "content_hash") as target:
        write(target, ("a", {}, 1), ("b", {}, 1))
        rows = [TargetRow(name, {}, Stamp(2)) for name in ("a", "x\0y")]
        removed = target.remove(rows, state_id="state", job="load")
    refused = {"x\0y"} if url.startswith("postgresql") else set()
    assert (removed.written, set(removed.failed)) == (2 - len(refused), refused)
    assert query(url, "SELECT content_hash FROM documents") == [("b",)]
