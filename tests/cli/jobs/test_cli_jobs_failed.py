"""jobs failed: the files, their errors, and when they are tried again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from cli_support import Run, lines, rows

from mmmeta import File, mmmeta


def test_failed_files_and_their_errors(ran: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table, on a narrow terminal with the error below its row, and as JSON lines with the traceback."""
    result = run("jobs", "failed", "everything", "--each")
    (row,) = rows(result.stdout)
    assert row[:3] == ["b2", "failed", "1"]
    assert row[-4:] == ["ValueError:", "no", "reports", "here"]
    assert "archive/everything: 1 file failed" in result.stderr
    (entry,) = lines(run("jobs", "failed", "--each", "--json").stdout)
    assert (entry["metadir"], entry["job"], entry["file"], entry["status"]) == ("archive", "everything", "b2", "failed")
    assert "no reports here" in str(entry["error_lines"])
    assert run("jobs", "failed", "--dead", "--each", "--json").stdout == ""
    monkeypatch.setenv("COLUMNS", "40")
    assert run("jobs", "failed", "everything", "--each").stdout.splitlines()[-1] == "    ValueError: no reports here"


def test_errors_are_grouped(client: Path, run: Run) -> None:
    """What differs in the file's own words only is one, with the last that failed as its example."""

    def fail(file: File) -> None:
        number = int(file["content_hash"][1])
        if number < 3:
            raise ValueError(f"page {number} of '{file['title']}' at https://example.org/{number} is no text")
        raise OSError("disk")

    with mmmeta(client) as m:
        m.update()
        m.job("mine", attempts=1).run(fail)
        m.job("other").run(fail)
    result = run("--metadir", client, "jobs", "failed", "mine")
    first, second = rows(result.stdout)
    assert first[:4] == ["2", "2", "dead", "a1"]
    assert "Lease" in first
    assert second[:4] == ["1", "1", "dead", "c3"]
    assert "client/mine: 3 files failed" in result.stderr
    assert "One: mmmeta why a1 client/mine; all: mmmeta jobs failed client/mine --each" in result.stderr
    assert "mmmeta jobs retry client/mine --dead" in result.stderr
    group, _ = lines(run("--metadir", client, "jobs", "failed", "mine", "--json").stdout)
    assert (group["files"], group["dead"], group["failed"], group["example"]) == (2, 2, 0, "a1")
    assert group["title"] == "Lease"
    command = str(group["command"])
    assert "a1: dead after 1 attempt" in run(*shlex.split(command)[1:]).stdout
    limited = run("--metadir", client, "jobs", "failed", "mine", "--limit", "1")
    assert len(rows(limited.stdout)) == 1
    assert "the first 1 shown" in limited.stderr
    (one,) = lines(run("--metadir", client, "jobs", "failed", "mine", "--limit", "1", "--json").stdout)
    assert one == group
    assert run("--metadir", client, "jobs", "failed", "other", "--dead").stdout == ""
