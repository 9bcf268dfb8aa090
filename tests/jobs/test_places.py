"""Places of documents and rows: undone wherever they were put, one document to a place, the newest version in it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from sql_target import query

from mmmeta import Job, Metadir, RunReport


class Mirror:
    """A server's documents, and a client that has jobs with them.

    Attributes:
        target: folder of the downloads.
    """

    def __init__(self, archive: Archive, root: Path, unique: str = "content_hash") -> None:
        self.archive, self.root, self.target = archive, root, root / "target"
        archive.server.layout.metadir.mkdir(exist_ok=True)
        (archive.server.layout.metadir / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
        self.client = Metadir(archive.client_path, archive.server_path)

    def write(self, name: str, content: str = "", **keys: Any) -> str:
        """A document with its metadata file; gives its digest."""
        folder = self.archive.server_path / name
        folder.mkdir(exist_ok=True)
        digest = hashlib.sha1((content or name).encode()).hexdigest()
        values = {"content_hash": digest, "_file_name": "doc.txt", "id": name, "title": name, **keys}
        (folder / values["_file_name"]).write_text(content or name)
        (folder / "doc.json").write_text(json.dumps(values))
        return digest

    def remove(self, *names: str) -> None:
        for name in names:
            for path in (self.archive.server_path / name).iterdir():
                path.unlink()

    def publish(self) -> None:
        """What is there; what is gone stays known."""
        self.archive.server.generate()
        self.archive.sync()
        self.client.update()

    def update(self) -> None:
        """What is there, and what is gone."""
        self.archive.server.generate(ensure=True, allow_mass_delete=True)
        self.archive.sync()
        self.client.update(allow_mass_delete=True)

    def job(self, name: str = "{title}", to: str = "target", job: str = "j", **rules: Any) -> Job:
        return self.client.job(
            job, download={"to": str(self.root / to), "name": name}, **{"on_delete": "action", **rules}
        )

    def there(self, folder: str = "target") -> dict[str, str]:
        root = self.root / folder
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def by_id(archive: Archive, tmp_path: Path) -> Any:
    mirror = Mirror(archive, tmp_path, "id")
    yield mirror
    mirror.client.close()


@pytest.fixture
def by_content(archive: Archive, tmp_path: Path) -> Any:
    mirror = Mirror(archive, tmp_path)
    yield mirror
    mirror.client.close()


def failures(report: RunReport) -> dict[str, str]:
    return {failure.file: f"{failure.error_type}: {failure.message}" for failure in report.failures}


# Undone means gone


@pytest.mark.parametrize("change", ["title", "name", "folder", "all of it"])
@pytest.mark.parametrize("again", [True, False])
def test_a_takedown_reaches_every_document_of_a_file(change: str, again: bool, by_id: Mirror) -> None:
    """Under its old names and in its old folders, too, whether it was done anew there or not."""
    by_id.write("a", "first")
    by_id.write("keep")
    by_id.update()
    assert by_id.job().run().done == 2
    title = "other" if change in ("title", "all of it") else "a"
    name = "x/{title}.txt" if change in ("name", "all of it") else "{title}"
    to = "new" if change in ("folder", "all of it") else "target"
    by_id.write("a", "second" if again else "first", title=title)
    by_id.update()
    assert by_id.job(name, to).run().done == again
    by_id.remove("a")
    by_id.update()
    report = by_id.job(name, to).run()
    assert (report.retracted, report.failed) == (1, 0)
    assert {**by_id.there(), **by_id.there("new")} == {"keep": "keep"}


def test_what_cannot_be_removed_is_said_and_not_called_undone(by_id: Mirror) -> None:
    """What can be is; a person mends the rest, and it is tried again."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="new")
    by_id.update()
    by_id.job().run()
    (by_id.target / "a").write_text("edited by hand")
    by_id.remove("a")
    by_id.update()
    job = by_id.job(attempts=1)
    report = job.run()
    assert (report.retracted, list(failures(report))) == (0, ["a"])
    assert f"{by_id.target}/a has another sha1" in failures(report)["a"]
    assert by_id.there() == {"a": "edited by hand"}
    (by_id.target / "a").unlink()
    job.retry(dead=True)
    assert job.run().retracted == 1


def test_a_folder_that_is_away_is_not_undone(by_id: Mirror) -> None:
    """The old one as little as the present one."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second")
    by_id.update()
    by_id.job(to="new").run()
    by_id.remove("a")
    by_id.update()
    by_id.target.rename(by_id.root / "unmounted")
    report = by_id.job(to="new", backoff=0, attempts=1).run()
    assert f"{by_id.target}: the folder is not there" in failures(report)["a"]


def test_a_document_that_nobody_knows_of_is_not_undone(by_id: Mirror) -> None:
    """A loop of somebody's own did it, wherever it has put it."""
    by_id.write("a")
    by_id.update()
    job = by_id.job(attempts=1)
    job.done(*job.claim())
    by_id.remove("a")
    by_id.update()
    assert "nobody knows where its document is" in failures(job.run())["a"]
    assert job.dismiss() == 1


def test_another_action_does_not_undo_what_the_one_before_has_left(by_id: Mirror) -> None:
    """It says where that is."""
    by_id.write("a")
    by_id.update()
    by_id.job().run()
    by_id.remove("a")
    by_id.update()
    seen: list[str] = []
    report = by_id.client.job("j", on_delete="action").run(lambda file: seen.append(file.unique_value))
    assert (seen, report.retracted) == (["a"], 0)
    assert f"still there: a in {by_id.target}" in failures(report)["a"]
    assert by_id.there() == {"a": "a"}


def test_a_version_that_never_came_does_not_hide_the_one_that_did(by_id: Mirror) -> None:
    """Published and deleted before anybody fetched it: the document of the first is removed."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second")
    by_id.update()
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {}


def test_a_name_that_changes_its_case_only(by_id: Mirror) -> None:
    """Is one place, and on most disks two documents: both are undone."""
    by_id.write("a", "first", title="Report")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="report")
    by_id.update()
    assert by_id.job().run().done == 1
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {}


def test_an_old_name_that_another_file_has_by_now(by_id: Mirror) -> None:
    """Its document is not touched."""
    by_id.write("a", "first", title="report")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="other")
    by_id.update()
    by_id.job().run()
    by_id.write("b", "another", title="report")
    by_id.update()
    assert by_id.job().run().done == 1
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {"report": "another"}


@pytest.mark.parametrize("change", ["table", "database"])
@pytest.mark.parametrize("again", [True, False])
def test_rows_are_taken_out_of_every_table(change: str, again: bool, by_id: Mirror) -> None:
    """Of another table of the database, and of another file."""
    to, table = ("new.db", "docs") if change == "database" else ("old.db", "documents")

    def load(to: str, table: str) -> Job:
        action = {"to": f"sqlite:///{by_id.root}/{to}", "table": table}
        return by_id.client.job("j", load=action, on_delete="action", attempts=1)

    def rows(to: str, table: str) -> list[Any]:
        return query(f"sqlite:///{by_id.root}/{to}", f"SELECT id FROM {table}")

    by_id.write("a", "first")
    by_id.write("keep")
    by_id.update()
    load("old.db", "docs").run()
    by_id.write("a", "second" if again else "first")
    by_id.update()
    assert load(to, table).run().done == again
    by_id.remove("a")
    by_id.update()
    report = load(to, table).run()
    assert (report.retracted, failures(report)) == (1, {})
    assert rows("old.db", "docs") == [("keep",)]
    if again:
        assert rows(to, table) == []


def test_a_database_that_is_away_is_not_undone(by_id: Mirror) -> None:
    """It is no proof that the row is gone, and no new one is made in its place."""
    by_id.write("a")
    by_id.update()
    load = {"to": f"sqlite:///{by_id.root}/docs.db", "table": "docs"}
    by_id.client.job("j", load=load, on_delete="action").run()
    by_id.remove("a")
    by_id.update()
    (by_id.root / "docs.db").rename(by_id.root / "moved.db")
    report = by_id.client.job("j", load=load, on_delete="action").run()
    assert "the database is not there" in failures(report)["a"]


# One document to a place


def test_of_equal_documents_one_stays(by_content: Mirror, archive: Archive) -> None:
    """Two files with one document under one name: both are done, and it goes with the last of them."""
    (archive.server.layout.metadir / "config.yml").write_text("metadata: {unique: id}\n")
    for name in "ab":
        by_content.write(name, "the same", title="report")
    by_content.update()
    job = by_content.job()
    assert job.run().done == 2
    for name, left in (("b", {"report": "the same"}), ("a", {})):
        by_content.remove(name)
        by_content.update()
        assert job.run().retracted == 1
        assert by_content.there() == left


def test_equal_documents_that_go_together(by_id: Mirror) -> None:
    """Nobody leaves it for the other."""
    for name in "ab":
        by_id.write(name, "the same", title="report")
    by_id.update()
    assert by_id.job().run().done == 2
    by_id.remove("a", "b")
    by_id.update()
    assert by_id.job().run().retracted == 2
    assert by_id.there() == {}


def test_a_new_version_of_one_of_two_equal_documents(by_id: Mirror) -> None:
    """Does not take the place of the other one."""
    for name in "ab":
        by_id.write(name, "the same", title="report")
    by_id.update()
    assert by_id.job().run().done == 2
    by_id.write("b", "changed", title="report")
    by_id.update()
    assert "belongs to another file of this name, a" in failures(by_id.job().run())["b"]
    assert by_id.there() == {"report": "the same"}


# The newest version


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order_by", ["day", "-day"])
def test_an_older_version_does_not_replace_a_newer_one(order_by: str, workers: int, by_content: Mirror) -> None:
    """In whatever order they come, or are asked for again: with the default unique key each is a file."""
    old = by_content.write("a", "first", day=1, _file_name="1.txt")
    by_content.publish()
    new = by_content.write("a", "second", day=2, _file_name="2.txt")
    by_content.publish()
    job = by_content.job(order_by=order_by, workers=workers)
    assert (job.run().done, by_content.there()) == (2, {"a": "second"})
    assert job.retry(files=[old]) == 1
    assert (job.run().done, by_content.there()) == (1, {"a": "second"})
    assert job.results().missing == 0
    by_content.remove("a")
    by_content.update()
    assert (job.run().retracted, by_content.there()) == (2, {})
    assert job.entry(new).status == "skipped"  # type: ignore[union-attr]


def test_check_looks_for_what_counts(by_content: Mirror) -> None:
    """A version that a later one has replaced is not missing; where the document is, is."""
    by_content.write("a", "first")
    by_content.update()
    job = by_content.job(on_delete="ignore")
    job.run()
    by_content.write("a", "second")
    by_content.publish()
    assert job.run().done == 1
    found = job.results()
    assert (found.done, found.looked, found.missing) == (2, 1, 0)
    (by_content.target / "a").unlink()
    assert job.results().missing == 1


def test_two_workers_are_not_at_two_versions_at_once(by_content: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second leaves it for the next run."""
    old = by_content.write("a", "first")
    by_content.update()
    job = by_content.job()
    started, go = threading.Event(), threading.Event()
    from mmmeta.jobs.actions import download

    real = download.download_into

    def slow(*arguments: Any, **options: Any) -> Any:
        if options["expected_digest"].text == old:
            started.set()
            assert go.wait(30)
        return real(*arguments, **options)

    monkeypatch.setattr(download, "download_into", slow)
    with Metadir(by_content.archive.client_path, by_content.archive.server_path) as other:
        thread = threading.Thread(target=job.run)
        thread.start()
        assert started.wait(30)
        new = by_content.write("a", "second")
        by_content.publish()
        second = other.job("j", download=job.config.download.model_dump(), on_delete="action")  # type: ignore[union-attr]
        report = second.run()
        assert (report.done, report.failed, report.pending) == (0, 0, 1)
        go.set()
        thread.join()
        assert second.run().done <= 1
        assert (second.entry(new).status, by_content.there()) == ("done", {"a": "second"})  # type: ignore[union-attr]


# Whose places


def test_places_of_a_job_that_is_gone(by_id: Mirror) -> None:
    """The error names the job, and what gives its places up."""
    by_id.write("a", title="report")
    by_id.update()
    by_id.job(job="renamed").run()
    by_id.write("b", title="report")
    by_id.update()
    message = failures(by_id.job(where={"id": "b"}).run())["b"]
    assert "of the job 'renamed'" in message
    assert "`mmmeta jobs forget renamed`" in message


def test_a_file_that_is_back_after_another_had_its_place(by_id: Mirror) -> None:
    """Its document is gone, so it is not done any more."""
    by_id.write("a", title="report")
    by_id.update()
    job = by_id.job(on_delete="ignore", attempts=1)
    job.run()
    by_id.remove("a")
    by_id.write("b", title="report")
    by_id.update()
    assert job.run().done == 1
    by_id.write("a", title="report")
    by_id.update()
    assert "belongs to another file of this name, b" in failures(job.run())["a"]


def test_a_file_that_is_back_is_looked_for(by_id: Mirror) -> None:
    """Where deletions are ignored: its document may have been removed meanwhile; one that is there is not fetched again."""
    by_id.write("a")
    by_id.write("b")
    by_id.update()
    job = by_id.job(on_delete="ignore")
    job.run()
    by_id.remove("a", "b")
    by_id.update()
    job.evaluate()
    (by_id.target / "a").unlink()
    before = (by_id.target / "b").stat().st_mtime_ns
    by_id.write("a")
    by_id.write("b")
    by_id.update()
    assert job.run().done == 2
    assert by_id.there() == {"a": "a", "b": "b"}
    assert (by_id.target / "b").stat().st_mtime_ns == before


KILLED = """
import os, signal, sys
from pathlib import Path
from mmmeta import Metadir
from mmmeta.jobs.actions import download
from mmmeta.documents import transfer

client, server, target, when = sys.argv[1:]
if when == "within":
    def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
    transfer.os.fsync = die
else:
    real = download.download_into
    def die(*a, **k): real(*a, **k); os.kill(os.getpid(), signal.SIGKILL)
    download.download_into = die
m = Metadir(client, server)
m.job("j", download={"to": target, "name": "x/{title}"}, on_delete="action").run()
"""


@pytest.mark.parametrize("when", ["within", "after"])
@pytest.mark.parametrize("before", [True, False])
def test_a_killed_download_of_a_file_that_is_deleted_then(when: str, before: bool, by_id: Mirror) -> None:
    """Leaves nothing behind, of whichever version: no part, and no whole document that nobody could say was done."""
    by_id.write("a", "first")
    by_id.update()
    job = by_id.job("x/{title}")
    if before:
        job.run()
        by_id.write("a", "second")
        by_id.update()
    arguments = [str(by_id.archive.client_path), str(by_id.archive.server_path), str(by_id.target), when]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert ended.returncode == -9
    assert len(by_id.there()) == 1 + (before and when == "within")
    by_id.remove("a")
    by_id.update()
    report = job.run()
    assert (report.retracted, failures(report)) == (1, {})
    assert list(by_id.target.iterdir()) == []
