"""Rows reach a SQL target once, whole, never older after newer; any key and any value; one bad row loses nobody."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sql_target import query, read, receipts, tables_of, write

from mmmeta.errors import LoadError
from mmmeta.target.columns import OVERFLOW, column_name, wider
from mmmeta.target.present import Sought, missing
from mmmeta.target.receipts import Stamp
from mmmeta.target.target import SqlTarget, TargetRow, Written


@pytest.fixture
def target(url: str) -> Iterator[SqlTarget]:
    with SqlTarget(url, "documents", "content_hash") as opened:
        yield opened


def test_rows_are_written_and_overwritten(url: str, target: SqlTarget) -> None:
    """An upsert by the unique key: what a newer version lacks becomes NULL."""
    first = {
        "content_hash": "a",
        "title": "Ä",
        "pages": 3,
        "public": True,
        "score": 0.5,
        "none": None,
        "tags": ["x", 1],
    }
    assert Written(2) == write(target, ("a", first, 1), ("b", {"title": "B", "empty": {}}, 2))
    rows = read(url)
    assert tuple(rows["a"][key] for key in ("title", "pages", "public", "score")) == ("Ä", 3, True, 0.5)
    assert json.loads(rows["a"]["tags"]) == ["x", 1]
    assert rows["b"] == {"title": "B", "empty": "{}"}
    assert Written(1) == write(target, ("a", {"title": "A", "added": 1}, 3))
    assert read(url)["a"] == {"title": "A", "added": 1}
    assert Written(0) == write(target)


def test_values_keep_what_they_are(url: str, target: SqlTarget) -> None:
    """Text that looks like a number stays text, integers over 64 bits survive as text, NUL does not cut."""
    values = {
        "number": "0012",
        "float": "1.0",
        "empty": "",
        "big": 2**70,
        "small": -(2**63),
        "nested": [2**70, {"a": None}],
        "nul": "a\0b",
        "quote": "'; DROP TABLE documents; --",
        "emoji": "🗂",
    }
    assert write(target, ("0012", values, 1)).written == 1
    row = read(url)["0012"]
    assert (row["number"], str(row["float"]), row["empty"]) == ("0012", "1.0", "")
    assert (str(2**70), -(2**63), "🗂") == (row["big"], row["small"], row["emoji"])
    assert json.loads(row["nested"]) == [2**70, {"a": None}]
    assert ("a\\u0000b" if url.startswith("postgresql") else "a\0b") == row["nul"]
    assert values["quote"] == row["quote"]


def test_a_later_value_of_another_type_does_not_fail(url: str, target: SqlTarget) -> None:
    """In any order of types, in one batch and over several, every row goes in and reads back."""
    values: list[Any] = [1, 1.5, True, "0012", 2**60, 2**70, ["list"], None]
    token = 0
    for first in range(len(values)):
        for second in range(len(values)):
            token += 1
            key = f"k{first}_{second}"
            assert write(target, ("a", {key: values[first]}, token)).written == 1
            token += 1
            done = write(target, (f"b{token}", {key: values[second]}, token), ("a", {key: values[first]}, token))
            assert done.written == 2, done
            row = read(url)["a"].get(key)
            if isinstance(values[first], str):
                assert values[first] == row
            elif values[first] is not None:
                assert values[first] == row or json.loads(str(row).lower()) == values[first] or str(row) == str(2**70)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("integer", "small", "integer"),
        ("integer", "float", "number"),
        ("float", "small", "float"),
        ("float", "integer", "number"),
        ("boolean", "small", "text"),
        ("text", "float", "text"),
        ("number", "boolean", "text"),
    ],
)
def test_the_wider_kind_loses_nothing(first: str, second: str, kind: str) -> None:
    """A double holds small integers only; a boolean is no number."""
    assert kind == wider(first, second)


def test_any_key_gets_a_column_that_stays(url: str, target: SqlTarget) -> None:
    """Odd, long, clashing and reserved names; the same columns for a second target object."""
    keys = [
        "Title",
        "title",
        "TITLE",
        "publisher:jurisdiction:id",
        "a.b",
        "a-b",
        "100%",
        "%(u)s",
        ":bind",
        'double"quote',
        "id",
        "select",
        "ctid",
        "xmin",
        OVERFLOW,
        "",
        " ",
        "nul\0key",
        "ключ",
        "ä" * 150,
        "ä" * 150 + "!",
        "u",
        "c0",
        "more",
        "[x]",
        "__[POSTCOMPILE_u]",
        "back\\\\0slash",
        "a b",
        "new\nline",
    ]
    values = {key: f"value of {key[:20]!r} {len(key)}" for key in keys}
    assert Written(1) == write(target, ("a", values, 1))
    rows = read(url)
    assert sorted(values.values()) == sorted(rows["a"].values())
    assert values["publisher:jurisdiction:id"] == rows["a"]["publisher:jurisdiction:id"]
    with SqlTarget(url, "documents", "content_hash") as second:
        assert Written(1) == write(second, ("a", values | {"Title": "changed", "tItle": "more"}, 2))
    again = read(url)["a"]
    assert [name for name in again if again[name] != rows["a"].get(name)] == [
        next(name for name in rows["a"] if rows["a"][name] == values["Title"]),
        column_name("tItle", {"title"}),
    ]


def test_names_are_mangled_the_same_way_every_time() -> None:
    """Short enough, free, and told apart by the key."""
    name = column_name("ä" * 150, set())
    assert len(name.encode()) <= 63
    assert name == column_name("ä" * 150, set())
    assert name != column_name("ä" * 151, set())
    assert f"{name}_2" == column_name("ä" * 150, {name})


def test_three_thousand_keys_in_one_file(url: str, target: SqlTarget) -> None:
    """What does not get a column lives in the overflow column; frequent keys get columns first; nothing stays behind."""
    many = {f"key {index}": f"value {index} " + "x" * 100 for index in range(3_000)}
    usual = [(f"f{index}", {"title": f"no. {index}", "zz": index}, 1) for index in range(5)]
    assert Written(6) == write(target, ("a", many, 1), *usual)
    rows = read(url)
    assert rows["f3"] == {"title": "no. 3", "zz": 3}
    rest = json.loads(rows["a"].pop(OVERFLOW))
    assert many == rows["a"] | rest
    assert Written(2) == write(target, ("a", {"key 2999": 1, "late": [1]}, 2), ("f3", {"late": 2**70}, 2))
    rows = read(url)
    assert json.loads(rows["a"][OVERFLOW]) == {"key 2999": 1, "late": [1]}
    assert json.loads(rows["f3"][OVERFLOW]) == {"late": 2**70}
    assert Written(1) == write(target, ("a", {"title": "few"}, 3))
    assert read(url)["a"] == {"title": "few"}


def test_an_overtaken_worker_is_refused(url: str, target: SqlTarget) -> None:
    """Only a larger token writes; receipts are per job and state db; the rest of the batch goes in."""
    assert write(target, ("a", {"v": "new"}, 7), ("b", {"v": "new"}, 7)).written == 2
    for token in (6, 7):
        assert Written(1, ("a",)) == write(target, ("a", {"v": "old"}, token), (f"c{token}", {"v": "new"}, 1))
    assert read(url)["a"] == {"v": "new"}
    assert receipts(url, "a", "b", "x") == {"a": 7, "b": 7}
    assert write(target, ("a", {"v": "reset"}, 8)).written == 1
    assert write(target, ("a", {"v": "other job"}, 1), job="other").written == 1
    assert read(url)["a"] == {"v": "other job"}
    with pytest.raises(ValueError, match="twice"):
        write(target, ("a", {}, 9), ("a", {}, 10))


def test_looking_into_an_empty_database(url: str, target: SqlTarget) -> None:
    """Nothing was imported, and asking makes no table."""
    found = missing(target, [Sought("a", "content 1", None)], content="content_hash", state_id="state", job="load")
    assert found.keys() == {"a"}
    assert tables_of(url) == []


def test_one_bad_row_loses_nobody_else(url: str, target: SqlTarget) -> None:
    """A constraint, a value of a foreign type, a lone surrogate: named, without receipt, tried again later."""
    write(target, ("a", {"v": 1, "text": "x"}, 1))
    if url.startswith("sqlite"):
        query(
            url, "CREATE TRIGGER no BEFORE INSERT ON documents WHEN NEW.v = 13 BEGIN SELECT RAISE(ABORT, 'no 13'); END"
        )
    else:
        query(url, "ALTER TABLE documents ADD CONSTRAINT no CHECK (v <> 13)")
    batch = [(f"f{index}", {"v": index, "text": "x"}, 2) for index in range(20)]
    batch += [("bytes", {"v": b"x"}, 2), ("surrogate", {"text": "\ud800"}, 2)]  # type: ignore[list-item]
    done = write(target, *batch, ("a", {"v": 2}, 1))
    assert (done.written, done.refused) == (19, ("a",))
    assert {"f13", "bytes", "surrogate"} == done.failed.keys()
    assert "no" in done.failed["f13"]
    assert "v: b'x'" in done.failed["bytes"]
    assert receipts(url, "f12", "f13", "bytes", "surrogate") == {"f12": 2}
    assert len(read(url)) == 20
    assert Written(1) == write(target, ("f13", {"v": 14}, 3))


def test_columns_that_others_added_are_kept(url: str, target: SqlTarget) -> None:
    """A person's notes survive every upsert."""
    write(target, ("a", {"v": 1}, 1))
    query(url, "ALTER TABLE documents ADD COLUMN notes TEXT")
    query(url, "UPDATE documents SET notes = 'mine'")
    write(target, ("a", {"v": 2, "w": 1}, 2))
    assert read(url)["a"] == {"v": 2, "w": 1, "notes": "mine"}


def test_an_existing_table_is_used(url: str, target: SqlTarget) -> None:
    """Its columns keep their types and its other rows; the unique key gets the index that an upsert needs."""
    query(url, "CREATE TABLE documents (content_hash VARCHAR(40), title VARCHAR(100), kept INTEGER)")
    query(url, "INSERT INTO documents VALUES ('a', 'old', 1), ('b', 'old', 2)")
    assert Written(2) == write(target, ("a", {"title": "new", "pages": 3}, 1), ("c", {"title": "new"}, 1))
    assert (read(url)) == {
        "a": {"title": "new", "kept": 1, "pages": 3},
        "b": {"title": "old", "kept": 2},
        "c": {"title": "new"},
    }


def test_an_existing_table_without_the_unique_key(url: str, target: SqlTarget) -> None:
    """The column is added; rows that lack it are left alone."""
    query(url, "CREATE TABLE documents (title VARCHAR(100))")
    query(url, "INSERT INTO documents VALUES ('old')")
    assert Written(1) == write(target, ("a", {"title": "new"}, 1))
    assert read(url) == {None: {"title": "old"}, "a": {"title": "new"}}


def test_an_existing_table_with_duplicates_is_refused(url: str, target: SqlTarget) -> None:
    """An upsert could not tell them apart."""
    query(url, "CREATE TABLE documents (content_hash VARCHAR(40))")
    query(url, "INSERT INTO documents VALUES ('a'), ('a')")
    with pytest.raises(LoadError, match="several rows with the same 'content_hash'"):
        write(target, ("a", {"title": "new"}, 1))
    assert query(url, "SELECT * FROM documents") == [("a",), ("a",)]


def test_a_dropped_table_or_column_comes_back(url: str, target: SqlTarget) -> None:
    """Under an open target; what was known of it counts no more."""
    write(target, ("a", {"v": 1, "w": 1}, 1))
    query(url, "ALTER TABLE documents DROP COLUMN v")
    assert Written(1) == write(target, ("a", {"v": 2}, 2))
    assert read(url)["a"] == {"v": 2}
    query(url, "DROP TABLE documents")
    assert Written(1) == write(target, ("a", {"v": 3}, 3))
    assert read(url) == {"a": {"v": 3}}


def test_another_unique_key_of_the_same_table(url: str) -> None:
    """A configuration that changed: the new key gets its index."""
    with SqlTarget(url, "documents", "url") as target:
        write(target, ("u1", {"content_hash": "a"}, 1))
    with SqlTarget(url, "documents", "content_hash") as target:
        assert Written(2) == write(target, ("a", {"url": "u1", "v": 1}, 2), ("b", {"url": "u2"}, 2))
    assert read(url) == {"a": {"url": "u1", "v": 1}, "b": {"url": "u2"}}


def test_two_targets_see_each_others_columns(url: str, target: SqlTarget) -> None:
    """A worker that does not know a column yet still empties it."""
    write(target, ("a", {"v": 1}, 1))
    with SqlTarget(url, "documents", "content_hash") as other:
        write(other, ("a", {"v": 1, "w": 1}, 2))
        write(target, ("a", {"v": 2}, 3))
        assert read(url)["a"] == {"v": 2}
        write(target, ("a", {"v": "text", "x": 1}, 4))
        assert Written(1) == write(other, ("b", {"v": 5, "x": "text"}, 4))


def test_many_workers_at_once(url: str) -> None:
    """Threads that make the table, its columns and rows together: every file has its largest token's version."""
    errors: list[Exception] = []
    done: list[int] = []

    def work(worker: int) -> None:
        try:
            with SqlTarget(url, "documents", "content_hash") as target:
                for turn in range(15):
                    token = turn * 10 + worker
                    rows = [
                        TargetRow(
                            f"f{index}",
                            {"token": token, f"k{worker}_{turn % 5}": turn, "mixed": [turn, "x"][turn % 2]},
                            Stamp(token),
                        )
                        for index in range(10)
                    ]
                    rows = rows if worker % 2 else rows[::-1]
                    done.append(target.write(rows, state_id="state", job="load").written)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    rows = read(url)
    assert {144} == {row["token"] for row in rows.values()}
    assert all({"token", "mixed", "k4_4"} == row.keys() for row in rows.values())


def test_a_killed_writer_leaves_rows_and_receipts_together(tmp_path: Path) -> None:
    """SIGKILL at a random moment, several rounds: a file has both or neither, and the next run ends the work."""
    url = f"sqlite:///{tmp_path}/target.db"
    code = (
        "import sys\n"
        "from mmmeta.target.receipts import Stamp\n"
        "from mmmeta.target.target import TargetRow, SqlTarget\n"
        f"target = SqlTarget({url!r}, 'documents', 'content_hash')\n"
        "start = int(sys.argv[1])\n"
        "for turn in range(start, start + 10_000):\n"
        "    rows = [TargetRow(f'{turn}-{i}', {'v': i, f'k{turn % 50}': 1}, Stamp(turn)) for i in range(20)]\n"
        "    target.write(rows, state_id='state', job='load')\n"
        "    print(turn, flush=True)\n"
    )
    reported = 0
    for kill in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(kill * 10_000 + 1)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(5 + kill * 17):
            reported += bool(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        reported += len(process.stdout.readlines())
        process.wait()
        process.stdout.close()
    with sqlite3.connect(tmp_path / "target.db") as connection:
        rows = {row[0] for row in connection.execute("SELECT content_hash FROM documents")}
        receipts = {row[0] for row in connection.execute("SELECT file FROM _mmmeta_receipts")}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert rows == receipts
    assert len(rows) >= 20 * reported
    assert len(rows) % 20 == 0
