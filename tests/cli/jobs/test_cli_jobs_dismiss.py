"""jobs dismiss: dead files are said at every run until somebody settles them."""

from __future__ import annotations

from pathlib import Path

from cli_support import PROJECT, Run, lines


def test_run_ends_with_3_as_long_as_dead_files_wait(project: Path, run: Run) -> None:
    """Also where nothing is to be done, and it says what to do about them; dismissed ones are said no more."""
    project.write_text(PROJECT.replace("backoff: 1h", "attempts: 1"))
    run("run", code=3)
    for _ in range(2):
        again = run("run", code=3)
        assert "archive/everything: nothing to do; 1 dead before" in again.stdout
        assert "mmmeta jobs dismiss archive/everything" in again.stderr
    (report,) = lines(run("run", "everything", "--json", code=3).stdout)
    assert [job["all_dead"] for job in report["jobs"]] == [1]  # type: ignore[attr-defined]
    assert "1 file would be dismissed" in run("jobs", "dismiss", "everything", "--dry-run").stdout
    result = run("jobs", "dismiss", "everything", "a1", "b2")
    assert "archive/everything: 1 file dismissed" in result.stdout
    assert "left alone: a1 is not dead: done" in result.stderr
    last = run("run")
    assert "everything: nothing to do (" in last.stdout
    assert "Dead files" not in last.stderr
    assert "set aside: 1 file: failed for the last time, and a person has dismissed it" in run("jobs").stderr
    assert run("jobs", "retry", "everything", "b2").stdout.strip() == "archive/everything: 1 file is due now"
    run("run", code=3)
    (report,) = lines(run("jobs", "dismiss", "everything", "--json").stdout)
    assert (report["dismissed"], report["left_alone"]) == (1, {})
