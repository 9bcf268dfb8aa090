"""What is done elsewhere than where a job points now is said until a person decides."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Job, Metadir
from mmmeta.project import job_config


@pytest.fixture
def archive(archive: Archive) -> Archive:
    for name in "abc":
        (archive.server_path / name).mkdir()
        (archive.server_path / name / "doc.txt").write_text(name)
        record = {"content_hash": name, "_file_name": "doc.txt", "title": name}
        (archive.server_path / name / "doc.json").write_text(json.dumps(record))
    archive.deliver()
    archive.client = Metadir(archive.client_path, archive.server_path)
    return archive


def job_of(archive: Archive, job: str = "j", **rules: Any) -> Job:
    return archive.client.job(job, **rules)


def load(path: object, table: str = "docs") -> dict[str, Any]:
    return {"load": {"to": f"sqlite:///{path}", "table": table}}


def download(to: object, name: str = "{title}") -> dict[str, Any]:
    return {"download": {"to": str(to), "name": name}}


def before_and_after(change: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A definition, the same with one thing changed."""
    return {
        "database": (load(folder / "docs.db"), load(folder / "docs_neu.db")),
        "table": (load(folder / "docs.db"), load(folder / "docs.db", "other")),
        "folder": (download(folder / "one"), download(folder / "two")),
        "name": (download(folder / "one"), download(folder / "one", "{title}.txt")),
        "action": (load(folder / "docs.db"), download(folder / "one")),
    }[change]


CHANGES = ("database", "table", "folder", "name", "action")


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_said_at_every_run_until_it_is_done_again(change: str, archive: Archive, tmp_path: Path) -> None:
    """By run, plan, results and check; what is done again is where the job points, and nothing is said any more."""
    before, after = before_and_after(change, tmp_path)
    first = job_of(archive, **before).run()
    assert (first.done, first.elsewhere) == (3, None)
    job = job_of(archive, **after)
    for _ in range(2):
        report = job.run()
        assert report.done == 0
        assert report.elsewhere is not None
        assert report.elsewhere.startswith("3 files are done elsewhere than where the job points now: 3 ")
    assert job.plan().elsewhere == job.elsewhere() == job.results().elsewhere == report.elsewhere
    with Metadir(archive.client_path, archive.server_path, jobs={"j": job.config}) as client:
        (problem,) = client.check().named
    assert (problem.file, problem.message.startswith(report.elsewhere)) == (None, True)
    assert "`mmmeta jobs retry j --elsewhere`" in problem.message
    assert "`mmmeta jobs adopt j --elsewhere`" in problem.message
    assert (job.retry(elsewhere=True, dry_run=True), job.retry(elsewhere=True)) == (3, 3)
    report = job.run()
    assert (report.done, report.elsewhere, job.elsewhere()) == (3, None, None)
    assert job.results().missing == 0
    with sqlite3.connect(archive.client.layout.state) as connection:
        # Nobody has to look for what is nowhere else any more.
        assert connection.execute("SELECT count(*) FROM targets").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("change", CHANGES)
def test_it_may_be_taken_as_it_is(change: str, archive: Archive, tmp_path: Path) -> None:
    """Then nothing is said, and the check finds it where it is; a further change is another matter."""
    before, after = before_and_after(change, tmp_path)
    job_of(archive, **before).run()
    job = job_of(archive, **after)
    assert (job.adopt_elsewhere(dry_run=True), job.adopt_elsewhere(), job.adopt_elsewhere()) == (3, 3, 0)
    report = job.run()
    assert (report.done, report.elsewhere, job.plan().elsewhere) == (0, None, None)
    with Metadir(archive.client_path, archive.server_path, jobs={"j": job.config}) as client:
        assert client.check().named == (() if change != "action" else client.check().named)
    (archive.server_path / "d").mkdir()
    (archive.server_path / "d" / "doc.txt").write_text("d")
    record = {"content_hash": "d", "_file_name": "doc.txt", "title": "d"}
    (archive.server_path / "d" / "doc.json").write_text(json.dumps(record))
    archive.deliver()
    assert job_of(archive, **after).run().done == 1
    elsewhere = job_of(archive, **load(tmp_path / "third.db")).elsewhere()
    assert elsewhere is not None
    assert elsewhere.startswith("1 file is done elsewhere")


def test_who_points_back_is_asked_anew_later(archive: Archive, tmp_path: Path) -> None:
    """What was accepted counts for what was there then."""
    one, two = load(tmp_path / "one.db"), load(tmp_path / "two.db")
    job_of(archive, **one).run()
    job_of(archive, **two).adopt_elsewhere()
    job = job_of(archive, **one)
    job.retry(done=True)
    assert job.run().done == 3
    assert job_of(archive, **two).elsewhere() is not None


def test_another_spelling_is_not_elsewhere(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a database and of a folder."""
    monkeypatch.chdir(tmp_path)
    job_of(archive, **load(tmp_path / "docs.db")).run()
    for url in ("docs.db", "./x/../docs.db"):
        assert job_of(archive, **load(url)).elsewhere() is None
    rules = {"load": {"to": f"sqlite+pysqlite:///{tmp_path}/docs.db?timeout=5", "table": "docs"}}
    assert job_of(archive, **rules).elsewhere() is None
    (tmp_path / "docs").mkdir()
    (tmp_path / "link").symlink_to("docs")
    assert job_of(archive, "k", **download("docs")).run().done == 3
    assert job_of(archive, "k", **download("link/")).elsewhere() is None


def test_a_function_points_nowhere(archive: Archive, tmp_path: Path) -> None:
    """Nobody knows where it puts things."""
    job_of(archive, **load(tmp_path / "docs.db")).run()
    assert job_of(archive).run(lambda file: None).elsewhere is None


def test_deleted_files_are_nobodys_wish(archive: Archive, tmp_path: Path) -> None:
    """They cannot be done again."""
    job_of(archive, **load(tmp_path / "docs.db")).run()
    archive.server.files.delete(content_hash=["a", "b", "c"])
    archive.sync()
    archive.client.update(allow_mass_delete=True)
    assert job_of(archive, **load(tmp_path / "new.db")).run().elsewhere is None


def test_a_definition_that_is_told_without_opening_anything() -> None:
    """Neither the database nor its folder is made by asking where a job points."""
    from mmmeta.jobs.elsewhere import pointing_of

    config = job_config("j", load={"to": "postgresql://u:secret@nowhere.example/db", "table": "t"})
    pointing = pointing_of(config)
    assert pointing is not None
    assert pointing.target == "postgresql://nowhere.example:5432/db, table 't'"
