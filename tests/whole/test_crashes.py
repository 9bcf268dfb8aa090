"""Real worker processes that are killed or stopped at any moment: nothing is lost, nothing is done by two at once.

``make test-long`` runs the long version: ``MMMETA_CRASH_ROUNDS`` sets how often workers are killed.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import Metadir

ROUNDS = int(os.environ.get("MMMETA_CRASH_ROUNDS") or 15)
FILES = 400

# Forks workers, so that they are there at once, and kills them after a random time. It opens no database itself.
NURSERY = """
import os, random, signal, sys, time
import sqlalchemy.dialects.sqlite
import mmmeta.target.target, mmmeta.documents.transfer
from mmmeta import Metadir
from mmmeta.jobs.job import Job

path, target, mode, rounds, workers, seed = *sys.argv[1:4], *map(int, sys.argv[4:])
chance = random.Random(seed)

def work():
    load = {"to": f"sqlite:///{target}", "table": "documents", "mode": mode}
    job = Metadir(path).job("load", load=load, batch_size=4, attempts=1000)
    while job.run().attempted:
        pass

for _ in range(rounds):
    children = []
    for _ in range(workers):
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        children.append(child)
    for child in children:
        time.sleep(chance.uniform(0.005, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def python(code: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=stdout, text=True)


@pytest.fixture
def archive(archive: Archive) -> Archive:
    """Files are identified by ``id``, so that their content may change."""
    archive.server.layout.config.parent.mkdir()
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")
    return archive


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_killed_workers_lose_and_double_nothing(archive: Archive, tmp_path: Path, mode: str) -> None:
    """Several workers load into SQL and are killed again and again, while new versions come: in the end every file is
    in the target exactly once, in its last version, under the token that the ledger has. Where versions are appended,
    none is there twice, and the last one is there."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    for number in range(FILES):
        archive.write(f"{number:04}", {"id": f"{number:04}", "version": 0, "content_hash": "0"})
    archive.deliver()
    target = tmp_path / "target.db"
    nursery = python(NURSERY, archive.client_path, target, mode, ROUNDS, 2, seed)
    version = 0
    try:
        while nursery.poll() is None:
            version += 1
            for number in chance.sample(range(FILES), 20):
                name = f"{number:04}"
                archive.write(name, {"id": name, "version": version, "content_hash": f"{version}"})
            archive.deliver()
            time.sleep(0.1)
        assert nursery.returncode == 0
    finally:
        nursery.kill()
        nursery.wait()
    archive.deliver()
    load = {"to": f"sqlite:///{target}", "table": "documents", "mode": mode}
    job = archive.client.job("load", load=load, attempts=1000)
    while job.run().attempted:
        pass
    status = job.status()
    assert (status.done, status.pending, status.claimed, status.failed, status.dead) == (FILES, 0, 0, 0, 0)
    connection = sqlite3.connect(target)
    rows = connection.execute("SELECT id, version FROM documents").fetchall()
    receipts = dict(connection.execute("SELECT file, token FROM _mmmeta_receipts").fetchall())
    connection.close()
    last = {file["id"]: file["version"] for file in archive.client.files}
    if mode == "upsert":
        assert len(rows) == FILES
        assert dict(rows) == last
    else:
        assert len(set(rows)) == len(rows)
        assert set(last.items()) <= set(rows)
    with archive.client._backend.state.database.reading() as state:
        tokens = dict(state.execute("SELECT file, token FROM ledger").fetchall())
        assert state.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert tokens == receipts
    assert not list(archive.client.layout.workers.iterdir())


PROCESS = """
import os, sys, time
from mmmeta import Metadir

def work(file):
    os.write(log, f"{file.unique_value}\\n".encode())
    time.sleep(0.001)

log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
report = Metadir(sys.argv[1]).job("import", batch_size=10).run(work)
assert report.lost == 0
"""


def test_processes_share_a_job_without_overlap(archive: Archive, tmp_path: Path) -> None:
    """Each file is handed to exactly one of them."""
    for number in range(300):
        archive.write(f"{number:03}", id=f"{number:03}")
    archive.deliver()
    processes = [python(PROCESS, archive.client_path, tmp_path / "log") for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    seen = Counter((tmp_path / "log").read_text().split())
    assert (len(seen), set(seen.values())) == (300, {1})
    assert archive.client.job("import").status().done == 300


SLOW = """
import sys, time
from mmmeta import Metadir

def work(file):
    print("at work", flush=True)
    time.sleep(0.5)

report = Metadir(sys.argv[1]).job("import", lease=1).run(work)
print(report.done, report.lost, flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_gone_and_one_that_stalls(archive: Archive, end: signal.Signals) -> None:
    """A killed worker's file comes back at once. A stalled one's comes back when its lease ends, and what it says when
    it wakes up is lost."""
    archive.write("a", id="a")
    archive.deliver()
    process = python(SLOW, archive.client_path, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(end)
        seen: list[str] = []
        with Metadir(archive.client_path) as metadir:
            job = metadir.job("import", lease=1)
            started = time.monotonic()
            if end == signal.SIGKILL:
                process.wait()
            else:
                assert job.run(lambda file: seen.append(file.unique_value)).attempted == 0
            while not seen and time.monotonic() - started < 30:
                job.run(lambda file: seen.append(file.unique_value))
                time.sleep(0.05)
            assert seen == ["a"]
            assert (time.monotonic() - started < 1) == (end == signal.SIGKILL)
            process.send_signal(signal.SIGCONT)
            if end == signal.SIGSTOP:
                assert process.stdout.readline() == "0 1\n"
            assert job.status().done == 1
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
