"""``job.claim``, ``done``, ``failed``, ``release``, ``one`` and ``several``: loops of one's own."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from archives import Archive, SettableClock

from mmmeta import File, Job, Metadir
from mmmeta.errors import JobError
from mmmeta.state.ledger.rules import HISTORY_DAYS


@pytest.fixture
def archive(tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """Five files, merged; the client's clock obeys."""
    made = Archive(tmp_path, client_clock=clock)
    for name in "abcde":
        made.write(name)
    made.deliver()
    yield made
    made.close()


@pytest.fixture
def job(archive: Archive) -> Job:
    return archive.client.job("import", attempts=2)


def names(files: list[File]) -> str:
    return "".join(file.unique_value for file in files)


def statuses(job: Job) -> dict[str, str]:
    words = ("pending", "claimed", "done", "failed", "dead", "skipped")
    return {entry.file: entry.status for entry in job.files(words)}


def test_a_loop_of_ones_own(job: Job, archive: Archive) -> None:
    """Claim, say how each ended, give back the rest; nobody else gets them meanwhile."""
    files = job.claim(3)
    assert names(files) == "abc"
    other = archive.client.job("import", attempts=2)
    assert names(other.claim(9)) == "de"
    assert job.claim() == []
    assert job.done(files[0], bytes=7) == ["done"]
    assert job.failed(files[1], ValueError("no good")) == "failed"
    job.release(files[2])
    found = {entry.file: entry for entry in job.files(["done", "failed", "pending"])}
    assert {name: entry.status for name, entry in found.items()} == {"a": "done", "b": "failed", "c": "pending"}
    assert (found["a"].bytes, found["b"].error_message, found["c"].attempts) == (7, "no good", 0)
    assert list(archive.client.layout.workers.iterdir()) != []


def test_what_is_not_held_cannot_be_settled(job: Job, archive: Archive) -> None:
    """Nor twice; a plain file was never claimed."""
    (file,) = job.claim()
    job.done(file)
    with pytest.raises(JobError, match="'a' is not claimed here"):
        job.done(file)
    plain = archive.client.files.get("b")
    assert plain is not None
    with pytest.raises(JobError, match="'b' is not claimed here"):
        job.failed(plain, ValueError())


def test_the_worker_rests_when_nothing_is_held(job: Job, archive: Archive) -> None:
    """No thread and no lock file stay behind; the next claim starts anew."""
    workers = archive.client.layout.workers
    before = threading.active_count()
    for _ in range(2):
        files = job.claim(2)
        assert len(list(workers.iterdir())) == 1
        assert threading.active_count() == before + 1
        job.release_all()
        assert list(workers.iterdir()) == []
        assert threading.active_count() == before
    assert names(files) == "ab"


def test_one_at_a_time(job: Job) -> None:
    """Done at the end of the block, failed where it raises, given back where it is broken off; None at the end."""
    with job.one() as file:
        assert file is not None
        assert file.unique_value == "a"
    with pytest.raises(ValueError, match="no"), job.one() as file:
        raise ValueError("no")
    with suppress(KeyboardInterrupt), job.one() as file:
        raise KeyboardInterrupt
    assert statuses(job) == {"a": "done", "b": "failed", "c": "pending", "d": "pending", "e": "pending"}
    seen = []
    while True:
        with job.one() as file:
            if file is None:
                break
            seen.append(file.unique_value)
    assert seen == ["c", "d", "e"]


def test_several_at_once(job: Job) -> None:
    """The same for a batch: all or none."""
    with job.several(2) as files:
        assert names(files) == "ab"
    with pytest.raises(ValueError, match="no"), job.several(2) as files:
        raise ValueError("no")
    with job.several(9) as files:
        assert names(files) == "e"
    with job.several(9) as files:
        assert files == []
    assert statuses(job) == {"a": "done", "b": "done", "c": "failed", "d": "failed", "e": "done"}


def test_a_lease_that_was_lost(job: Job, archive: Archive) -> None:
    """Another has the file by now, and what it says counts."""
    (file,) = job.claim()
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute("UPDATE ledger SET lease_until = 0 WHERE file = 'a'")
    seen: list[str] = []
    assert job.run(lambda other: seen.append(other.unique_value)).done == 5
    assert "a" in seen
    assert job.done(file) == ["lost"]
    assert [attempt.status for attempt in job.history(file="a")] == ["lost", "done"]
    assert job.status().done == 5


def test_several_threads_share_what_one_job_claims(job: Job) -> None:
    """Each file goes to one of them."""
    seen: list[str] = []

    def work() -> None:
        while files := job.claim(1):
            seen.append(files[0].unique_value)
            job.done(*files)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list("abcde")
    assert job.status().done == 5


DIES = """
import os, signal, sys
from mmmeta import Metadir
job = Metadir(sys.argv[1]).job("import", attempts=2)
job.done(*job.claim(1))
job.claim(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_dies_with_files_in_its_hands(job: Job, archive: Archive) -> None:
    """They are free at once, each alone, and what was said to be done is done."""
    ended = subprocess.run([sys.executable, "-c", DIES, str(archive.client_path)], timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert statuses(job) == {"a": "done", "b": "claimed", "c": "claimed", "d": "pending", "e": "pending"}
    taken = [names(job.claim(9)) for _ in range(3)]
    assert taken == ["b", "c", "de"]


def test_the_run_goes_on_with_what_is_left(job: Job) -> None:
    """Hands and runs are the same ledger."""
    held = job.claim(2)
    report = job.run(lambda file: None)
    assert (report.done, report.pending) == (3, 0)
    assert job.done(*held) == ["done", "done"]


def test_a_block_may_settle_its_files_itself(job: Job) -> None:
    """The end of the block settles only the rest."""
    with job.several(3) as files:
        job.failed(files[0], ValueError("no"))
        job.release(files[1])
    with job.one() as file:
        assert file is not None
        job.release(file)
    assert statuses(job) == {"a": "failed", "b": "pending", "c": "done", "d": "pending", "e": "pending"}


class Cancelled(BaseException):
    """No Exception, as asyncio's CancelledError."""


def test_a_block_that_is_broken_off_gives_its_files_back(job: Job) -> None:
    """Whatever breaks it off; and only its own."""
    held = job.claim(1)
    with suppress(Cancelled), job.several(2):
        raise Cancelled
    assert statuses(job) == {"a": "claimed", "b": "pending", "c": "pending", "d": "pending", "e": "pending"}
    assert job.done(*held) == ["done"]


def test_giving_back_no_files_gives_back_none(job: Job) -> None:
    """An empty list means what it says; all of them have a method of their own."""
    files = job.claim(2)
    job.release(*[])
    assert job.status().claimed == 2
    job.release_all()
    assert job.status().claimed == 0
    with pytest.raises(JobError, match="'a' is not claimed here"):
        job.done(files[0])


def test_numbers_and_names_that_mean_no_files(job: Job) -> None:
    """A clear error, and nothing is claimed or settled."""
    for count in (0, -1):
        with pytest.raises(JobError, match=f"from 1 on, not {count}"):
            job.claim(count)
    (file,) = job.claim()
    for call in (job.done, job.release):
        with pytest.raises(JobError, match="'a' is not a file that claim"):
            call("a")  # type: ignore[arg-type]
    assert job.done(file, file) == ["done", "done"]
    assert [attempt.status for attempt in job.history()] == ["done"]


def test_a_job_that_nobody_has_any_more_gives_its_files_back(job: Job, archive: Archive) -> None:
    """Nobody could say how they ended; no thread and no lock stay behind."""
    before = threading.active_count()
    archive.client.job("import", attempts=2).claim(3)
    gc.collect()
    until = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert list(archive.client.layout.workers.iterdir()) == []
    assert {entry.status: entry.attempts for entry in job.files(["claimed", "pending"])} == {"pending": 0}
    assert names(job.claim(9)) == "abcde"


def test_old_attempts_are_forgotten(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by who never calls ``run``: at the end of the loop."""
    monkeypatch.setattr("mmmeta.state.ledger.sqlite.ledger.HISTORY_KEPT", 1)
    clock = SettableClock()
    with Metadir(archive.client_path, clock=clock) as client:
        client.update()
        job = client.job("import")
        job.done(*job.claim(2))
        clock.forward(days=HISTORY_DAYS + 1)
        job.done(*job.claim(1))
        assert [attempt.file for attempt in job.history()] == ["c"]
