"""Workers that live and whose connections are cut: nobody takes them for dead, and what they have done is done once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock
from postgres import connected, emptied_server, query, server
from postgres_proxy import Proxy
from sqlalchemy import make_url

from mmmeta import Metadir
from mmmeta.files.file import File

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


def cut_locks() -> int:
    """End the sessions that show that workers live; how many."""
    with connected() as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    return len(rows)


PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.STATE_URL }}"
    jobs:
      job:
        call: {function: "ours:do"}
        batch_size: BATCH
"""

OURS = """
import os, time
def do(file):
    while not os.path.exists("all are there"):
        time.sleep(0.05)
    time.sleep(0.05)
    with open("done.log", "a") as log:
        log.write(file.unique_value + "\\n")
"""


@pytest.mark.parametrize("batch", [1, 20])
def test_living_workers_are_not_taken_for_dead(
    archive: Archive, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Their locks' connections are cut again and again; each file is done once, and none is dead or suspected."""
    names = [f"{number:03}" for number in range(60)]
    for name in names:
        archive.write(name)
    archive.deliver()
    away = tmp_path / "away"
    away.mkdir()
    (away / "mmmeta.yaml").write_text(PROJECT.replace("BATCH", str(batch)))
    (away / "ours.py").write_text(OURS)
    monkeypatch.setenv("STATE_URL", url)
    archive.client.job("job", call={"function": "ours:do"}).evaluate()
    workers = [subprocess.Popen([sys.executable, "-m", "mmmeta", "work", "--quiet"], cwd=away) for _ in range(2)]
    until = time.monotonic() + 90
    while query(archive.client, "SELECT count(DISTINCT worker) FROM ledger WHERE status = 'claimed'") != [(2,)]:
        assert time.monotonic() < until
        time.sleep(0.05)
    (away / "all are there").touch()
    cuts = 0
    while any(worker.poll() is None for worker in workers):
        assert time.monotonic() < until
        cuts += cut_locks()
        time.sleep(0.7)
    assert cuts >= 2
    ended = query(archive.client, "SELECT status, count(*), max(error_type) FROM ledger GROUP BY status")
    assert ended == [("done", len(names), None)]
    assert Counter((away / "done.log").read_text().split()) == dict.fromkeys(names, 1)
    tried = query(archive.client, "SELECT status, count(*) FROM attempts GROUP BY status")
    assert tried == [("done", len(names))]


def test_a_server_that_is_away_for_a_while_makes_nobody_dead(archive: Archive, url: str, tmp_path: Path) -> None:
    """All are cut off at once, in the middle of their batches, for longer than a lock may be missing."""
    if not str(make_url(url).query.get("host")).startswith("/"):
        pytest.skip("the server is not reached by a socket")
    proxy = Proxy(server())
    proxy.come()
    names = [f"{number:03}" for number in range(60)]
    for name in names:
        archive.write(name)
    archive.deliver()
    archive.client.job("job").evaluate()
    seen: list[str] = []

    def slow(file: File) -> None:
        seen.append(file.unique_value)
        time.sleep(0.1)

    def work(number: int) -> None:
        with Metadir(tmp_path / f"worker{number}", state=proxy.url, worker=True) as worker:
            worker.job("job", batch_size=8).run(slow)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.8)
        proxy.go()
        time.sleep(1.5)
        proxy.come()
    for thread in threads:
        thread.join(60)
    proxy.go()
    assert query(archive.client, "SELECT status, max(error_type) FROM ledger GROUP BY status") == [("done", None)]
    assert Counter(seen) == dict.fromkeys(names, 1)
