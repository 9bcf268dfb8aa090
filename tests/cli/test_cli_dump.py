"""dump: everything, as JSON lines and CSV, on stdout and into a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from cli_support import Run


def test_dump_writes_everything(server: Path, run: Run) -> None:
    """As JSON lines with types kept, and as CSV."""
    rows = [json.loads(line) for line in run("--metadir", server, "dump").stdout.splitlines()]
    assert [row["content_hash"] for row in rows] == ["a1", "b2", "c3"]
    assert (rows[0]["n"], rows[0]["public"], rows[1]["tags"]) == ("00123", True, ["x"])
    assert rows[2]["publisher:name"] == "Land"
    assert not [key for key in rows[0] if key.startswith("__")]
    table = list(csv.DictReader(run("--metadir", server, "dump", "--csv").stdout.splitlines()))
    assert [row["title"] for row in table] == ["Lease", "Report, with [red] comma", "Sale"]
    assert (table[0]["public"], table[1]["public"], table[1]["tags"]) == ("true", "", '["x"]')


def test_dump_into_a_file(server: Path, tmp_path: Path, run: Run) -> None:
    """The file appears whole, filters and columns apply."""
    run("--metadir", server, "dump", "pages>10", "--columns", "pages,title", "-o", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().splitlines()[1] == '{"pages":40,"title":"Sale"}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out.jsonl", "server"]
