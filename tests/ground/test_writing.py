"""Files that are written aside and renamed in: what killed writers leave does not become more."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from mmmeta.writing import write_atomic

KILLED = """
import os, signal, sys
from pathlib import Path
from mmmeta.writing import write_atomic
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), b"killed")
"""


def test_writers_that_are_killed_beside_another_leave_no_more_each_time(tmp_path: Path) -> None:
    """The usual temporary name is in use: the next one is taken, and taken over by whoever comes after."""
    path = tmp_path / "status.json"
    path.write_bytes(b"before")
    with (tmp_path / ".status.json.tmp").open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        for _ in range(4):
            assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -9
        assert len(list(tmp_path.glob(".*.tmp"))) == 2
        assert path.read_bytes() == b"before"
        write_atomic(path, b"after")
        assert path.read_bytes() == b"after"
        assert [left.name for left in tmp_path.glob(".*.tmp")] == [".status.json.tmp"]


def test_where_all_names_are_in_use_another_is_found(tmp_path: Path) -> None:
    """However many write at the same time; nobody waits, and nobody writes into another's file."""
    path = tmp_path / ("x" * 200)
    held = []
    for number in range(40):
        held.append((tmp_path / f".{path.name}{number or ''}.tmp").open("wb"))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
    before = len(list(tmp_path.iterdir()))
    write_atomic(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == before + 1
    assert all(Path(file.name).stat().st_size == 0 for file in held)
    for file in held:
        file.close()
