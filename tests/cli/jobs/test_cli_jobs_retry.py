"""jobs retry: files that failed, are dead, or are named."""

from __future__ import annotations

from pathlib import Path

from cli_support import PROJECT, Run, lines, rows


def test_retry(ran: Path, tmp_path: Path, run: Run) -> None:
    """Failed files, or named ones that are done; what is left alone is named; a wrong name is met before anything."""
    assert "archive/everything: 1 file would be due now" in run("jobs", "retry", "everything", "--dry-run").stdout
    assert "nothing to do" in run("run", "everything").stdout
    assert "archive/everything: 1 file is due now" in run("jobs", "retry", "everything").stdout
    run("run", "everything", code=3)
    result = run("jobs", "retry", "contracts", "a1", "b2")
    assert "archive/contracts: 1 file is due now" in result.stdout
    assert "left alone: b2: the job does not select it" in result.stderr
    run("run", "contracts")
    assert (tmp_path / "seen").read_text().split().count("a1") == 3
    assert "Did you mean 'a1'" in run("jobs", "retry", "contracts", "c3", "a", code=1).stderr
    (report,) = lines(run("jobs", "retry", "contracts", "--json").stdout)
    assert (report["retried"], report["left_alone"]) == (0, {})


def test_dead_files_wait_for_a_person(project: Path, run: Run) -> None:
    """They are shown, retry says how to take them, and does."""
    project.write_text(PROJECT.replace("backoff: 1h", "attempts: 1"))
    run("run", code=3)
    assert rows(run("jobs").stdout)[1] == ["everything", "3", "0", "0", "2", "0", "1"]
    assert "mmmeta jobs retry archive/everything --dead" in run("jobs", "failed", "everything", "--dead").stderr
    result = run("jobs", "retry", "everything")
    assert "0 files are due now" in result.stdout
    assert "1 file dead: add --dead" in result.stderr
    assert "1 file is due now" in run("jobs", "retry", "everything", "--dead").stdout
