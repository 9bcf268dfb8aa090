"""jobs rename: a job goes on under another name, in whichever order the project file follows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_support import Run, lines, status_of, sync, write

import mmmeta.jobs.rename
from mmmeta import mmmeta as open_metadir

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      load_all:
        load: {to: "sqlite:///docs.db", table: docs, mode: append}
      fetch:
        download: {to: ./downloads}
"""
RENAMED = PROJECT.replace("load_all", "rows")


@pytest.fixture
def done(project: Path, run: Run, server: Path) -> Path:
    """Rows and documents of three files."""
    text = PROJECT.replace("path: ./client", f"path: ./client\n    files_root: {server}")
    project.write_text(text)
    run("run")
    return project


def rename_in_project(project: Path, old: str = "load_all", new: str = "rows") -> None:
    project.write_text(project.read_text().replace(f"{old}:", f"{new}:"))


def query(database: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement).fetchall()


def receipts(project: Path) -> dict[str, int]:
    return dict(query(project.parent / "docs.db", "SELECT job, count(*) FROM _mmmeta_receipts GROUP BY job"))


def row_count(project: Path) -> int:
    return int(query(project.parent / "docs.db", "SELECT count(*) FROM docs")[0][0])


@pytest.mark.parametrize("first", ["project", "ledger", "update"])
def test_nothing_is_done_anew(done: Path, run: Run, client: Path, server: Path, first: str) -> None:
    """Whether the project file is renamed before or after, and where an update has come between; history goes along."""
    if first != "ledger":
        rename_in_project(done)
    if first == "update":
        run("update")
        assert status_of(client, "rows").pending == 3
    result = run("jobs", "rename", "load_all", "archive/rows")
    assert "archive/load_all: 3 files renamed to rows, with 3 receipts" in result.stdout
    if first == "ledger":
        assert "now rename it in" in result.stderr
        rename_in_project(done)
    assert receipts(done) == {"rows": 3}
    assert "archive/rows: nothing to do" in run("run").stdout
    assert row_count(done) == 3
    assert status_of(client, "rows").done == 3
    assert {entry["job"] for entry in lines(run("jobs", "history", "--json").stdout)} == {"rows", "fetch"}
    assert "no problems" in run("check").stdout
    run("jobs", "history", "load_all", code=2)
    write(server, "d4.json", {"content_hash": "d4", "_file_name": "a1.txt"})
    run("--metadir", server, "generate")
    sync(server, client)
    assert "archive/rows: 1 done" in run("run", "rows").stdout
    assert row_count(done) == 4


def test_places_of_documents_go_along(done: Path, run: Run, client: Path) -> None:
    """They are known as the job's own: nothing is fetched again, and nothing else takes them."""
    rename_in_project(done, "fetch", "documents")
    assert "3 files renamed to documents, with 0 receipts" in run("jobs", "rename", "fetch", "documents").stdout
    assert "archive/documents: nothing to do" in run("run").stdout
    run("jobs", "retry", "documents", "a1")
    assert "archive/documents: 1 done" in run("run").stdout
    assert "no problems" in run("check").stdout
    assert "a1: done" in run("why", "a1", "documents").stdout


def test_a_dry_run_writes_nothing(done: Path, run: Run) -> None:
    """It says what would be."""
    result = run("jobs", "rename", "load_all", "rows", "--dry-run")
    assert "3 files would be renamed to rows, with 3 receipts" in result.stdout
    assert receipts(done) == {"load_all": 3}
    report = json.loads(run("jobs", "rename", "load_all", "rows", "--dry-run", "--json").stdout)
    assert (report["files"], report["receipts"], report["dry_run"]) == (3, 3, True)
    assert "archive/load_all: nothing to do" in run("run").stdout


def test_what_is_refused(done: Path, run: Run, client: Path) -> None:
    """A name that is taken, or none; a job that is not there; a run that is at work."""
    assert "which has worked" in run("jobs", "rename", "load_all", "fetch", code=1).stderr
    for name in ("a-b", "update", "load_all", ""):
        run("jobs", "rename", "load_all", name, code=1)
    assert "stays in archive" in run("jobs", "rename", "load_all", "other/rows", code=2).stderr
    assert "stays in archive" in run("jobs", "rename", "archive/load_all", "a/archive/rows", code=2).stderr
    assert "Did you mean 'load_all'" in run("jobs", "rename", "load_al", "rows", code=2).stderr
    with open_metadir(client) as m:
        job = m.recorded_job("load_all")
        job.retry(files=["a1"])
        (file,) = job.claim()
        assert "a run is at work" in run("jobs", "rename", "load_all", "rows", code=1).stderr
        job.release(file)
    assert receipts(done) == {"load_all": 3}
    run("jobs", "rename", "load_all", "rows")
    # The project file still has the old name, whose files are due again now: that is what the note says.
    assert "would process 3" in run("jobs", "plan", "load_all").stdout
    assert (
        "the ledger knows no job 'load_all'. 'rows' is there"
        in run("jobs", "rename", "load_all", "rows", code=1).stderr
    )


@pytest.mark.parametrize("after", ["copy", "ledger"])
def test_broken_off_it_goes_on(done: Path, run: Run, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """Whichever name the ledger has finds its receipts, and once more ends it."""
    module = mmmeta.jobs.rename
    copied = module._copied

    def copy_and_die(*args: Any, **options: Any) -> int:
        copied(*args, **options)
        raise KeyboardInterrupt

    def die(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, *(("_copied", copy_and_die) if after == "copy" else ("_end", die)))
        run("jobs", "rename", "load_all", "rows", code=None)
    assert receipts(done) == {"load_all": 3, "rows": 3}
    if after == "copy":
        assert "archive/load_all: nothing to do" in run("run").stdout
    else:
        rename_in_project(done)
        assert "archive/rows: nothing to do" in run("run").stdout
    result = run("jobs", "rename", "load_all", "rows")
    assert "renamed to rows, with 3 receipts" in result.stdout
    assert receipts(done) == {"rows": 3}
    if after == "copy":
        rename_in_project(done)
    assert "archive/rows: nothing to do" in run("run").stdout
    assert row_count(done) == 3


def test_a_new_job_of_the_old_name_is_its_own(done: Path, run: Run) -> None:
    """It does all anew, for the receipts went along."""
    run("jobs", "rename", "load_all", "rows")
    assert "archive/load_all: 3 done" in run("run", "load_all").stdout
    assert row_count(done) == 6


def test_a_job_made_in_python(client: Path, run: Run) -> None:
    """The ledger's part; receipts of its own are somebody's own affair, and it says how."""
    with open_metadir(client) as m:
        m.update()
        m.job("mine").run(print)
    result = run("--metadir", client, "jobs", "rename", "mine", "yours")
    assert "3 files renamed to yours, with 0 receipts" in result.stdout
    assert "UPDATE _mmmeta_receipts SET job = 'yours'" in result.stderr
    assert status_of(client, "yours").done == 3
