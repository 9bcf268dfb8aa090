"""jobs forget: it asks before."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Run, lines, rows


def test_forget_asks_or_is_told(ran: Path, tmp_path: Path, run: Run) -> None:
    """Without a terminal it refuses; with --yes the next run does every file again."""
    assert "add --yes" in run("jobs", "forget", "contracts", code=2).stderr
    assert "2 files would be forgotten" in run("jobs", "forget", "contracts", "--dry-run").stdout
    assert rows(run("jobs").stdout)[0][4] == "2"
    assert "archive/contracts: 2 files forgotten" in run("jobs", "forget", "contracts", "--yes").stdout
    assert "2 done" in run("run", "contracts").stdout
    assert (tmp_path / "seen").read_text().split().count("a1") == 3


@pytest.mark.parametrize(("answer", "left"), [("n", 2), ("y", 0)])
def test_forget_on_a_terminal(ran: Path, run: Run, answer: str, left: int) -> None:
    """The question says what is at stake."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "mmmeta", "jobs", "forget", "contracts"]
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        _, asked = asking.communicate(timeout=30)
        os.close(ours)
    assert "forget what is known of 2 files" in asked
    assert asking.returncode == (0 if answer == "y" else 1)
    (report,) = lines(run("jobs", "--json").stdout)
    jobs = report["jobs"]
    assert isinstance(jobs, list)
    assert jobs[0]["done"] == (left or None)
