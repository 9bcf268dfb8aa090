"""Running jobs: actions, limits, workers, stopping, several at once, and what reports and status.json say."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from archives import Archive, deliver, fail_b, nothing

from mmmeta import File, Metadir, RunReport
from mmmeta.errors import FilterError, JobError, JobFailedError, UnknownKeyWarning


def test_a_failing_file_does_not_stop_the_others(archive: Archive) -> None:
    """The report has names and numbers; raise_for_failures raises."""
    deliver(archive, *"abc")
    seen: list[tuple[str, int, int | None]] = []
    report = archive.client.job("import").run(fail_b, run_id="r1", progress=lambda *words: seen.append(words))
    assert (report.job, report.run_id, report.attempted, report.selected) == ("import", "r1", 3, 3)
    assert (report.done, report.failed, report.dead, report.lost, report.pending, report.due_later) == (
        2,
        1,
        0,
        0,
        0,
        1,
    )
    assert report.failed_share == pytest.approx(1 / 3)
    (failure,) = report.failures
    assert (failure.file, failure.error_type, failure.message, failure.attempts) == ("b", "ValueError", "not b", 1)
    assert (failure.status, report.stopped, report.duration > 0) == ("failed", False, True)
    assert seen[-1] == ("import", 3, 3)
    with pytest.raises(JobFailedError, match="1 of 3 files failed, the first b: ValueError: not b") as caught:
        report.raise_for_failures()
    assert caught.value.report is report
    archive.client.job("other").run(nothing).raise_for_failures()


def test_batches(archive: Archive) -> None:
    """A batch function gets lists of files; what it raises is the failure of all of the batch."""
    deliver(archive, *"abcde")
    batches: list[list[str]] = []

    def work(files: list[File]) -> None:
        batches.append([file.unique_value for file in files])
        if len(batches) == 2:
            raise RuntimeError("second")

    report = archive.client.job("import", batch_size=2).run(work, batch=True)
    assert batches == [["a", "b"], ["c", "d"], ["e"]]
    assert (report.done, report.failed, [failure.file for failure in report.failures]) == (3, 2, ["c", "d"])


def test_plan(archive: Archive) -> None:
    """How many files a run would take, in words what they are, and what is missing; nothing is written."""
    deliver(archive, *"abc", kind="contract", size=10)
    deliver(archive, "d")
    job = archive.client.job("import", where={"kind": "contract"})
    plan = job.plan()
    assert (plan.files, plan.bytes, plan.newly_selected, plan.changed) == (3, 30, 3, False)
    assert plan.condition_words == 'kind is "contract"'
    assert plan.lacking == {"kind": 1}
    assert job.plan() == plan
    job.evaluate()
    assert (job.plan().files, job.plan().newly_selected) == (3, 0)
    assert [file.unique_value for file in job.pending(limit=2)] == ["a", "b"]


def test_limits(archive: Archive, tmp_path: Path) -> None:
    """Files and bytes a run; the rest waits for the next and is due now."""
    for name in "abcd":
        (archive.server_path / f"{name}.bin").write_bytes(b"x" * 10)
        archive.write(name, _file_name=f"{name}.bin", public_url=(archive.server_path / f"{name}.bin").as_uri())
    archive.deliver()
    client = Metadir(archive.client_path, archive.server_path)
    job = client.job("one", limit={"files": 1})
    assert (job.run(nothing).done, job.run(nothing).pending, job.status().due) == (1, 2, 2)
    assert job.run(nothing, limit=5).done == 2
    assert client.job("none").run(nothing, limit=0).done == 0
    for workers in (1, 2):
        target = tmp_path / f"target{workers}"
        job = client.job(f"w{workers}", limit={"bytes": 15}, workers=workers, download={"to": str(target)})
        report = job.run()
        assert 2 <= report.done <= 1 + workers  # what the other worker is at is finished
        assert (report.bytes, report.pending) == (10 * report.done, 4 - report.done)
    client.close()


def test_several_workers(archive: Archive) -> None:
    """Files are worked on at the same time, each once; failures are told apart."""
    deliver(archive, *(f"{number:02}" for number in range(24)))
    barrier = threading.Barrier(4, timeout=30)
    seen: Counter[str] = Counter()

    def work(file: File) -> None:
        barrier.wait()
        seen[file.unique_value] += 1
        if file.unique_value in ("03", "17"):
            raise ValueError(file.unique_value)

    report = archive.client.job("import", workers=4, batch_size=8).run(work)
    assert (report.done, report.failed) == (22, 2)
    assert set(seen.values()) == {1}
    assert len(seen) == 24
    assert {(failure.file, failure.message) for failure in report.failures} == {("03", "03"), ("17", "17")}


@pytest.mark.parametrize("workers", [1, 3])
def test_stop(archive: Archive, workers: int) -> None:
    """The stop callback ends the run between files; what was not tried is pending, and costs no attempt."""
    deliver(archive, *(f"{number:02}" for number in range(30)))
    done: list[str] = []
    job = archive.client.job("import", workers=workers)
    report = job.run(lambda file: done.append(file.unique_value), stop=lambda: len(done) >= 5)
    assert report.stopped
    assert 5 <= report.done == len(done) < 5 + workers
    status = job.status()
    assert (status.claimed, status.pending) == (0, 30 - report.done)
    job.run(lambda file: done.append(file.unique_value))
    assert sorted(done) == [f"{number:02}" for number in range(30)]
    assert {entry.attempts for entry in job.files("done")} == {1}


def leave(*arguments: object) -> None:
    """A handler as people write them."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    sys.exit(1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_gives_its_claims_back(
    archive: Archive, interruption: type[BaseException], request: pytest.FixtureRequest
) -> None:
    """Ctrl-C, or a signal's handler that exits, in the middle of a batch: what was done is done, the rest is pending,
    the lock is gone."""
    deliver(archive, *"abcde")
    before = signal.signal(signal.SIGUSR1, leave)
    request.addfinalizer(lambda: signal.signal(signal.SIGUSR1, before))

    def work(file: File) -> None:
        if file.unique_value == "c":
            if interruption is SystemExit:
                signal.raise_signal(signal.SIGUSR1)
            raise interruption

    job = archive.client.job("import")
    with pytest.raises(interruption):
        job.run(work)
    status = job.status()
    assert (status.done, status.pending, status.claimed) == (2, 3, 0)
    assert job.run(nothing).done == 3
    assert {entry.attempts for entry in job.files("done")} == {1}
    assert not list(archive.client.layout.workers.iterdir())


def test_ctrl_c_while_threads_work(archive: Archive) -> None:
    """What the threads are at is finished and recorded before the rest is given back."""
    deliver(archive, *(f"{number:02}" for number in range(10)))
    done: list[str] = []

    def work(file: File) -> None:
        time.sleep(0.05)
        done.append(file.unique_value)

    def stop() -> bool:
        if len(done) >= 3:
            raise KeyboardInterrupt
        return False

    job = archive.client.job("import", workers=2)
    with pytest.raises(KeyboardInterrupt):
        job.run(work, stop=stop)
    status = job.status()
    assert (status.done, status.pending, status.claimed) == (len(done), 10 - len(done), 0)


def test_two_runs_at_once_in_threads(archive: Archive) -> None:
    """They share the work without overlap."""
    deliver(archive, *(f"{number:03}" for number in range(200)))
    seen: Counter[str] = Counter()
    lock = threading.Lock()
    reports: list[RunReport] = []

    def work(file: File) -> None:
        time.sleep(0.0005)
        with lock:
            seen[file.unique_value] += 1

    def run() -> None:
        with Metadir(archive.client_path) as metadir:
            reports.append(metadir.job("import", batch_size=7).run(work))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), set(seen.values())) == (200, {1})
    assert sum(report.done for report in reports) == 200
    assert sum(report.lost for report in reports) == 0


def test_what_changes_before_it_is_claimed_is_done_once(archive_by_id: Archive) -> None:
    """Claimed is the version that is read, whether anybody evaluated since it came or not."""
    archive = archive_by_id
    for name in "abcd":
        archive.write(name, {"id": name, "content_hash": "1"})
    archive.deliver()
    seen: list[str] = []

    def work(file: File) -> None:
        seen.append(f"{file.unique_value}{file['content_hash']}")
        if len(seen) == 1:
            archive.write("c", {"id": "c", "content_hash": "2"})
            archive.server.generate()
            archive.sync()
            with Metadir(archive.client_path) as another:
                another.update()

    assert archive.client.job("import", batch_size=2).run(work).done == 4
    assert seen == ["a1", "b1", "c2", "d1"]


def test_a_file_that_changes_each_time_it_is_processed(archive: Archive) -> None:
    """The run ends; the file stays pending for the next one."""
    deliver(archive, "a", "b")

    def work(file: File) -> None:
        if file.unique_value == "a":
            file["count"] = file.get("count", 0) + 1
            file.save()

    job = archive.client.job("import", rerun_on=["count"])
    with pytest.warns(UnknownKeyWarning, match="'count'.* `rerun_on` does nothing until one has"):
        report = job.run(work)
    assert report.pending == 1
    assert report.done == report.attempted < 10


def test_a_new_version_that_comes_while_the_old_one_fails(archive: Archive) -> None:
    """Named among the failures, and tried again in the same run."""
    archive.server.layout.config.parent.mkdir()
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")
    deliver(archive, "a", id="a")
    seen: list[str] = []

    def work(file: File) -> None:
        seen.append(file["content_hash"])
        if len(seen) == 1:
            archive.write("a", {"id": "a", "content_hash": "2"})
            archive.deliver()
            raise ValueError("torn")

    report = archive.client.job("import").run(work)
    assert seen == ["a", "2"]
    assert (report.done, report.failed, report.pending) == (1, 1, 0)
    with pytest.raises(JobFailedError, match="torn"):
        report.raise_for_failures()


def test_leases_are_prolonged(archive: Archive) -> None:
    """A file that takes longer than the lease stays with its worker."""
    deliver(archive, "a")
    other = Metadir(archive.client_path)

    def work(file: File) -> None:
        time.sleep(1.6)
        assert other.job("import", lease=1).run(nothing).attempted == 0

    report = archive.client.job("import", lease=1).run(work)
    other.close()
    assert (report.done, report.lost) == (1, 0)


# Actions


def documents(archive: Archive, *names: str) -> None:
    for name in names:
        content = f"document {name}".encode()
        (archive.server_path / f"{name}.pdf").write_bytes(content)
        archive.write(
            name, content_hash=hashlib.sha1(content).hexdigest(), _file_name=f"{name}.pdf", nested={"x": name}
        )


def test_download(archive: Archive, tmp_path: Path) -> None:
    """Documents into a folder, checked by digest; one that is missing or differs fails alone, with its reason."""
    documents(archive, *"abcd")
    (archive.server_path / "b.pdf").write_bytes(b"other content")
    (archive.server_path / "c.pdf").unlink()
    archive.publish()
    client = Metadir(archive.client_path, archive.server_path)
    client.update()
    job = client.job("download", download={"to": str(tmp_path / "to"), "name": "{nested:x}/{_file_name}"})
    report = job.run()
    assert (report.done, report.failed, report.bytes) == (2, 2, 20)
    assert {failure.error_type for failure in report.failures} == {"DownloadError"}
    there = {str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*.pdf")}
    assert there == {"a/a.pdf", "d/d.pdf"}
    client.close()


def test_load(archive: Archive, tmp_path: Path) -> None:
    """Metadata rows into a table, once; again when the content changed."""
    archive.server.layout.config.parent.mkdir()
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")
    for name in "abc":
        archive.write(name, id=name, pages=1, tags=["x"])
    archive.deliver()
    target = tmp_path / "target.db"
    job = archive.client.job("import", load={"to": f"sqlite:///{target}", "table": "documents"}, batch_size=2)
    assert (job.run().done, job.run().done) == (3, 0)
    archive.write("b", {"id": "b", "content_hash": "changed", "pages": 2})
    archive.write("c", {"id": "c", "content_hash": "c", "pages": 3})
    archive.deliver()
    assert job.run().done == 1
    connection = sqlite3.connect(target)
    assert connection.execute("SELECT id, pages FROM documents ORDER BY id").fetchall() == [
        ("a", 1),
        ("b", 2),
        ("c", 1),
    ]
    connection.close()


def test_load_into_a_target_that_is_not_there(archive: Archive, tmp_path: Path) -> None:
    """All of the batch fails, and is due later."""
    deliver(archive, *"ab")
    (tmp_path / "file").write_text("not a folder")
    job = archive.client.job("import", load={"to": f"sqlite:///{tmp_path}/file/x.db", "table": "documents"})
    with pytest.raises(Exception, match="file"):
        job.run().raise_for_failures()


MODULE = """
calls = []

def single(file):
    calls.append(file.unique_value)

def batch(files):
    calls.append([file.unique_value for file in files])
"""


def test_call(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function by name, for each file or for a batch; a wrong name is an error with the near misses."""
    (tmp_path / "job_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    deliver(archive, *"ab")
    archive.client.job("one", call={"function": "job_functions:single"}).run()
    archive.client.job("two", call={"function": "job_functions:batch", "batch": True}).run()
    assert sys.modules["job_functions"].calls == ["a", "b", ["a", "b"]]
    with pytest.raises(JobError, match="'batch'"):
        archive.client.job("three", call={"function": "job_functions:bach"}).run()
    with pytest.raises(JobError, match="no_such_module"):
        archive.client.job("four", call={"function": "no_such_module:x"}).run()
    with pytest.raises(JobError, match="no action"):
        archive.client.job("five").run()


# Definitions


def test_definitions_that_cannot_work(archive: Archive) -> None:
    """Each is one clear error when the job is made or run."""
    deliver(archive, "a")
    with pytest.raises(JobError, match="can never fire"):
        archive.client.job("import", rerun_on=["content_hash"])
    with pytest.raises(JobError, match="attempts"):
        archive.client.job("import", attemps=3)
    with pytest.raises((JobError, FilterError), match="operator"):
        archive.client.job("import", where={"x": {"=<": 3}})
    with pytest.raises(JobError):
        archive.client.job("a b")
