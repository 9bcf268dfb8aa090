"""The ledger: what a changed definition makes come again, and what becomes of files that fail."""

from __future__ import annotations

from datetime import timedelta

import pytest
import test_ledger
from archives import Archive, SettableClock
from test_ledger import fail, pending, publish, run

from mmmeta.errors import JobError

archive = test_ledger.archive
"""The same one, with identity and content apart."""

# Changes of the definition


def test_another_selection(archive: Archive) -> None:
    """What it does not mean leaves the pending files, what it means enters, and nothing done comes again."""
    publish(archive, "a", "b", kind="x")
    publish(archive, "c", kind="y")
    job = archive.client.job("import", where={"kind": "x"})
    assert run(job, limit=1) == "a"
    job = archive.client.job("import", where={"kind": ["y", "z"]})
    assert job.plan().newly_selected == 1
    assert pending(job) == "c"
    assert job.status().skipped == 1
    assert run(archive.client.job("import", where={})) == "bc"


def test_another_rerun_on_does_not_start_over(archive: Archive) -> None:
    """What is done counts as done in the version it has now; later changes go by the new rule."""
    publish(archive, "a", "b", title="t")
    run(archive.client.job("import"))
    by_metadata = archive.client.job("import", rerun_on="metadata")
    assert run(by_metadata) == ""
    publish(archive, "a", title="u")
    assert run(by_metadata) == "a"
    assert run(archive.client.job("import", rerun_on="never")) == ""
    by_title = archive.client.job("import", rerun_on=["title"])
    assert run(by_title) == ""
    publish(archive, "b", title="u")
    assert run(by_title) == "b"


def test_a_change_just_before_another_rerun_on_is_not_lost(archive: Archive) -> None:
    """What became due under the old rule and was not looked at yet is due under the new one."""
    publish(archive, "a", "b", title="t")
    run(archive.client.job("import"))
    publish(archive, "a", content_hash="2", title="t")
    assert run(archive.client.job("import", rerun_on=["title"])) == "a"


def test_another_order(archive: Archive) -> None:
    """order_by applies to what is pending already, and makes nothing done due again."""
    for name, pages in [("a", 2), ("b", 3), ("c", 1), ("d", None)]:
        publish(archive, name, pages=pages)
    assert pending(archive.client.job("import", order_by="pages")) == "dcab"
    job = archive.client.job("import", order_by="-pages")
    assert pending(job) == "bacd"
    assert run(job, limit=1) == "b"
    publish(archive, "c", pages=9)
    assert run(archive.client.job("import", order_by="-pages")) == "cad"
    assert run(archive.client.job("import")) == ""


# Failures


def test_attempts_backoff_and_death(archive: Archive, clock: SettableClock) -> None:
    """A failed file waits, longer each time, and is dead when its attempts are used up; it stops nobody."""
    publish(archive, "a", "b")
    job = archive.client.job("import", attempts=3, backoff="1m")
    report = job.run(fail)
    assert (report.failed, report.dead, report.attempted, report.due_later, report.pending) == (2, 0, 2, 2, 0)
    assert run(job) == ""
    status = job.status()
    assert (status.failed, status.due) == (2, 0)
    assert status.earliest_due is not None
    assert timedelta(seconds=45) <= status.earliest_due - clock.now <= timedelta(seconds=75)
    clock.forward(seconds=76)
    assert job.status().due == 2
    assert run(job, limit=1) == "a"
    assert job.run(fail).failed == 1
    entry = job.files("failed")[0]
    assert (entry.file, entry.attempts, entry.error_type, entry.error_message) == ("b", 2, "ValueError", "bad b")
    assert "raise ValueError" in str(entry.error_lines)
    assert entry.due is not None
    assert timedelta(seconds=90) <= entry.due - clock.now <= timedelta(seconds=150)
    clock.forward(seconds=151)
    report = job.run(fail)
    assert (report.failed, report.dead, report.failures[0].status, report.failures[0].attempts) == (0, 1, "dead", 3)
    clock.forward(days=100)
    assert run(job) == ""
    assert (job.status().dead, job.status().due) == (1, 0)


def test_retry(archive: Archive, clock: SettableClock) -> None:
    """Failed files now, dead ones if asked, or only those named; with all attempts before them again."""
    publish(archive, "a", "b", "c")
    job = archive.client.job("import", attempts=1)
    job.run(fail, limit=1)
    job = archive.client.job("import", attempts=2)
    job.run(fail)
    assert job.retry() == 2
    assert pending(job) == "bc"
    with pytest.raises(JobError, match="no file 'nobody'"):
        job.retry(dead=True, files=["nobody"])
    assert job.retry(dead=True, files=["a"]) == 1
    assert run(job) == "abc"
    assert job.retry(dead=True) == 0


def test_dismissed_files_are_settled_for_good(archive: Archive) -> None:
    """Dead ones only; nothing that is looked at brings them back, but a new version, or a person by name."""
    publish(archive, "a", "b", "c", "d")
    job = archive.client.job("import", attempts=1)
    job.run(fail, limit=3)
    with pytest.raises(JobError, match="no file 'nobody'"):
        job.dismiss(["a", "nobody"])
    assert job.dismiss(dry_run=True) == 3
    assert job.dismiss("d") == 0
    assert job.dismiss(["a", "a"]) == 1
    assert job.dismiss() == 2
    assert [attempt.status for attempt in job.history(file="a")] == ["dismissed", "dead"]
    assert (job.status().dead, job.set_aside()) == (0, {"Dismissed": 3})
    assert "a person has dismissed it" in job.why("a").lines[0]
    publish(archive, "a", title="only a new title")
    publish(archive, "c", content_hash="2")
    archive.client.job("import", where={"id": ["a", "d"]}).evaluate()
    job = archive.client.job("import", attempts=2, rerun_on="metadata")
    assert run(job) == "cd"
    publish(archive, "a", title="another")
    assert run(job) == "a"
    assert job.retry(files="b") == 1
    assert run(job) == "b"


def test_what_was_dismissed_before_it_was_undone_is_done_anew_when_it_returns(archive: Archive) -> None:
    """Deleted it waits for nobody; nobody knows how much of it was undone."""
    publish(archive, "a")
    job = archive.client.job("import", attempts=1, on_delete="action")
    run(job)
    archive.remove("a")
    archive.publish(ensure=True, allow_mass_delete=True)
    archive.sync()
    archive.client.update()
    job.run(fail)
    assert job.dismiss() == 1
    assert pending(job) == ""
    publish(archive, "a")
    assert run(job) == "a"


@pytest.mark.parametrize("attempts", [1, 5])
def test_a_new_version_of_a_failed_or_dead_file(archive: Archive, attempts: int) -> None:
    """It is pending at once, and starts afresh."""
    publish(archive, "a", "b")
    job = archive.client.job("import", attempts=attempts)
    job.run(fail)
    publish(archive, "a", title="only a new title")
    assert pending(job) == ""
    publish(archive, "a", content_hash="2")
    assert run(job) == "a"
    assert job.files("done")[0].attempts == 1


def test_a_failed_file_that_is_deleted(archive: Archive, clock: SettableClock) -> None:
    """Nobody waits for it any more."""
    publish(archive, "a")
    job = archive.client.job("import")
    job.run(fail)
    archive.server.files.delete(id="a")
    archive.sync()
    archive.client.update()
    assert (job.status().failed, job.status().skipped) == (0, 1)
    clock.forward(days=2)
    assert run(job) == ""
