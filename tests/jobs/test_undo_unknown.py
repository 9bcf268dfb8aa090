"""Undoing where nobody can tell what is there: the same, another one, and not known are three answers, and not known fails."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Job, RunReport

CONTENT = b"a document"
SHA1 = hashlib.sha1(CONTENT).hexdigest()


def publish(archive: Archive) -> None:
    (archive.client_path).mkdir(exist_ok=True)
    (archive.client_path / "doc.pdf").write_bytes(CONTENT)
    public_url = str(archive.client_path / "doc.pdf")
    archive.write("a", content_hash=SHA1, _file_name="doc.pdf", public_url=public_url)
    archive.deliver()


def take_down(archive: Archive) -> None:
    archive.server.files.delete(content_hash=SHA1)
    archive.sync()
    archive.client.update()


def job(archive: Archive, **options: Any) -> Job:
    return archive.client.job(
        "j", **(options or {"download": {"to": str(archive.root / "target")}}), on_delete="action"
    )


def the_failure(report: RunReport) -> str:
    assert (report.retracted, report.failed) == (0, 1)
    return report.failures[0].message


@pytest.mark.parametrize("leads", ["to the document", "nowhere"])
def test_a_link_in_the_documents_place(archive: Archive, leads: str) -> None:
    """A person has moved the document and left a link; the disk that it is on may be away just now."""
    publish(archive)
    assert job(archive).run().done == 1
    path, moved = archive.root / "target" / "doc.pdf", archive.root / "moved.pdf"
    path.rename(moved)
    path.symlink_to(moved if leads == "to the document" else archive.root / "not mounted" / "moved.pdf")
    take_down(archive)
    assert f"{path}: is a link where a document was" in the_failure(job(archive).run())
    assert path.is_symlink()
    assert moved.read_bytes() == CONTENT
    path.unlink()
    job(archive).retry()
    assert job(archive).run().retracted == 1


@pytest.mark.parametrize("by", ["job", "name", "looking"])
def test_a_document_that_cannot_be_looked_at(archive: Archive, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the job came to it: permissions, or a disk that gives errors, say nothing of what is there."""
    publish(archive)
    path = archive.root / "target" / "doc.pdf"
    if by == "job":
        assert job(archive).run().done == 1
    else:
        path.parent.mkdir()
        path.write_bytes(CONTENT)
        assert (job(archive).adopt(SHA1) if by == "name" else job(archive).adopt_present()).adopted == 1
    take_down(archive)
    lstat = Path.lstat

    def refuse(self: Path) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return lstat(self)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", refuse)
        assert f"{path}: cannot be looked at" in the_failure(job(archive).run())
    assert path.exists()
    job(archive).retry()
    assert job(archive).run().retracted == 1
    assert not path.exists()


def test_a_folder_that_is_away_whatever_the_ledger_knows(archive: Archive) -> None:
    """Of a file that was taken for done by its name only the job's rules say where it is."""
    publish(archive)
    assert job(archive).adopt(SHA1).adopted == 1
    take_down(archive)
    assert "the folder is not there" in the_failure(job(archive).run())
    (archive.root / "target").mkdir()
    job(archive).retry()
    assert job(archive).run().retracted == 1


def test_a_database_that_is_away(archive: Archive, tmp_path: Path) -> None:
    """Its rows may be with it; no empty one is made in its place."""
    publish(archive)
    target, moved = tmp_path / "target.db", tmp_path / "moved.db"
    load = {"load": {"to": f"sqlite:///{target}", "table": "documents"}}
    assert job(archive, **load).run().done == 1
    target.rename(moved)
    take_down(archive)
    assert "the database is not there" in the_failure(job(archive, **load).run())
    assert not target.exists()
    moved.rename(target)
    job(archive, **load).retry()
    assert job(archive, **load).run().retracted == 1
