"""A ledger in PostgreSQL: what several clients, versions and metadirs do to each other."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock
from postgres import connected, emptied_server, query

from mmmeta import Metadir
from mmmeta.errors import MassDeletionError, StateDbError
from mmmeta.filters import All
from mmmeta.state.ledger.outcomes import Candidate, Outcome
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore
from mmmeta.state.ledger.postgresql.worker import PostgresWorker
from mmmeta.state.ledger.rules import JobRules
from mmmeta.state.ledger.store import LedgerStore

pytestmark = pytest.mark.services

RULES = JobRules(
    name="job",
    condition=All(()),
    rerun_on="content",
    content_key="content_hash",
    attempts=2,
    backoff=60,
    order_by=None,
    fingerprint="f",
)


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """A server and a client whose ledger is in PostgreSQL."""
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


@pytest.fixture
def ledgers(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[LedgerStore]:
    store = PostgresLedgerStore(url, tmp_path / "workers", clock, None)
    yield store
    store.close()


def offer(ledgers: LedgerStore, *names: str) -> None:
    with ledgers.changing(RULES) as ledger:
        ledger.offer([Candidate(name, name, "1", None, 1, False, True) for name in names], 1)


def done(client: Metadir) -> list[str]:
    """What a run of the job does."""
    seen: list[str] = []
    client.job("job").run(lambda file: seen.append(file.unique_value))
    return seen


def cut_connections() -> None:
    """As a server that was started anew, or a firewall, does."""
    with connected() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mmmeta' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        )


# Clients


def test_nothing_of_the_ledger_is_in_the_state_db(archive: Archive) -> None:
    """The state db has the files; the ledger is in PostgreSQL, and all verbs go there."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    assert query(archive.client, "SELECT file, status FROM ledger") == [("a", "done")]
    with archive.client._backend.state.database.reading() as state:
        assert state.execute("SELECT count(*) FROM ledger").fetchone() == (0,)
    assert archive.client.status().jobs["job"].done == 1


def test_the_state_db_may_be_deleted_at_any_time(archive: Archive) -> None:
    """What was done stays done, and the id in receipts stays the same."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    before = archive.client.job("job")._bench.state_id
    archive.client.close()
    shutil.rmtree(archive.client.layout.local)
    archive.client.update()
    assert done(archive.client) == []
    archive.write("b")
    archive.deliver()
    assert done(archive.client) == ["b"]
    assert archive.client.job("job")._bench.state_id == before


def second(archive: Archive, tmp_path: Path, url: str, clock: SettableClock) -> Metadir:
    """Another client's copy as it is now, with the same ledger."""
    copy = tmp_path / "second"
    shutil.copytree(archive.client_path, copy, ignore=shutil.ignore_patterns("local"))
    client = Metadir(copy, clock=clock, state=url)
    client.update()
    return client


def test_who_has_an_older_copy_changes_nothing(
    archive: Archive, url: str, tmp_path: Path, clock: SettableClock
) -> None:
    """It is told so when it wants to work, and goes on with the next sync."""
    archive.write("a", title="old")
    archive.deliver()
    with second(archive, tmp_path, url, clock) as older:
        older.job("job").evaluate()
        archive.write("a", title="new", content_hash="a")
        archive.write("b")
        archive.deliver()
        archive.client.job("job").evaluate()
        before = query(archive.client, "SELECT file, wanted, rev FROM ledger ORDER BY file")
        older.job("job").evaluate()
        assert query(archive.client, "SELECT file, wanted, rev FROM ledger ORDER BY file") == before
        with pytest.raises(StateDbError, match=r"heard of revision 2 .* here is revision 1: sync and run"):
            done(older)
        assert sorted(done(archive.client)) == ["a", "b"]
        shutil.copytree(
            archive.client_path, tmp_path / "second", ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True
        )
        older.update()
        assert done(older) == []


def test_two_clients_share_the_work(archive: Archive, url: str, tmp_path: Path, clock: SettableClock) -> None:
    """Each file is done by one of them, whoever has evaluated."""
    for name in "abcd":
        archive.write(name)
    archive.deliver()
    with second(archive, tmp_path, url, clock) as other:
        job = archive.client.job("job")
        ours = job.claim(2)
        assert sorted([*(file.unique_value for file in ours), *done(other)]) == ["a", "b", "c", "d"]


def test_metadirs_have_schemas_of_their_own(archive: Archive, tmp_path: Path, clock: SettableClock) -> None:
    """Two in one schema are told; in two they do not know each other."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    url = emptied_server("mmmeta_test_other")
    other = Archive(tmp_path / "other", client_clock=clock, state=url)
    other.write("x")
    other.deliver()
    assert done(other.client) == ["x"]
    other.close()
    refused = pytest.raises(MassDeletionError, match=r"follows another metadata db, .*\(\?schema=name")
    with Metadir(other.client_path, clock=clock, state=archive.client.layout.ledger) as mixed, refused:
        done(mixed)
    assert done(archive.client) == []
    with connected() as connection:
        connection.execute("DROP SCHEMA mmmeta_test_other CASCADE")


# Workers

CLAIM = """
import os, sys
from mmmeta import Metadir
job = Metadir(sys.argv[1], state=sys.argv[2]).job("job")
print(*[file.unique_value for file in job.claim(1)], flush=True)
sys.stdin.read()
"""


def test_a_killed_worker_s_files_are_free_at_once(archive: Archive, url: str) -> None:
    """Within a second, whatever its lease."""
    archive.write("a")
    archive.deliver()
    command = [sys.executable, "-c", CLAIM, str(archive.client_path), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a\n"
        assert done(archive.client) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    began = time.monotonic()
    while not (seen := done(archive.client)):
        assert time.monotonic() - began < 5
    assert seen == ["a"]


def test_a_worker_whose_connection_was_cut_shows_itself_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, so that nobody takes what it has; what others took while its process stood still is theirs, and its late word
    is lost."""
    archive.write("a")
    archive.deliver()
    store = archive.client._backend.state.ledger
    worker = store.worker()
    worker.start()
    job = archive.client.job("job")
    job.evaluate()
    with job._bench.changing() as ledger:
        (claim,) = ledger.claim(1, worker=worker.name, run_id=None, lease=600)
    worker.lease.begin(float("inf"))
    cut_connections()
    assert done(archive.client) == []
    cut_connections()
    worker.stay(wait=True)
    assert done(archive.client) == []
    assert not worker.lease.ran_out
    standing = PostgresWorker._look
    monkeypatch.setattr(PostgresWorker, "_look", lambda self: None if self is worker else standing(self))
    cut_connections()
    assert done(archive.client) == ["a"]
    with job._bench.changing() as ledger:
        assert ledger.settle([Outcome(claim)], run_id=None, worker=worker.name)[0].status == "lost"
    monkeypatch.undo()
    worker.stay()
    assert worker.lease.ran_out  # what it has left of its batch is others' by now
    worker.stop()


def test_two_workers_at_once_never_have_the_same_file(ledgers: LedgerStore) -> None:
    """Nor does the second wait for the first; where the rest is in others' hands, it is waited for."""
    offer(ledgers, *"abcd")
    with ledgers.changing(RULES) as first:
        one = first.claim(3, worker="session/1", run_id=None, lease=600)
        two = in_thread(ledgers, 3)
        assert [claim.file for claim in (*one, *two)] == list("abcd")


def in_thread(ledgers: LedgerStore, count: int) -> list[object]:
    from concurrent.futures import ThreadPoolExecutor

    def claim() -> list[object]:
        with ledgers.changing(RULES) as ledger:
            return list(ledger.claim(count, worker="lease/2", run_id=None, lease=600))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(claim).result(timeout=30)


WORK = """
import sys, time
from pathlib import Path
from mmmeta.clock import utcnow
from mmmeta.filters import All
from mmmeta.state.ledger.outcomes import Outcome
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore
from mmmeta.state.ledger.postgresql.worker import PostgresWorker
from mmmeta.state.ledger.rules import JobRules

rules = JobRules("job", All(()), "content", "content_hash", 2, 60, None, "f")
store = PostgresLedgerStore(sys.argv[1], Path(sys.argv[2]), utcnow, None)
worker = store.worker()
worker.start()
idle = time.monotonic()
while time.monotonic() - idle < 2:
    with store.changing(rules) as ledger:
        claims = ledger.claim(20, worker=worker.name, run_id=None, lease=600)
    if claims:
        with store.changing(rules) as ledger:
            ledger.settle([Outcome(claim) for claim in claims], run_id=None, worker=worker.name)
        idle = time.monotonic()
"""


def test_workers_that_are_killed_while_files_change(ledgers: LedgerStore, url: str, tmp_path: Path) -> None:
    """In the end each file is done in its last version, no two are in each other's way, and the counts are right."""
    chance = random.Random(7)
    versions = {f"{number:04}": 1 for number in range(1_000)}

    def publish(names: list[str]) -> None:
        with ledgers.changing(RULES) as ledger:
            ledger.offer([Candidate(name, name, str(versions[name]), None, 1, False, True) for name in names], 1)

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORK, url, str(tmp_path / "workers")])

    publish(list(versions))
    workers = [begin() for _ in range(3)]
    for _ in range(8):
        time.sleep(0.5)
        some = chance.sample(sorted(versions), 100)
        for name in some:
            versions[name] += 1
        publish(some)
        killed = workers.pop(0)
        killed.kill()
        killed.wait()
        workers.append(begin())
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    with ledgers.looking() as view:
        assert view.miscounts() == []
        assert view.count("job", "done") == len(versions)
        assert view.done_versions("job", list(versions)) == {name: str(number) for name, number in versions.items()}
