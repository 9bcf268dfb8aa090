"""Exactly once into SQL, in the very gaps where it is lost elsewhere: real workers, killed and stopped where it hurts.

No test waits for a moment to come: a worker kills or stops itself where it is told to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from archives import Archive
from sql_target import delete, identify_by_id, publish, query

from mmmeta import File, Job
from mmmeta.state.liveness import boot_seconds

FILES = "abc"

# Arguments: base path, URL of the target, way of importing, signal, and where it strikes the worker itself:
# `before` it writes into the target, or `after` the target's commit and before the ledger knows.
WORKER = """
import os, signal, sys
from sqlalchemy import create_engine
from mmmeta import Metadir
from mmmeta.jobs import run as runner
from mmmeta.target.target import SqlTarget

path, url, way, end, where = sys.argv[1:]

def strike():
    os.kill(os.getpid(), getattr(signal, end))

def first(function, when=lambda *arguments: True):
    # Only once: a worker that was stopped and goes on shall not stop again.
    armed = [True]
    def struck(*arguments, **options):
        if armed and when(*arguments):
            armed.clear()
            strike()
        return function(*arguments, **options)
    return struck

runner.SETTLE_EVERY = 3600
if where == "after":
    # Outside of the state db's transaction: one who stops inside of it holds up all others, whatever they do.
    runner.Run._settle = first(runner.Run._settle, lambda run: run._outcomes)
else:
    SqlTarget.write = first(SqlTarget.write)
    SqlTarget.remove = first(SqlTarget.remove)

engine = create_engine(url)

def function(file):
    with engine.begin() as connection:
        if file.claim.receipt(connection):
            connection.exec_driver_sql(f"INSERT INTO documents VALUES ('{file['id']}', '{file['version']}')")

if where == "before":
    function = first(function)

load = {"to": url, "table": "documents", "mode": way}
job = Metadir(path).job("import", on_delete="action", **({} if way == "call" else {"load": load}))
report = job.run(*([function] if way == "call" else []))
print(report.done, report.lost, flush=True)
"""


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


@pytest.fixture(params=["upsert", "append", "call"])
def way(request: pytest.FixtureRequest, url: str) -> str:
    """How rows get into the target: both modes of ``load``, and a function with ``file.claim.receipt``."""
    if request.param == "call":
        query(url, "CREATE TABLE documents (id VARCHAR(20), version VARCHAR(20))")
    return str(request.param)


@pytest.fixture
def run(archive: Archive, url: str, way: str) -> Iterator[Callable[[], Job]]:
    """Runs the job in this process, as another worker."""
    from sqlalchemy import create_engine

    engine = create_engine(url)

    def function(file: File) -> None:
        assert file.claim is not None
        with engine.begin() as connection:
            if file.claim.receipt(connection):
                connection.exec_driver_sql(f"INSERT INTO documents VALUES ('{file['id']}', '{file['version']}')")

    def run() -> Job:
        load = {"to": url, "table": "documents", "mode": way}
        if way == "call":
            job = archive.client.job("import", on_delete="action")
            job.run(function)
        else:
            job = archive.client.job("import", load=load, on_delete="action")
            job.run().raise_for_failures()
        return job

    yield run
    engine.dispose()


class Workers:
    """Starts workers that strike themselves; whatever happens, none of them outlives the test."""

    def __init__(self, archive: Archive, url: str, way: str) -> None:
        self._arguments = [str(archive.client_path), url, way]
        self._processes: list[subprocess.Popen[str]] = []

    def killed(self, where: str) -> None:
        """One that has killed itself."""
        process = self._start("SIGKILL", where)
        assert process.wait(60) == -signal.SIGKILL

    def stopped(self, where: str) -> subprocess.Popen[str]:
        """One that has stopped itself, and can go on."""
        process = self._start("SIGSTOP", where)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        return process

    def woken(self, process: subprocess.Popen[str]) -> str:
        """Let a stopped one go on to its end; gives how many files it says were done, and how many lost."""
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return said.strip()

    def _start(self, end: str, where: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORKER, *self._arguments, end, where]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def workers(archive: Archive, url: str, way: str) -> Iterator[Workers]:
    made = Workers(archive, url, way)
    yield made
    made.close()


def version(number: int, files: str = FILES) -> dict[str, dict[str, str]]:
    return {name: {"version": str(number), "content_hash": str(number)} for name in files}


def target(url: str) -> list[tuple[str, str]]:
    return sorted((name, text) for name, text in query(url, "SELECT id, version FROM documents"))


def end_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this process the leases of all others have ended."""
    monkeypatch.setattr("mmmeta.state.ledger.sqlite.claims.boot_seconds", lambda: boot_seconds() + 3_600)


def assert_settled(job: Job, *, done: int) -> None:
    """Everything is done, nothing is left over."""
    status = job.status()
    assert (status.done, status.pending, status.claimed, status.failed, status.dead) == (done, 0, 0, 0, 0)


def test_killed_between_commit_and_record(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job]
) -> None:
    """The rows are in, the ledger does not know: the next run leaves them there once, and knows."""
    publish(archive, version(1))
    workers.killed("after")
    assert target(url) == [(name, "1") for name in FILES]
    assert archive.client.job("import", on_delete="action").status().done == 0
    assert_settled(run(), done=3)
    assert target(url) == [(name, "1") for name in FILES]


def test_killed_there_and_changed_before_the_next_run(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job]
) -> None:
    """The version that was committed unrecorded does not stand in the way of the next one, of any file."""
    publish(archive, version(1))
    workers.killed("after")
    publish(archive, version(2, "a"))
    assert_settled(run(), done=3)
    old = [] if way == "upsert" else [("a", "1")]
    assert target(url) == [*old, ("a", "2"), ("b", "1"), ("c", "1")]


def test_killed_there_again_and_again(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job]
) -> None:
    """However often, and when the second time is after a change."""
    publish(archive, version(1))
    for _ in range(2):
        workers.killed("after")
    publish(archive, version(2))
    for _ in range(2):
        workers.killed("after")
    assert_settled(run(), done=3)
    versions = "2" if way == "upsert" else "12"
    assert target(url) == [(name, text) for name in FILES for text in versions]


def test_killed_after_a_person_asked_for_it_anew(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job]
) -> None:
    """What is asked for anew is imported again, and that again just once."""
    publish(archive, version(1))
    job = run()
    job.retry(files=["b"])
    workers.killed("after")
    assert_settled(run(), done=3)
    twice = [] if way == "upsert" else [("b", "1")]
    assert target(url) == sorted([*twice, *((name, "1") for name in FILES)])


def test_killed_before_the_commit(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job]
) -> None:
    """Nothing is in, and the next run brings it."""
    publish(archive, version(1))
    workers.killed("before")
    if way == "call":
        assert target(url) == []
    assert_settled(run(), done=3)
    assert target(url) == [(name, "1") for name in FILES]


def test_stopped_before_the_commit_and_overtaken(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ends, another worker brings a newer version, then it wakes up: the older version is refused."""
    publish(archive, version(1))
    stopped = workers.stopped("before")
    publish(archive, version(2))
    end_leases(monkeypatch)
    job = run()
    newer = [(name, "2") for name in FILES]
    assert target(url) == newer
    assert workers.woken(stopped) == "0 3"
    assert target(url) == newer
    assert_settled(job, done=3)


def test_stopped_after_the_commit_and_overtaken(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker finds the same version in the target: it leaves it there once, and what the first one says when
    it wakes up counts for nothing."""
    publish(archive, version(1))
    stopped = workers.stopped("after")
    end_leases(monkeypatch)
    job = run()
    assert target(url) == [(name, "1") for name in FILES]
    said = workers.woken(stopped)
    assert said == "0 3"
    assert target(url) == [(name, "1") for name in FILES]
    assert_settled(job, done=3)


def test_stopped_before_and_overtaken_by_the_same_version(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late commit would be the same rows once more."""
    publish(archive, version(1))
    stopped = workers.stopped("before")
    end_leases(monkeypatch)
    job = run()
    assert workers.woken(stopped) == "0 3"
    assert target(url) == [(name, "1") for name in FILES]
    assert_settled(job, done=3)


@pytest.mark.parametrize("way", ["upsert", "append"], indirect=True)
@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_while_taking_out(
    archive: Archive, url: str, way: str, workers: Workers, run: Callable[[], Job], where: str
) -> None:
    """Rows of deleted files are gone in the end, and come back when the files do."""
    publish(archive, version(1))
    run()
    delete(archive, "a")
    workers.killed(where)
    assert target(url) == [(name, "1") for name in (FILES if where == "before" else "bc")]
    assert_settled(run(), done=2)
    assert target(url) == [("b", "1"), ("c", "1")]
    publish(archive, version(1, "a"))
    assert_settled(run(), done=3)
    assert target(url) == [(name, "1") for name in FILES]
