"""What a run counts, where it ends, and what ends it: limits, targets out of order, files that come again."""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import File, Metadir
from mmmeta.errors import JobError


def publish(archive: Archive, *names: str) -> None:
    for name in names:
        archive.write(name)
    archive.deliver()


def documents(archive: Archive, *names: str) -> None:
    for name in names:
        (archive.server_path / f"{name}.pdf").write_text(name)
        archive.write(name, content_hash=hashlib.sha1(name.encode()).hexdigest(), _file_name=f"{name}.pdf")
    archive.deliver()


def nothing(file: File) -> None:
    """An action that succeeds."""


@pytest.mark.parametrize("batch", [False, True])
def test_a_job_that_is_forgotten_while_it_runs(archive: Archive, batch: bool) -> None:
    """What was in its hands is lost to it, which its report says; nothing else happens."""
    publish(archive, *"abc")
    job = archive.client.job("import", batch_size=2)
    report = job.run(lambda file: archive.client.job("import").forget(), batch=batch)
    assert (report.done, report.lost, report.pending) == (0, report.attempted, 0)
    assert job.run(nothing).done == 3


@pytest.mark.parametrize("batch", [False, True])
def test_a_limit_of_bytes_where_only_the_metadata_tells_sizes(archive: Archive, batch: bool) -> None:
    """A function does not say how much it read: what the metadata promises counts, in any of its forms."""
    for name, size in (("a", 10), ("b", "10"), ("c", None), ("d", "unknown"), ("e", 10), ("f", 10)):
        archive.write(name, size=size)
    archive.deliver()
    job = archive.client.job("import", limit={"bytes": 25})
    reports = [job.run(nothing, batch=batch) for _ in range(2)]
    assert [(report.done, report.pending) for report in reports] == [(5, 1), (1, 0)]


def test_a_file_that_comes_again_in_the_same_run_counts_once(archive: Archive) -> None:
    """By how it ended last: done at the second attempt, or dead after the third."""
    publish(archive, *"abc")
    tried: Counter[str] = Counter()

    def work(file: File) -> None:
        tried[file.unique_value] += 1
        if file.unique_value == "c" or (file.unique_value == "b" and tried["b"] == 1):
            raise ValueError(f"no {tried[file.unique_value]}")

    report = archive.client.job("import", backoff=0, attempts=3).run(work)
    assert tried == {"a": 1, "b": 2, "c": 3}
    assert (report.attempted, report.done, report.failed, report.dead) == (3, 2, 0, 1)
    assert [(failure.file, failure.message, failure.attempts) for failure in report.failures] == [("c", "no 3", 3)]
    assert report.failed_share == pytest.approx(1 / 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_download_folder_that_cannot_be_one(archive: Archive, tmp_path: Path, workers: int) -> None:
    """The run ends and says why; no file has used up an attempt, and all is well once it is mended."""
    documents(archive, *"abc")
    archive.deliver()
    client = Metadir(archive.client_path, archive.server_path)
    target = tmp_path / "target"
    target.write_text("somebody's notes")
    job = client.job("download", download={"to": str(target)}, workers=workers)
    with pytest.raises(JobError, match="target: nothing can be downloaded into this folder"):
        job.run()
    assert (job.status().pending, job.status().failed, job.status().claimed) == (3, 0, 0)
    target.unlink()
    assert job.run().done == 3
    client.close()


@pytest.mark.parametrize("room", [True, False])
def test_a_full_disk(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    """Where others would still fit, it is the failure of the one that does not; else the run ends."""
    documents(archive, *"abc")
    archive.deliver()
    client = Metadir(archive.client_path, archive.server_path)
    job = client.job("download", download={"to": str(tmp_path / "target")})

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mmmeta.documents.transfer._write", full)
    if room:
        assert job.run().failed == 3
    else:
        monkeypatch.setattr("mmmeta.documents.folder._write_probe", full)
        with pytest.raises(JobError, match="into this folder: No space left on device"):
            job.run()
        assert (job.status().pending, job.status().claimed) == (3, 0)
    client.close()
