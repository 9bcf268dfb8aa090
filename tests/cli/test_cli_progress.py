"""The progress bar: who sees it, and when."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import command

from mmmeta.cli.progress import rate


def test_progress_bar_only_on_a_terminal_and_only_for_long_work(slow_project: Path, tmp_path: Path) -> None:
    """On stderr; a pipe gets none of it."""
    assert command("run").stderr == ""
    shutil.rmtree(tmp_path / "client" / "_mmmeta" / "local")
    terminal, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "mmmeta", "run"], stdout=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError):  # a terminal ends with an error
            while block := os.read(terminal, 4096):
                drawn += block
        os.close(terminal)
        assert running.stdout is not None
        plain = running.stdout.read()
    assert b"slow" in drawn
    assert b"/s" in drawn
    assert b"\x1b" not in plain
    assert plain.decode().splitlines()[-1].startswith("archive/slow: 3 done")


@pytest.mark.parametrize(
    ("speed", "text"), [(12345.6, "12,346/s"), (12.3, "12/s"), (2.54, "2.5/s"), (0.2, "12/min"), (0.01, "0.6/min")]
)
def test_rate(speed: float, text: str) -> None:
    """Slow work is not "0/s"."""
    assert rate(speed) == text
