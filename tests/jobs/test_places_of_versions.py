"""Equal documents, later and earlier versions, files that are back: who has a place, and what is left there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from mirror import Mirror, failures

from mmmeta import Metadir


@pytest.fixture
def by_content(archive: Archive, tmp_path: Path) -> Any:
    mirror = Mirror(archive, tmp_path)
    yield mirror
    mirror.client.close()


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
