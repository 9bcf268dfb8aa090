"""Files and functions that do their worst: they hang, kill their process, or remove what the job stands on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import File, Metadir
from mmmeta.errors import StateDbError


def publish(archive: Archive, *names: str) -> None:
    for name in names:
        archive.write(name)
    archive.deliver()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_function_that_hangs(archive: Archive, workers: int) -> None:
    """Its file fails with TimeoutError, and the run goes on without it."""
    publish(archive, "a", "b", "c")
    never = threading.Event()
    job = archive.client.job("import", timeout=0.3, workers=workers, attempts=1)
    try:
        begun = time.monotonic()
        report = job.run(lambda file: file.unique_value == "b" and never.wait(120))
        assert time.monotonic() - begun < 60
    finally:
        never.set()
    assert (report.done, report.dead, report.pending) == (2, 1, 0)
    (failure,) = report.failures
    assert (failure.file, failure.error_type, failure.status) == ("b", "TimeoutError", "dead")
    assert "the job's timeout" in failure.message
    assert [entry.file for entry in job.files("done")] == ["a", "c"]


def test_a_batch_that_hangs(archive: Archive) -> None:
    """It has the time of all its files; then all of them fail."""
    publish(archive, "a", "b")
    never = threading.Event()
    job = archive.client.job("import", timeout=0.1)
    try:
        report = job.run(lambda files: never.wait(120), batch=True)
    finally:
        never.set()
    assert (report.failed, {failure.error_type for failure in report.failures}) == (2, {"TimeoutError"})


def test_what_a_function_says_after_its_time_counts_for_nothing(archive: Archive) -> None:
    """The file failed, and is done by the next attempt only."""
    publish(archive, "a")
    go, gone = threading.Event(), threading.Event()

    def slow(file: File) -> None:
        go.wait(120)
        gone.set()

    job = archive.client.job("import", timeout=0.1, attempts=1)
    assert job.run(slow).dead == 1
    go.set()
    assert gone.wait(60)
    assert (job.status().dead, job.status().done) == (1, 0)
    assert job.retry(dead=True) == 1
    assert job.run(lambda file: None).done == 1


@pytest.mark.parametrize("answer", [42, "failed", False, [object()], NotImplemented])
def test_a_function_that_returns_nonsense(archive: Archive, answer: object) -> None:
    """Only what it raises counts."""
    publish(archive, "a", "b")
    assert archive.client.job("one").run(lambda file: answer).done == 2
    assert archive.client.job("all").run(lambda files: answer, batch=True).done == 2


KILLED = """
import os, signal, sys
from mmmeta import Metadir

def work(file):
    if file.unique_value == "c":
        os.kill(os.getpid(), signal.SIGKILL)

Metadir(sys.argv[1]).job("import", attempts=int(sys.argv[2])).run(work)
"""


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_file_that_kills_the_process(archive: Archive, attempts: int) -> None:
    """The next runs go on; it ends dead, and takes none of those with it that were claimed with it."""
    publish(archive, "a", "b", "c", "d", "e")
    codes = []
    while not codes or codes[-1]:
        assert len(codes) < 6
        command = [sys.executable, "-c", KILLED, str(archive.client_path), str(attempts)]
        codes.append(subprocess.run(command, timeout=120).returncode)
    # The first time five files were in its hands, and nobody could tell which it was.
    assert codes == [-signal.SIGKILL] * (attempts + 1) + [0]
    job = archive.client.job("import", attempts=attempts)
    (dead,) = job.files("dead")
    assert (dead.file, dead.error_type, dead.attempts) == ("c", "WorkerDied", attempts)
    assert sorted(entry.file for entry in job.files("done")) == ["a", "b", "d", "e"]
    assert job.retry(dead=True) == 1


SILENT = """
import os, signal, sys
from mmmeta import Metadir

def work(file):
    if file.unique_value == "b":
        os.kill(os.getpid(), signal.SIGSTOP)

Metadir(sys.argv[1]).job("import", lease=1, attempts=1).run(work)
"""


def test_a_file_that_stops_the_process(archive: Archive) -> None:
    """Nothing of it is heard any more. Its claims end with the lease, each file comes alone, and only that one is dead."""
    publish(archive, "a", "b", "c")
    job = archive.client.job("import", lease=1, attempts=1)
    stopped = []
    deadline = time.monotonic() + 120
    try:
        while not job.files("dead"):
            assert time.monotonic() < deadline
            process = subprocess.Popen([sys.executable, "-c", SILENT, str(archive.client_path)])
            stopped.append(process)
            _until_stopped(process, deadline)
            while process.poll() is None and job.status().claimed:
                assert time.monotonic() < deadline
                with archive.client._backend.state.database.reading() as connection:
                    until = connection.execute(
                        "SELECT max(lease_until) FROM ledger WHERE status = 'claimed'"
                    ).fetchone()[0]
                if until <= time.clock_gettime(time.CLOCK_BOOTTIME):
                    break
                time.sleep(0.05)
        assert [entry.file for entry in job.files("dead")] == ["b"]
        assert job.files("dead")[0].error_type == "LeaseEnded"
    finally:
        for process in stopped:
            process.kill()
            process.wait()
    assert job.run(lambda file: None).failures == ()
    assert sorted(entry.file for entry in job.files("done")) == ["a", "c"]


@pytest.mark.parametrize(("workers", "batch"), [(1, False), (3, False), (1, True)], ids=["one", "threads", "batch"])
def test_a_file_that_hangs_until_the_run_is_interrupted(archive: Archive, workers: int, batch: bool) -> None:
    """Nobody knows at first whether it was the file. It comes alone after all others; then each time is an attempt."""
    names = [f"f{number:02}" for number in range(12)]
    publish(archive, *names)
    rules = {"attempts": 2, "workers": workers, "batch_size": 4}
    job = archive.client.job("import", **rules)

    def work(given: object) -> None:
        files = given if isinstance(given, list) else [given]
        if "f03" in [file.unique_value for file in files]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(work, batch=batch)
    entry = job.entry("f03")
    assert entry is not None
    assert (entry.status, entry.attempts, entry.error_type) == ("pending", 0, "Interrupted")
    assert [file.unique_value for file in job.pending()][-1] == "f03" or batch or workers > 1
    with pytest.raises(KeyboardInterrupt):
        job.run(work, batch=batch)
    while job.status().pending:
        assert job.status().dead == 0
        with pytest.raises(KeyboardInterrupt):
            job.run(work, batch=batch)
    (dead,) = job.files("dead")
    assert (dead.file, dead.attempts, dead.error_type) == ("f03", 2, "Interrupted")
    assert sorted(entry.file for entry in job.files("done")) == [name for name in names if name != "f03"]
    assert {entry.attempts for entry in job.files("done")} == {1}


def test_an_interrupted_run_counts_nothing_for_files_that_were_not_begun(archive: Archive) -> None:
    """However often: only the one at hand."""
    publish(archive, "a", "b", "c")
    job = archive.client.job("import", attempts=1)

    def work(file: File) -> None:
        begun.append(file.unique_value)
        raise KeyboardInterrupt

    begun: list[str] = []
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            job.run(work)
    assert begun == ["a", "b", "c"]
    assert {(entry.status, entry.attempts) for entry in job.files(("pending", "dead"))} == {("pending", 0)}


def test_a_block_of_ones_own_that_hangs_until_it_is_interrupted(archive: Archive) -> None:
    """The same; but a generator that nobody goes on with was at no file."""
    publish(archive, "a", "b")
    job = archive.client.job("import", attempts=1)
    for name, status in (("a", "pending"), ("b", "pending"), ("a", "dead"), ("b", "dead")):
        with suppress(KeyboardInterrupt), job.one() as file:
            assert file is not None
            assert file.unique_value == name
            raise KeyboardInterrupt
        entry = job.entry(name)
        assert entry is not None
        assert (entry.status, entry.error_type) == (status, "Interrupted")
    job.retry(dead=True)

    def one_by_one() -> Iterator[str]:
        with job.one() as file:
            assert file is not None
            yield file.unique_value

    for _ in range(3):
        waiting = one_by_one()
        assert next(waiting) == "a"
        waiting.close()
    assert job.status().pending == 2


def _until_stopped(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Until the process has stopped itself, or has ended."""
    while time.monotonic() < deadline:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
            return
        time.sleep(0.02)
    pytest.fail("it neither stopped nor ended")


@pytest.mark.parametrize("what", ["state.db", "local"])
def test_a_function_that_removes_the_state_db(archive: Archive, what: str) -> None:
    """The run says which file is gone, and makes no empty one in its place; an update makes it anew."""
    publish(archive, "a", "b")
    layout = archive.client.layout

    def work(file: File) -> None:
        for path in sorted(layout.local.rglob("*"), reverse=True):
            if what == "local" or path.name.startswith(what):
                path.rmdir() if path.is_dir() else path.unlink()

    job = archive.client.job("import", batch_size=1)
    with pytest.raises(StateDbError, match=rf"state db {layout.state} is gone"):
        job.run(work)
    assert not layout.state.exists()
    held = Metadir(archive.client_path)
    held.update()
    report = held.job("import").run(lambda file: None)
    assert report.done == 2
    held.close()


def test_claims_of_ones_own_whose_state_db_is_removed(archive: Archive) -> None:
    """The same for who has a loop of his own."""
    publish(archive, "a")
    job = archive.client.job("import")
    (file,) = job.claim()
    Path(archive.client.layout.state).unlink()
    with pytest.raises(StateDbError, match="is gone"):
        job.done(file)
    assert not archive.client.layout.state.exists()
    with pytest.raises(StateDbError, match="is gone"):
        job.release_all()
    archive.client.update()
    assert job.run(lambda file: None).done == 1


SLOW = """
import sys
from mmmeta import File, Metadir

def work(file: File) -> None:
    print(file.unique_value, flush=True)
    sys.stdin.readline()

print(Metadir(sys.argv[1]).job("import", lease=1).run(work).lost)
"""


def test_a_worker_that_was_overtaken(archive: Archive) -> None:
    """It was stopped for longer than its lease, and others did its batch: only the file in its hand is done twice."""
    publish(archive, *"abcde")
    job = archive.client.job("import", lease=1)
    command = [sys.executable, "-c", SLOW, str(archive.client_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "a\n"
            process.send_signal(signal.SIGSTOP)
            deadline = time.monotonic() + 120
            while job.status().done < 5:
                assert time.monotonic() < deadline
                job.run(lambda file: None)
        finally:
            process.send_signal(signal.SIGCONT)
        rest, _ = process.communicate("\n" * 10, timeout=120)
    assert rest.splitlines() == ["1"]
    assert job.status().done == 5
