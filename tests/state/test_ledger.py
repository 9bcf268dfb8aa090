"""The ledger: what becomes pending, what is done once, what comes again, and whose claim counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock
from databases import POSTGRESQL
from postgres import emptied_server, query

from mmmeta import File, Job
from mmmeta.state.ledger.outcomes import Claim, Outcome
from mmmeta.state.ledger.store import Ledger
from mmmeta.state.liveness import Alive


@pytest.fixture(params=["sqlite", POSTGRESQL])
def archive(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """Identity and content apart, in all of these tests; the ledger in the named database."""
    made = Archive(tmp_path, client_clock=clock, state=emptied_server() if request.param == "postgresql" else None)
    made.server.layout.config.parent.mkdir(parents=True)
    made.server.layout.config.write_text("metadata:\n  unique: id\n")
    yield made
    made.close()


def publish(archive: Archive, *names: str, **keys: Any) -> None:
    """Write these files with content ``1`` unless given, and merge."""
    for name in names:
        archive.write(name, {"id": name, "content_hash": "1", **keys})
    archive.deliver()


def run(job: Job, **options: Any) -> str:
    """Run the job; gives the files it was handed, in order."""
    seen: list[str] = []
    job.run(lambda file: seen.append(file.unique_value), **options)
    return "".join(seen)


def pending(job: Job) -> str:
    return "".join(file.unique_value for file in job.pending())


def ledger(job: Job) -> Any:
    """The job's ledger in a transaction, for what the runner does not show."""
    return job._bench.changing()


def new_worker(archive: Archive) -> Alive:
    """A living worker of the client's."""
    made = archive.client._backend.state.ledger.worker()
    made.start()
    return made


def claim(job: Job, count: int, worker: Alive) -> list[Claim]:
    job.evaluate()
    with ledger(job) as opened:
        claims: list[Claim] = opened.claim(count, worker=worker.name, run_id="run", lease=600)
    return claims


@pytest.fixture
def worker(archive: Archive) -> Iterator[Alive]:
    """A living worker of the client's."""
    made = new_worker(archive)
    yield made
    made.stop()


# What is pending


def test_each_file_is_done_once(archive: Archive) -> None:
    """What matched when it came; later ones as they come; none again."""
    publish(archive, "a", "b", kind="x")
    publish(archive, "c", kind="y")
    job = archive.client.job("import", where={"kind": "x"})
    assert pending(job) == "ab"
    assert run(job) == "ab"
    assert run(job) == ""
    publish(archive, "d", kind="x")
    assert run(job) == "d"
    status = job.status()
    assert (status.pending, status.done, status.due, status.claimed) == (0, 3, 0, 0)


def test_two_jobs_have_their_own_ledgers(archive: Archive) -> None:
    """What one did, the other has still to do."""
    publish(archive, "a")
    assert run(archive.client.job("one")) == "a"
    assert run(archive.client.job("two")) == "a"


@pytest.mark.parametrize(
    ("rerun_on", "title", "content", "tag"),
    [("content", "", "a", ""), ("metadata", "a", "a", "a"), ("never", "", "", ""), (["title", "tag"], "a", "", "a")],
)
@pytest.mark.filterwarnings("ignore::mmmeta.errors.UnknownKeyWarning")  # the tag comes later
def test_rerun_on(archive: Archive, rerun_on: Any, title: str, content: str, tag: str) -> None:
    """Only what the rule names makes a done file due again; keys may be the client's own."""
    publish(archive, "a", "b", title="t")
    job = archive.client.job("import", rerun_on=rerun_on)
    run(job)
    publish(archive, "a", title="u")
    assert run(job) == title
    publish(archive, "a", title="u", content_hash="2")
    assert run(job) == content
    if rerun_on != "metadata":
        file = archive.client.files.get("a")
        assert file is not None
        file["tag"] = "mine"
        file.save()
        assert run(job) == tag
    assert run(job) == ""


def test_the_selection_may_ask_for_what_the_client_set(archive: Archive) -> None:
    """A save is a change like any other."""
    publish(archive, "a", "b")
    job = archive.client.job("import", where={"wanted": True})
    assert run(job) == ""
    file = archive.client.files.get("b")
    assert file is not None
    file["wanted"] = True
    file.save()
    assert run(job) == "b"


def test_a_window_that_moves(archive: Archive, clock: SettableClock) -> None:
    """Files come into "the last 7 days" when published; once selected they stay, although the days have passed."""
    publish(archive, "a", at="2026-02-27")
    publish(archive, "b", at="2026-01-01")
    job = archive.client.job("import", where={"at": {">=": {"ago": "7d"}}})
    assert pending(job) == "a"
    clock.forward(days=30)
    publish(archive, "c", at="2026-02-28")
    assert pending(job) == "a"
    assert run(job) == "a"


def test_files_that_grow_old_enough(archive: Archive, clock: SettableClock) -> None:
    """Into "older than 7 days" a file comes merely because time passes, without any update."""
    publish(archive, "a", at="2026-02-27")
    publish(archive, "b", at="2026-02-10")
    job = archive.client.job("import", where={"at": {"<": {"ago": "7d"}}})
    assert run(job) == "b"
    clock.forward(days=2)
    assert run(job) == ""
    clock.forward(days=3)
    assert run(job) == "a"
    assert run(job) == ""


def test_once_selected_a_file_stays(archive: Archive) -> None:
    """A pending file that no longer matches is still done; one that was done does not come again."""
    publish(archive, "a", "b", kind="x")
    job = archive.client.job("import", where={"kind": "x"})
    assert pending(job) == "ab"
    publish(archive, "a", kind="y")
    assert run(job) == "ab"
    publish(archive, "a", kind="x")
    assert run(job) == ""


def test_deleted_and_returning_files(archive: Archive) -> None:
    """Deleted ones leave, returning ones enter; what was done before it was deleted is done still."""
    publish(archive, "a", "b", "c")
    job = archive.client.job("import")
    assert run(job, limit=1) == "a"
    archive.server.files.delete(id=["a", "b"])
    archive.sync()
    archive.client.update()
    assert pending(job) == "c"
    status = job.status()
    assert (status.done, status.pending, status.skipped) == (1, 1, 1)
    archive.write("a", {"id": "a", "content_hash": "1", "back": 1})
    archive.write("b", {"id": "b", "content_hash": "1", "back": 1})
    archive.deliver()
    assert run(job) == "bc"


def test_a_file_deleted_between_claim_and_work(archive: Archive, worker: Alive) -> None:
    """It is set aside untried; done although deleted meanwhile is done."""
    publish(archive, "a", "b")
    job = archive.client.job("import")
    claims = claim(job, 2, worker)
    archive.server.files.delete(id=["a", "b"])
    archive.sync()
    archive.client.update()
    with ledger(job) as opened:
        opened.release(claims[:1])
        assert [entry.status for entry in opened.settle([Outcome(claims[1])], run_id=None, worker="w")] == ["done"]
    assert (job.status().skipped, job.status().done) == (1, 1)


# Claims


def test_a_new_version_while_a_file_is_worked_on(archive: Archive, worker: Alive) -> None:
    """Done or failed, the new version is pending, with all its attempts."""
    publish(archive, "a", "b")
    job = archive.client.job("import", attempts=1)
    claims = claim(job, 2, worker)
    publish(archive, "a", "b", content_hash="2")
    job.evaluate()
    with ledger(job) as opened:
        settled = opened.settle([Outcome(claims[0]), Outcome(claims[1], "Error", "x")], run_id=None, worker=worker.name)
    assert [entry.status for entry in settled] == ["pending", "pending"]
    assert run(job) == "ab"
    assert run(job) == ""


def test_a_stalled_worker_settles_in_vain(archive: Archive, worker: Alive) -> None:
    """Its lease ended, another took over: what it says late is lost, and the other's word counts."""
    publish(archive, "a")
    job = archive.client.job("import", lease=1)
    job.evaluate()
    with ledger(job) as opened:
        late = opened.claim(1, worker=worker.name, run_id=None, lease=-1)
    other = new_worker(archive)
    (taken,) = claim(job, 1, other)
    assert taken.token > late[0].token
    with ledger(job) as opened:
        assert opened.settle([Outcome(late[0])], run_id=None, worker=worker.name)[0].status == "lost"
        opened.release(late)
        assert opened.settle([Outcome(taken, "Error", "x")], run_id=None, worker=other.name)[0].status == "failed"
        assert opened.settle([Outcome(taken)], run_id=None, worker=other.name)[0].status == "lost"
    other.stop()
    assert job.status().failed == 1


def test_claims_of_a_dead_worker_come_back_at_once(archive: Archive, worker: Alive) -> None:
    """Its lock is free; a living one keeps its claims. Each file comes alone and last, for it may have been
    the reason."""
    publish(archive, "a", "b", "c", "d")
    job = archive.client.job("import", attempts=2)
    dead = new_worker(archive)
    claim(job, 2, dead)
    claim(job, 1, worker)
    dead.stop(holds=True)
    batches: list[list[str]] = []
    job.run(lambda files: batches.append([file.unique_value for file in files]), batch=True)
    assert batches == [["d"], ["a"], ["b"]]
    assert job.status().claimed == 1


def test_a_file_that_kills_its_workers_is_dead_at_last(archive: Archive) -> None:
    """It uses up its attempts although no worker lives to tell, and blocks nobody."""
    publish(archive, "a")
    job = archive.client.job("import", attempts=2)
    for _ in range(2):
        victim = new_worker(archive)
        assert claim(job, 1, victim)[0].file == "a"
        victim.stop(holds=True)
    publish(archive, "b")
    assert run(job) == "b"
    (entry,) = job.files("dead")
    assert (entry.file, entry.attempts, entry.error_type) == ("a", 2, "WorkerDied")
    assert job.retry(dead=True) == 1
    assert run(job) == "a"


@pytest.mark.parametrize("archive", ["sqlite"], indirect=True)
def test_leases_of_another_boot_are_void(archive: Archive) -> None:
    """After a reboot everything claimed is pending, and the attempt does not count."""
    publish(archive, "a")
    job = archive.client.job("import", attempts=1)
    gone = new_worker(archive)
    claim(job, 1, gone)
    gone.stop(holds=True)
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute("UPDATE ledger SET boot = 'another'")
    assert run(job) == "a"


def test_released_claims_count_no_attempt(archive: Archive, worker: Alive) -> None:
    """Given back untried."""
    publish(archive, "a")
    job = archive.client.job("import")
    with ledger(job) as opened:
        assert isinstance(opened, Ledger)
    (taken,) = claim(job, 5, worker)
    with ledger(job) as opened:
        opened.release([taken])
    assert pending(job) == "a"
    assert claim(job, 5, worker) == [Claim("a", taken.token + 2, 1)]


# What is recorded


def fail(file: File) -> None:
    raise ValueError(f"bad {file.unique_value}")


def test_the_ledger_remembers(archive: Archive, clock: SettableClock) -> None:
    """Run, times, attempts, content and revision; and each attempt in the history."""
    publish(archive, "a")
    job = archive.client.job("import", backoff=1)
    selected = clock.now
    job.run(fail, run_id="first")
    clock.forward(seconds=5)
    job.run(lambda file: None, run_id="second")
    (entry,) = job.files("done")
    assert (entry.run_id, entry.attempts, entry.error_type, entry.due) == ("second", 2, None, None)
    assert (entry.selected_at, entry.settled_at) == (selected, clock.now)
    history = query(
        archive.client,
        "SELECT run_id, status, error_type, started_at IS NOT NULL, ended_at IS NOT NULL FROM attempts ORDER BY id",
    )
    assert query(archive.client, "SELECT content, rev FROM ledger") == [("1", 1)]
    assert history == [("first", "failed", "ValueError", 1, 1), ("second", "done", None, 1, 1)]
