"""Workers: they help with what is pending, merge nothing and evaluate nothing, and are told when they know better or worse."""

from __future__ import annotations

from typing import Any

import pytest
from archives import Archive, deliver, nothing

from mmmeta.errors import JobError, StateDbError
from mmmeta.files.file import File


def test_a_worker_does_what_was_evaluated(archive: Archive) -> None:
    """Until nothing is due; what came meanwhile waits for an update."""
    deliver(archive, "a", "b")
    archive.client.job("job").evaluate()
    archive.write("c")
    archive.publish()
    seen: list[str] = []
    report = archive.client.job("job").work(lambda file: seen.append(file.unique_value))
    assert (sorted(seen), report.done, report.pending) == (["a", "b"], 2, 0)
    assert archive.client.job("job").work(nothing).attempted == 0


def test_a_worker_begins_nothing(archive: Archive) -> None:
    """Neither a state db nor a job."""
    archive.write("a")
    archive.publish()
    with pytest.raises(StateDbError, match="run `mmmeta update` first"):
        archive.client.job("job").work(nothing)
    assert not archive.client.layout.state.exists()
    archive.client.update()
    with pytest.raises(JobError, match="'job' was never evaluated: run `mmmeta update`"):
        archive.client.job("job").work(nothing)
    assert archive.client.status().jobs == {}


@pytest.mark.parametrize("other", [{"where": {"title": "x"}}, {"attempts": 7}, {"rerun_on": "metadata"}], ids=str)
def test_a_worker_with_another_definition_is_told(archive: Archive, other: dict[str, object]) -> None:
    """It works on nothing, and what was evaluated stays as it is."""
    deliver(archive, "a", title="x")
    archive.client.job("job").evaluate()
    before = archive.client.status()
    with pytest.raises(JobError, match="'job' was evaluated by another definition"):
        archive.client.job("job", **other).work(nothing)  # type: ignore[arg-type]
    assert archive.client.status().jobs == before.jobs
    assert archive.client.job("job").work(nothing).done == 1


def test_a_definition_that_changes_while_a_worker_works(archive: Archive) -> None:
    """It finishes what it has in its hands, and ends."""
    deliver(archive, "a", "b", "c")
    archive.client.job("job", batch_size=1).evaluate()
    seen: list[str] = []

    def change(file: File) -> None:
        seen.append(file.unique_value)
        archive.client.job("job", attempts=9).evaluate()

    with pytest.raises(JobError, match="another definition"):
        archive.client.job("job", batch_size=1).work(change)
    assert archive.client.status().jobs["job"].done == len(seen) == 1
    assert archive.client.job("job", attempts=9).work(nothing).done == 2


def test_how_a_worker_works_is_its_own_affair(archive: Archive) -> None:
    """Batch, threads and lease are no part of what the others have to agree on."""
    deliver(archive, "a", "b")
    archive.client.job("job").evaluate()
    assert archive.client.job("job", batch_size=1, workers=2, lease=60).work(nothing).done == 2


def test_another_action_is_told(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """Once, for a path may be another one on another machine; the files are done all the same."""
    deliver(archive, "a", "b")
    rules: dict[str, Any] = {"batch_size": 1, "limit": {"files": 9}}
    archive.client.job("job").evaluate()
    assert archive.client.job("job", **rules).work(nothing).done == 2
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("job job does something else here (its action, where it puts things, or its limit)")


def test_what_a_worker_s_action_sets_is_no_news_after_it(archive: Archive) -> None:
    """As with a run: the sensor is not woken by it."""
    deliver(archive, "a")
    job = archive.client.job("job", where={"imported": False})
    job.evaluate()

    def mark(file: File) -> None:
        file["imported"] = True
        file.save()

    assert job.work(mark).done == 1
    status = archive.client.status()
    assert status.jobs["job"].evaluated == status.state_revision


def test_a_worker_for_some_files(archive: Archive) -> None:
    """The others stay pending."""
    deliver(archive, "a", kind="x")
    deliver(archive, "b", kind="y")
    archive.client.job("job").evaluate()
    seen: list[str] = []
    archive.client.job("job").work(lambda file: seen.append(file.unique_value), only={"kind": "y"})
    assert seen == ["b"]
    assert archive.client.status().jobs["job"].pending == 1
