"""Documents whose names and content a hostile remote chooses: nothing that no job has put there is ever replaced."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, everything

from mmmeta import Metadir, RunReport, load_project
from mmmeta.errors import JobError, ProjectError
from mmmeta.layout import PARTS

CODE = "version: 1\nmetadirs: {}\n"


def beside(archive: Archive, name: str, file_name: str, content: bytes, **keys: Any) -> None:
    """A document beside its metadata file, of a name that nobody looked at."""
    folder = archive.server_path / name
    folder.mkdir(exist_ok=True)
    (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
    (folder / file_name).write_bytes(content)
    archive.write(f"{name}/meta", {"content_hash": name, "_file_name": file_name, **keys})


def run(archive: Archive, target: Path, **rules: Any) -> RunReport:
    with Metadir(archive.client_path, archive.server_path) as client:
        job = client.job("j", download={"to": str(target)}, attempts=1, **rules)
        if client.layout.state.exists() and "j" in client.status().jobs:
            job.retry(dead=True)
        return job.run()


def messages(report: RunReport) -> dict[str, str]:
    return {failure.file: failure.message for failure in report.failures}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("size", [None, len(b"the remote's"), 5], ids=["nothing known", "its size", "another size"])
def test_what_no_job_put_there_is_left(archive: Archive, target: Path, size: int | None) -> None:
    """Whatever it is; the failure names it and says what to do, at every attempt, and the others are done."""
    (target / "mine.txt").write_text("mine        ")
    (target / "link.txt").symlink_to("mine.txt")
    (target / "nowhere.txt").symlink_to("nothing")
    (target / "folder.txt").mkdir()
    os.mkfifo(target / "pipe.txt")
    names = ["mine", "link", "nowhere", "folder", "pipe", "new"]
    for name in names:
        beside(archive, name, f"{name}.txt", b"the remote's", **({} if size is None else {"size": size}))
    archive.deliver()
    for _ in range(3):
        report = run(archive, target)
        assert set(messages(report)) >= set(names) - {"new"}
        for name in set(names) - {"new"}:
            assert f"{name}.txt" in messages(report)[name]
        if size is None:
            assert "no job has put there" in messages(report)["mine"]
    assert (target / "mine.txt").read_text() == "mine        "
    assert os.readlink(target / "link.txt") == "mine.txt"
    assert os.readlink(target / "nowhere.txt") == "nothing"
    assert (target / "folder.txt").is_dir()


def test_the_very_document_that_stands_there_is_taken_for_done(archive: Archive, target: Path) -> None:
    """With a digest and without one; from then on it is the job's, and a later version takes its place."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    (archive.server.layout.metadir / "config.yml").write_text("metadata: {unique: id}\n")
    (target / "a.txt").write_bytes(b"the document")
    before = (target / "a.txt").stat()
    beside(archive, "a", "a.txt", b"the document", id="a")
    archive.deliver()
    assert run(archive, target).done == 1
    assert (target / "a.txt").stat().st_ino == before.st_ino
    beside(archive, "a", "a.txt", b"its second version", id="a", content_hash="a2")
    archive.deliver()
    assert run(archive, target).done == 1
    assert (target / "a.txt").read_bytes() == b"its second version"


def test_a_document_put_by_hand_after_a_failure_is_left(archive: Archive, target: Path) -> None:
    """A failure gives nobody a right to what a person puts there meanwhile."""
    archive.write("a", _file_name="a.txt")
    archive.deliver()
    assert list(messages(run(archive, target))) == ["a"]
    (target / "a.txt").write_bytes(b"by hand")
    (archive.server_path / "a.txt").write_bytes(b"the remote's")
    assert "no job has put there" in messages(run(archive, target))["a"]
    assert (target / "a.txt").read_bytes() == b"by hand"


def test_what_comes_where_a_document_was_removed_is_left(archive: Archive, target: Path) -> None:
    """Undone, its place is nobody's."""
    beside(archive, "a", "a.txt", b"first")
    archive.deliver()
    assert run(archive, target, on_delete="action").done == 1
    archive.server.files.delete(content_hash="a")
    archive.sync()
    archive.client.update()
    assert run(archive, target, on_delete="action").retracted == 1
    (target / "a.txt").write_bytes(b"by hand")
    beside(archive, "b", "a.txt", b"second")
    archive.deliver()
    assert "no job has put there" in messages(run(archive, target, on_delete="action"))["b"]
    assert (target / "a.txt").read_bytes() == b"by hand"


PROJECT = """
version: 1
metadirs:
  archive:
    path: ./archive
    state: ./states/one.db
    jobs:
      fetch:
        download: {{to: {to}}}
      rows:
        load: {{to: "sqlite:///data/rows.db", table: x}}
      code:
        call: {{function: my_jobs.extract:one}}
      program:
        command: {{run: [./bin/extract, ./scripts/all.py, "{{__path}}"]}}
"""


def project(tmp_path: Path, to: str) -> Path:
    for folder in ("bin", "scripts", "downloads", "archive"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "scripts" / "all.py").write_text("")
    path = tmp_path / "mmmeta.yaml"
    path.write_text(PROJECT.format(to=to))
    return path


@pytest.mark.parametrize(
    ("to", "what"),
    [
        (".", "the project file mmmeta.yaml"),
        ("./", "the project file mmmeta.yaml"),
        ("..", "the project file mmmeta.yaml"),
        ("/", "holds "),
        ("./downloads/..", "the project file mmmeta.yaml"),
        ("./link", "the project file mmmeta.yaml"),
        ("./states", "the state db"),
        ("./data", "the database of the job 'rows'"),
        ("./my_jobs", "the code of the job 'code'"),
        ("./my_jobs/extract", "the code of the job 'code'"),
        ("./bin", "which the job 'program' runs"),
        ("./scripts", "which the job 'program' runs"),
        ("./archive/_mmmeta", "lies in a folder of mmmeta's own"),
        ("./archive/_mmmeta/local", "lies in a folder of mmmeta's own"),
    ],
)
def test_a_target_that_holds_something_else_is_refused_when_it_is_loaded(tmp_path: Path, to: str, what: str) -> None:
    """With file, line and key."""
    (tmp_path / "link").symlink_to(".")
    path = project(tmp_path, to)
    with pytest.raises(ProjectError, match=r"download\.to") as caught:
        load_project(path)
    assert what in str(caught.value)
    assert "folder of its own" in str(caught.value)


def test_a_target_that_python_imports_from_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new module is enough; also for a job that is made in Python."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "downloads" / "lib")])
    (tmp_path / "downloads" / "lib").mkdir(parents=True)
    with pytest.raises(ProjectError, match="from where Python imports"):
        load_project(project(tmp_path, "./downloads"))
    archive = Archive(tmp_path / "made")
    archive.write("a", _file_name="a.txt")
    archive.deliver()
    job = archive.client.job("j", download={"to": str(tmp_path / "downloads")})
    with pytest.raises(JobError, match="from where Python imports"):
        job.run()
    archive.close()


@pytest.mark.parametrize("to", ["./downloads", "./archive", "./archive/documents", "/tmp/elsewhere"])
def test_a_folder_of_its_own_is_fine(tmp_path: Path, to: str) -> None:
    """Also the archive's: no document's name has the metadir in it."""
    assert load_project(project(tmp_path, to)).metadirs["archive"].jobs["fetch"].download


def test_a_document_named_like_the_project_file_stays_a_document(archive: Archive, target: Path) -> None:
    """Where a job in Python downloads beside it, all the same."""
    (target / "mmmeta.yaml").write_text(CODE)
    beside(archive, "a", "mmmeta.yaml", b"version: 1 # and a command")
    archive.deliver()
    before = everything(target)
    assert "no job has put there" in messages(run(archive, target))["a"]
    assert everything(target) == before


@pytest.mark.parametrize("workers", [1, 4])
def test_no_document_is_lost_to_anothers_temporary_file(archive: Archive, target: Path, workers: int) -> None:
    """Temporary files lie where no name from the remote leads, and are gone after the run."""
    names = [
        "a.txt",
        ".part",
        f".{hashlib.blake2b(b'a.txt', digest_size=8).hexdigest()}.part",
        "x/a.txt",
        "tmpabcdefgh",
    ]
    for number, name in enumerate(names):
        beside(archive, f"f{number}", name, name.encode())
    archive.deliver()
    report = run(archive, target, workers=workers)
    assert report.done == len(names)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert found == set(names)
    assert not (target / PARTS).exists()


@pytest.mark.parametrize(
    "name",
    [
        f"{PARTS}/x",
        f"x/{PARTS}/y",
        f"{PARTS.upper()}/x",
        f"{PARTS}. /x",
        "_mm\u200dparts/x",
        "\uff3fmmparts/x",
        PARTS,
        "_mm\u2060meta/x",
        "_MMMETA/x",
        "\uff3fmmmeta/config.yml",
        "_mmmeta",
    ],
)
def test_names_of_mmmetas_own_folders_are_refused(archive: Archive, target: Path, name: str) -> None:
    """However a file system might read them."""
    archive.write("a", _file_name=name)
    archive.deliver()
    assert "mmmeta's own" in messages(run(archive, target))["a"]
    assert everything(target) == {}


def test_what_killed_processes_left_is_cleared_away(archive: Archive, target: Path) -> None:
    """And what another process writes just now is not."""
    beside(archive, "a", "a.txt", b"a")
    archive.deliver()
    parts = target / PARTS
    parts.mkdir()
    (parts / "left").write_bytes(b"half")
    with (parts / "busy").open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert run(archive, target).done == 1
        assert os.listdir(parts) == ["busy"]
    assert run(archive, target).done == 0
    (parts / "busy").unlink()
    parts.rmdir()
    parts.symlink_to(target.parent)
    beside(archive, "b", "b.txt", b"b")
    archive.deliver()
    assert "is in the way" in messages(run(archive, target))["b"]
