"""A process that can open no more files: the run ends, and no file is held to blame."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, deliver

from mmmeta import File
from mmmeta.errors import JobError


def attempts(archive: Archive) -> list[tuple[str, int]]:
    connection = sqlite3.connect(archive.client.layout.state)
    found = connection.execute("SELECT status, attempts FROM ledger ORDER BY file").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_that_runs_out_of_files(archive: Archive, number: int, workers: int) -> None:
    """Its own error may lie deeper; what was done before stays done."""
    deliver(archive, "a", "b", "c")

    def work(file: File) -> None:
        if file.unique_value == "b":
            try:
                raise OSError(number, os.strerror(number))
            except OSError as error:
                raise RuntimeError("cannot be read") from error

    job = archive.client.job("j", workers=workers)
    with pytest.raises(JobError, match="too many files are open"):
        job.run(work)
    found = attempts(archive)
    assert found[0][0] == "done"
    assert found[1] == ("pending", 0)
    assert job.run(lambda file: None).failed == 0
    assert [status for status, _ in attempts(archive)] == ["done"] * 3


def test_a_loop_of_ones_own(archive: Archive) -> None:
    """The error goes on rising, and the file is given back."""
    deliver(archive, "a")
    job = archive.client.job("j")
    with pytest.raises(OSError, match="Too many"), job.one():
        raise OSError(errno.EMFILE, "Too many open files")
    assert attempts(archive) == [("pending", 0)]


def deliver_document(archive: Archive) -> tuple[Path, str]:
    """One file with a document at the client's side; gives the document's path and digest. Others are delivered beside it."""
    archive.client_path.mkdir(exist_ok=True)
    document = archive.client_path / "doc.txt"
    document.write_bytes(b"content")
    digest = hashlib.sha1(b"content").hexdigest()
    archive.write("a", content_hash=digest, _file_name="doc.txt", public_url=str(document))
    deliver(archive, "x", "y", "z")
    return document, digest


@contextmanager
def too_many_open(place: Path, *, below: bool = False) -> Iterator[None]:
    """Opening this path, and where said all that begins like it, fails as in a process that has too many files open."""
    real = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if name == str(place) or (below and name.startswith(str(place))):
            raise OSError(errno.EMFILE, "Too many open files", name)
        return real(path, *arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", refuse)
        yield


def test_a_download(archive: Archive) -> None:
    """Of the document, or of the file that it is written to."""
    document, digest = deliver_document(archive)
    target = archive.root / "target"
    job = archive.client.job("j", where={"content_hash": digest}, download={"to": str(target)})
    for fails in (document, target):
        with too_many_open(fails, below=True), pytest.raises(JobError, match="too many files are open"):
            job.run()
        assert attempts(archive) == [("pending", 0)]
    assert job.run().done == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_removal(archive: Archive, moved: bool) -> None:
    """Of the document, or of the folder that is flushed; also where the folder was moved, and the job knows where to."""
    _, digest = deliver_document(archive)
    target = archive.root / "target"
    rules: dict[str, Any] = {"where": {"content_hash": digest}, "on_delete": "action"}
    assert archive.client.job("j", **rules, download={"to": str(target)}).run().done == 1
    if moved:
        target.rename(archive.root / "moved")
        target.mkdir()
        target = archive.root / "moved"
    archive.remove("a")
    archive.publish(ensure=True)
    archive.client.update()
    job = archive.client.job("j", **rules, download={"to": str(target)})
    for fails in (target / "doc.txt", target):
        with too_many_open(fails), pytest.raises(JobError, match="too many files are open"):
            job.run()
        assert attempts(archive) == [("pending", 0)]
    assert job.run().retracted == 1
    assert not (target / "doc.txt").exists()
