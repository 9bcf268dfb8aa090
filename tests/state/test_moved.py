"""moved: results of jobs that lie elsewhere now are found there, undone there, and not made again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta.errors import StateDbError
from mmmeta.state.ledger.sqlite.moving import relocated
from mmmeta.state.liveness import Worker
from mmmeta.state.moved import moved


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("/a/b", "/n"),
        ("/a/b/c", "/n/c"),
        ("/a/bc", None),
        ("/x/a/b", None),
        ("sqlite:////a/b/x.db, table 't'", "sqlite:////n/x.db, table 't'"),
        ("sqlite:////a/b, table 't'", "sqlite:////n, table 't'"),
        ("postgresql://localhost/a/b, table 't'", None),
    ],
)
def test_only_whole_names_count(target: str, there: str | None) -> None:
    assert relocated(target, "/a/b", "/n") == there


def jobs(archive: Archive, root: Path, **rules: Any) -> list[Any]:
    archive.client.layout.__dict__["files_root"] = archive.server_path
    return [
        archive.client.job("get", download={"to": str(root / "down"), "name": "{t}.txt"}, where={}, **rules),
        archive.client.job("load", load={"to": f"sqlite:///{root}/t.db", "table": "d"}, where={}, **rules),
    ]


@pytest.fixture
def worked(archive: Archive) -> Archive:
    for name in "ab":
        archive.write(name, t=name.upper(), _file_name=f"{name}.txt")
        (archive.server_path / f"{name}.txt").write_text(name)
    archive.deliver()
    root = archive.root / "old"
    root.mkdir()
    assert [job.run().done for job in jobs(archive, root)] == [2, 2]
    return archive


def test_a_folder_that_was_renamed(worked: Archive) -> None:
    """Nothing is done elsewhere, nothing again; a deleted file's document and row go at the new place."""
    old, new = worked.root / "old", worked.root / "new"
    os.rename(old, new)
    assert all(job._bench.elsewhere() for job in jobs(worked, new))
    layout = worked.client.layout
    dry = moved(layout, old, new, dry_run=True)
    assert (dry.jobs, dry.still_there) == ({"get": 2, "load": 2}, False)
    assert all(job._bench.elsewhere() for job in jobs(worked, new))
    assert moved(layout, old, new).jobs == dry.jobs
    assert not any(job._bench.elsewhere() for job in jobs(worked, new))
    assert [job.run().done for job in jobs(worked, new)] == [0, 0]
    worked.remove("a")
    worked.publish(ensure=True)
    worked.client.update()
    assert [job.run().retracted for job in jobs(worked, new, on_delete="action")] == [1, 1]
    assert sorted(path.name for path in (new / "down").glob("*.txt")) == ["B.txt"]
    # A name that another file has stays another file's.
    worked.write("c", t="b", _file_name="c.txt")
    (worked.server_path / "c.txt").write_text("c")
    worked.deliver()
    assert jobs(worked, new)[0].run().failed == 1


def test_there_and_back(worked: Archive) -> None:
    """Also where a job had results at the new place before."""
    old, new = worked.root / "old", worked.root / "new"
    new.mkdir()
    worked.write("c", t="C", _file_name="a.txt")
    worked.deliver()
    assert [job.run().done for job in jobs(worked, new)] == [1, 1]
    layout = worked.client.layout
    assert moved(layout, old, new).still_there
    assert not any(job._bench.elsewhere() for job in jobs(worked, new))
    assert moved(layout, new, old).jobs == {"get": 3, "load": 3}
    assert not any(job._bench.elsewhere() for job in jobs(worked, old))


def test_a_folder_is_no_database_and_a_database_no_folder(worked: Archive) -> None:
    """As after ``mv t.db data/``, whose second word is a folder; and what is there has to be a database. Nothing is changed."""
    old, layout = worked.root / "old", worked.client.layout
    new = worked.root / "new"
    new.mkdir()
    os.rename(old / "t.db", new / "t.db")
    (new / "notes.txt").write_text("none")
    for one, other, text in [
        (old / "t.db", new, "name the file in it"),
        (old / "t.db", new / "notes.txt", "is no SQLite database"),
        (old / "down", new / "notes.txt", "is no folder"),
        (old, new / "t.db", "is no folder"),
    ]:
        for dry_run in (True, False):
            with pytest.raises(StateDbError, match=text):
                moved(layout, one, other, dry_run=dry_run)
    assert moved(layout, old / "t.db", new / "t.db").jobs == {"load": 2}


def test_what_makes_no_sense_is_refused(worked: Archive, tmp_path: Path) -> None:
    """Nothing at the new place, nothing known of the old one, the same place, a worker, no state db."""
    old, layout = worked.root / "old", worked.client.layout
    for one, other, text in [
        (old, worked.root / "nowhere", "nothing at"),
        (worked.root / "else", old, "no job has put"),
        (old, old, "same place"),
    ]:
        with pytest.raises(StateDbError, match=text):
            moved(layout, one, other)
    (worked.root / "new").mkdir()
    worker = Worker(layout.workers)
    worker.start()
    with pytest.raises(StateDbError, match="1 worker is at work"):
        moved(layout, old, worked.root / "new")
    worker.stop()
    with pytest.raises(StateDbError, match="nothing to tell"):
        moved(Archive(tmp_path / "other").client.layout, old, worked.root / "new")
