"""One project file runs on SQLite in one process, and on PostgreSQL with shards: two lines differ, and nothing else."""

from __future__ import annotations

import difflib
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from executing import execute, metadata
from postgres import emptied_server
from small_archive import Archive

pytestmark = pytest.mark.services

SMALL = """version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    state: ./client/_mmmeta/local/state.db
    shards: 0
    jobs:
      look:
        where: {document_type: letter}
        call: {function: "shared_actions:look"}
        batch_size: 1
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents}
      download_contracts:
        where: {document_type: contract}
        download: {to: ./downloads, name: "{_file_name}"}
"""

ACTIONS = """
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def look(file):
    with (HERE / "looked.txt").open("a") as out:
        print(file["_file_name"], os.getpid(), file=out)
    helpers = HERE / "helpers"
    if helpers.exists():
        number = int(helpers.read_text())
        helpers.unlink()
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_work"]
        with (HERE / "helped.txt").open("wb") as out:
            started = [subprocess.Popen(command, cwd=HERE, stdout=out, stderr=out) for _ in range(number)]
            assert [process.wait(240) for process in started] == [0] * number
"""
"""At the first file, as many processes help as the file ``helpers`` says."""


def outcome(root: Path, monkeypatch: pytest.MonkeyPatch, project: str, helpers: int) -> dict[str, Any]:
    """What is in the targets after an import, what was told of it, and how many processes worked."""
    root.mkdir()
    (root / "shared_actions.py").write_text(ACTIONS)
    archive = Archive(root)
    archive.configure(project)
    for number in range(9):
        archive.write(f"letter{number}", "letter")
    for number in range(3):
        archive.write(f"contract{number}", "contract")
    archive.publish()
    if helpers:
        (root / "helpers").write_text(str(helpers))
    monkeypatch.setenv("PYTHONPATH", str(root), prepend=os.pathsep)
    monkeypatch.syspath_prepend(root)
    monkeypatch.delitem(sys.modules, "shared_actions", raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(archive, instance)
        assert result.success
        told = {name: metadata(result, name)["done"] for name in ("look", "load_all", "download_contracts")}
    looked = [line.split() for line in (root / "looked.txt").read_text().splitlines()]
    with sqlite3.connect(root / "loaded.db") as loaded:
        rows = loaded.execute("SELECT content_hash, _file_name FROM documents ORDER BY 1").fetchall()
    loaded.close()
    return {
        "told": told,
        "looked": sorted(name for name, _ in looked),
        "rows": rows,
        "downloads": archive.downloads,
        "standing": {name: (job.done, job.pending, job.claimed) for name, job in archive.status.jobs.items()},
        "processes": len({pid for _, pid in looked}),
    }


def test_shared_ledger_and_shards_are_two_lines_of_the_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same is done, once, and told of in the same numbers, by one process here and three there."""
    large = SMALL.replace("state: ./client/_mmmeta/local/state.db", f"state: {emptied_server()}").replace(
        "shards: 0", "shards: 4"
    )
    changed = [line for line in difflib.ndiff(SMALL.splitlines(), large.splitlines()) if line[0] in "+-"]
    assert [line.split(":")[0].split()[-1] for line in changed if line[0] == "+"] == ["state", "shards"]
    assert len(changed) == 4
    alone = outcome(tmp_path / "alone", monkeypatch, SMALL, helpers=0)
    together = outcome(tmp_path / "together", monkeypatch, large, helpers=2)
    assert alone.pop("processes") == 1
    assert together.pop("processes") >= 2
    assert together == alone
    assert alone["told"] == {"look": 9, "load_all": 12, "download_contracts": 3}
