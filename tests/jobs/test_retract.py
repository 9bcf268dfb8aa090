"""Deleted files: ignored, or handed to the action to be undone, each once, however they come and go meanwhile."""

from __future__ import annotations

import pytest
from archives import Archive, SettableClock

from mmmeta import File, Job
from mmmeta.state.liveness import Worker


@pytest.fixture
def archive(archive_by_id: Archive) -> Archive:
    """Identity and content apart, in all of these tests."""
    return archive_by_id


def publish(archive: Archive, *names: str, content: str = "1") -> None:
    archive.server.files.upsert_many([{"id": name, "content_hash": content} for name in names], ["id"])
    archive.sync()
    archive.client.update()


def delete(archive: Archive, *names: str) -> None:
    archive.server.files.delete(id=list(names))
    archive.sync()
    archive.client.update()


def run(job: Job, failing: str = "") -> list[str]:
    """Run the job; what it was handed, ``-a`` where ``a`` is to be undone."""
    seen: list[str] = []

    def work(file: File) -> None:
        assert file.claim is not None
        seen.append(f"{'-' if file.claim.retract else ''}{file.unique_value}")
        if file.unique_value in failing:
            raise ValueError("no")

    job.run(work)
    return seen


def undoing(archive: Archive, **rules: object) -> Job:
    return archive.client.job("import", on_delete="action", **rules)


def test_what_was_done_is_undone_once(archive: Archive) -> None:
    """Not what never was done; the report and the job's numbers say so."""
    publish(archive, "a", "b")
    job = undoing(archive)
    assert run(job) == ["a", "b"]
    publish(archive, "c")
    assert job.status().pending == 1
    delete(archive, "a", "c")
    assert job.plan().retract == 1
    report = job.run(lambda file: None)
    assert (report.attempted, report.retracted, report.done) == (1, 1, 0)
    assert run(job) == []
    assert job.set_aside() == {"Retracted": 1, "Deleted": 1}
    assert [(attempt.file, attempt.status) for attempt in job.history(limit=1)] == [("a", "retracted")]


def test_without_it_a_deleted_file_stays_done(archive: Archive) -> None:
    """``ignore`` is the default."""
    publish(archive, "a")
    job = archive.client.job("import")
    run(job)
    delete(archive, "a")
    assert run(job) == []
    assert job.status().done == 1


def test_a_file_that_is_back_before_it_was_undone(archive: Archive) -> None:
    """Is done as before, or comes again if it changed; nothing is undone."""
    publish(archive, "a", "b")
    job = undoing(archive)
    run(job)
    delete(archive, "a", "b")
    assert job.status().pending == 2
    publish(archive, "a")
    publish(archive, "b", content="2")
    assert run(job) == ["b"]
    assert job.status().done == 2


def test_a_file_that_is_back_after_it_was_undone(archive: Archive) -> None:
    """Is done anew, also unchanged."""
    publish(archive, "a")
    job = undoing(archive)
    run(job)
    delete(archive, "a")
    assert run(job) == ["-a"]
    publish(archive, "a")
    assert run(job) == ["a"]


@pytest.mark.parametrize(("on_delete", "then"), [("action", ["-a"]), ("ignore", [])])
def test_a_file_that_is_deleted_while_it_is_worked_on(archive: Archive, on_delete: str, then: list[str]) -> None:
    """It was done; what follows is what the job says of deleted files."""
    publish(archive, "a")
    job = archive.client.job("import", on_delete=on_delete)
    (file,) = job.claim()
    delete(archive, "a")
    job.evaluate()
    assert job.done(file) == ["pending" if then else "done"]
    assert run(job) == then


@pytest.mark.parametrize("on_delete", ["action", "ignore"])
def test_a_file_that_fails_and_is_deleted_meanwhile(archive: Archive, on_delete: str) -> None:
    """Nobody waits for it."""
    publish(archive, "a")
    job = archive.client.job("import", on_delete=on_delete)
    (file,) = job.claim()
    delete(archive, "a")
    job.evaluate()
    assert job.failed(file, ValueError("no")) == "skipped"
    assert job.set_aside() == {"Deleted": 1}
    assert run(job) == []


def test_a_new_version_that_fails_and_is_deleted(archive: Archive) -> None:
    """What the old version left is undone."""
    publish(archive, "a")
    job = undoing(archive)
    run(job)
    publish(archive, "a", content="2")
    assert run(job, failing="a") == ["a"]
    delete(archive, "a")
    assert run(job) == ["-a"]


def test_undoing_that_fails(archive: Archive, clock: SettableClock) -> None:
    """It has its attempts like any other, and a dead one is brought back by a person."""
    publish(archive, "a")
    job = undoing(archive, attempts=2)
    run(job)
    delete(archive, "a")
    assert run(job, failing="a") == ["-a"]
    assert run(job) == []
    clock.forward(days=2)
    assert run(job, failing="a") == ["-a"]
    (dead,) = job.files("dead")
    assert (dead.file, dead.retract, dead.attempts) == ("a", True, 2)
    assert job.retry(dead=True) == 1
    assert run(job) == ["-a"]
    assert job.set_aside() == {"Retracted": 1}


def test_undoing_that_failed_and_a_file_that_is_back(archive: Archive) -> None:
    """Half of it may be gone, so it is done anew although it did not change."""
    publish(archive, "a")
    job = undoing(archive)
    run(job)
    delete(archive, "a")
    run(job, failing="a")
    publish(archive, "a")
    assert run(job) == ["a"]


def test_a_file_that_is_back_while_it_is_undone(archive: Archive) -> None:
    """It is gone from where it was, so it comes again."""
    publish(archive, "a")
    job = undoing(archive)
    run(job)
    delete(archive, "a")
    (file,) = job.claim()
    publish(archive, "a")
    assert job.done(file) == ["pending"]
    assert run(job) == ["a"]


def test_deletions_that_count_later_and_no_more(archive: Archive) -> None:
    """A job told to undo starts with what was deleted before; one told to ignore drops what was not undone yet."""
    publish(archive, "a", "b")
    run(archive.client.job("import"))
    delete(archive, "a", "b")
    assert run(undoing(archive), failing="b") == ["-a", "-b"]
    ignoring = archive.client.job("import")
    status = ignoring.status()
    assert (status.failed, status.pending, status.skipped) == (0, 0, 2)
    assert run(ignoring) == []


@pytest.mark.parametrize("on_delete", ["action", "ignore"])
def test_a_file_that_is_deleted_in_the_hands_of_a_dead_worker(archive: Archive, on_delete: str) -> None:
    """What was evaluated meanwhile is not forgotten: the old version is undone, or nobody waits for it."""
    publish(archive, "a", "b")
    job = archive.client.job("import", on_delete=on_delete, attempts=1)
    run(job)
    publish(archive, "a", content="2")
    worker = Worker(archive.client.layout.workers)
    worker.start()
    job.evaluate()
    assert job._bench.claim(1, worker.name, None) is not None
    delete(archive, "a")
    job.evaluate()
    worker.stop(holds=True)
    assert run(job) == (["-a"] if on_delete == "action" else [])
    assert (job.status().dead, job.status().skipped) == (0, 1)


def test_a_new_version_that_comes_while_a_worker_dies(archive: Archive) -> None:
    """The old one was the last attempt; the new one is tried nevertheless."""
    publish(archive, "a")
    job = archive.client.job("import", attempts=1)
    worker = Worker(archive.client.layout.workers)
    worker.start()
    job.evaluate()
    assert job._bench.claim(1, worker.name, None) is not None
    publish(archive, "a", content="2")
    job.evaluate()
    worker.stop(holds=True)
    assert run(job) == ["a"]
    assert job.status().done == 1


def test_a_file_that_is_back_after_a_worker_died_undoing_it(archive: Archive) -> None:
    """Nobody knows how far it came, so it is done anew although it did not change."""
    publish(archive, "a")
    job = undoing(archive)
    run(job)
    delete(archive, "a")
    worker = Worker(archive.client.layout.workers)
    worker.start()
    job.evaluate()
    (file,) = job._bench.claim(1, worker.name, None) or ()
    assert file.claim is not None
    assert file.claim.retract
    worker.stop(holds=True)
    publish(archive, "a")
    assert run(job) == ["a"]
