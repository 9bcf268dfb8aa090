"""dump --format parquet: typed columns, nothing lost, memory bounded."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import Run, write

from mmmeta import mmmeta
from mmmeta.cli import parquet

pyarrow = pytest.importorskip("pyarrow", reason="mmmeta[parquet] is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="mmmeta[parquet] is not installed")

BIG = 2**70
RECORDS: list[dict[str, Any]] = [
    {"content_hash": "a", "n": 1, "f": 1, "mixed": 1, "big": BIG, "wide": 2**60, "tags": ["x", None], "ok": True},
    {"content_hash": "b", "n": -(2**63), "f": 1.5, "mixed": "1", "big": 2, "wide": 0.5, "tags": [], "ok": False},
    {"content_hash": "c", "n": None, "mixed": [1], "odd": [1, "a"], "ints": [1, 2.5], "o": {}, "Ünï:c ö.de": "ß\n"},
    {"content_hash": "d", "either": ["a"], "nothing": None, "nested": [[1]]},
    {"content_hash": "e", "either": "a"},
]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    for record in RECORDS:
        write(folder, f"{record['content_hash']}.json", record)
    with mmmeta(folder) as m:
        m.generate()
    return folder


def test_columns_have_the_type_of_their_values(mixed: Path, run: Run, tmp_path: Path) -> None:
    """What has none of its own is JSON and says so; every value comes back."""
    run("--metadir", mixed, "dump", "--format", "parquet", "--out", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["n"], types["f"], types["ok"], types["content_hash"]) == ("int64", "double", "bool", "string")
    assert (types["tags"].split("<")[0], types["ints"].endswith("double>")) == ("list", True)
    as_json = {field.name for field in table.schema if (field.metadata or {}).get(b"mmmeta:encoding") == b"json"}
    assert as_json == {"mixed", "big", "wide", "odd", "o", "either", "nested"}
    rows = {
        row["content_hash"]: {
            key: json.loads(value) if key in as_json and value is not None else value for key, value in row.items()
        }
        for row in table.to_pylist()
    }
    for record in RECORDS:
        found = rows[record["content_hash"]]
        assert {key: value for key, value in found.items() if value is not None} == {
            key: value for key, value in record.items() if value is not None
        }
    assert types["nothing"] == types["__path"] == "string"


def test_stdout_filters_and_columns(mixed: Path, run: Run) -> None:
    """Also into a pipe; the types are those of what is written."""
    result = run("--metadir", mixed, "dump", "n=1", "--columns", "mixed,__path,nothing", "--format", "parquet")
    table = pq.read_table(io.BytesIO(result.stdout_bytes))
    assert table.to_pylist() == [{"mixed": 1, "__path": None, "nothing": None}]
    words = [sys.executable, "-m", "mmmeta", "--metadir", str(mixed), "dump", "--format", "parquet"]
    piped = subprocess.run(words, capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(piped.stdout)).num_rows == 5
    nothing = run("--metadir", mixed, "dump", "n=77", "--format", "parquet")
    assert pq.read_table(io.BytesIO(nothing.stdout_bytes)).num_rows == 0


def test_jobs_are_columns(ran: Path, run: Run, tmp_path: Path) -> None:
    run("dump", "--format", "parquet", "--out", tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").column("__job:everything").to_pylist() == ["done", "failed", "done"]


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows and by what is in them."""
    monkeypatch.setattr(parquet, "ROWS", 4)
    monkeypatch.setattr(parquet, "CHARACTERS", 1000)
    rows = [{"a": "x"}] * 9 + [{"a": "y" * 1200}] * 2
    stream = io.BytesIO()
    parquet.write_parquet(stream, rows, ["a"], {"a": "text"})
    read = pq.ParquetFile(stream)
    assert [read.metadata.row_group(n).num_rows for n in range(read.num_row_groups)] == [4, 4, 2, 1]


def test_what_changed_meanwhile_is_an_error(tmp_path: Path) -> None:
    """No value is bent into a column, and none is left out."""
    for value in ("x", 2**70, [1]):
        with pytest.raises(Exception, match="dump again"):
            parquet.write_parquet(io.BytesIO(), [{"a": value}], ["a"], {"a": "int"})


def test_without_the_package_it_says_what_to_install(mixed: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.delattr(pyarrow, "parquet", raising=False)
    text = run("--metadir", mixed, "dump", "--format", "parquet", code=1).stderr
    assert "pip install 'mmmeta[parquet]'" in text
