"""jobs failed: the files, their errors, and when they are tried again."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import Run, lines, rows


def test_failed_files_and_their_errors(ran: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table, on a narrow terminal with the error below its row, and as JSON lines with the traceback."""
    result = run("jobs", "failed", "everything")
    (row,) = rows(result.stdout)
    assert row[:3] == ["b2", "failed", "1"]
    assert row[-4:] == ["ValueError:", "no", "reports", "here"]
    assert "archive/everything: 1 file failed" in result.stderr
    (entry,) = lines(run("jobs", "failed", "--json").stdout)
    assert (entry["metadir"], entry["job"], entry["file"], entry["status"]) == ("archive", "everything", "b2", "failed")
    assert "no reports here" in str(entry["error_lines"])
    assert run("jobs", "failed", "--dead", "--json").stdout == ""
    monkeypatch.setenv("COLUMNS", "40")
    assert run("jobs", "failed", "everything").stdout.splitlines()[-1] == "    ValueError: no reports here"
