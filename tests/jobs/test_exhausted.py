"""A process that can open no more files: the run ends, and no file is held to blame."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from contextlib import suppress
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


def test_a_download(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the document, or of the file that it is written to."""
    archive.client_path.mkdir(exist_ok=True)
    document = archive.client_path / "doc.txt"
    document.write_bytes(b"content")
    digest = hashlib.sha1(b"content").hexdigest()
    archive.write("a", content_hash=digest, _file_name="doc.txt", public_url=str(document))
    archive.deliver()
    job = archive.client.job("j", download={"to": str(archive.root / "target")})
    real = os.open

    for fails in (document, archive.root / "target"):

        def refuse(path: Any, *arguments: Any, fails: Path = fails, **named: Any) -> int:
            with suppress(TypeError):
                if str(path).startswith(str(fails)):
                    raise OSError(errno.EMFILE, "Too many open files", str(path))
            return real(path, *arguments, **named)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            with pytest.raises(JobError, match="too many files are open"):
                job.run()
        assert attempts(archive) == [("pending", 0)]
    assert job.run().done == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_removal(archive: Archive, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    """Of the document, or of the folder that is flushed; also where the folder was moved, and the job knows where to."""
    archive.client_path.mkdir(exist_ok=True)
    document = archive.client_path / "doc.txt"
    document.write_bytes(b"content")
    digest = hashlib.sha1(b"content").hexdigest()
    archive.write("a", content_hash=digest, _file_name="doc.txt", public_url=str(document))
    deliver(archive, "x", "y", "z")
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
    real = os.open

    for fails in (target / "doc.txt", target):

        def refuse(path: Any, *arguments: Any, fails: Path = fails, **named: Any) -> int:
            with suppress(TypeError):
                if Path(os.fsdecode(path)) == fails:
                    raise OSError(errno.EMFILE, "Too many open files", str(path))
            return real(path, *arguments, **named)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            with pytest.raises(JobError, match="too many files are open"):
                job.run()
        assert attempts(archive) == [("pending", 0)]
    assert job.run().retracted == 1
    assert not (target / "doc.txt").exists()
