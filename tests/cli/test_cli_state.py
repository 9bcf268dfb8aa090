"""mmmeta state: a copy of the state db, and back."""

from __future__ import annotations

from pathlib import Path

from cli_support import Run, status_of

from mmmeta import mmmeta
from mmmeta.state.liveness import Worker


def test_backup_and_restore(ran: Path, run: Run, tmp_path: Path) -> None:
    """It says what it did and what was kept; status.json tells of what is there now."""
    copy = tmp_path / "copy.db"
    assert f"archive: copied to {copy} (revision 1)\n" == run("state", "backup", copy).stdout
    run("jobs", "forget", "contracts", "--yes")
    text = run("state", "restore", copy).stdout
    assert "what was there is in " in text
    assert "state.db.before-restore" in text
    assert status_of(ran.parent / "client", "contracts").done == 2
    run("state", "restore", tmp_path / "none.db", code=1)


def test_restore_is_refused_while_jobs_run(ran: Path, run: Run, tmp_path: Path) -> None:
    """And says what to do."""
    copy = tmp_path / "copy.db"
    run("state", "backup", copy)
    with mmmeta(ran.parent / "client") as metadir:
        worker = Worker(metadir.layout.workers)
        worker.start()
        assert "1 worker is at work" in run("state", "restore", copy, code=1).stderr
        worker.stop()
