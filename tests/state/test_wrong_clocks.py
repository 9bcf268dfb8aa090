"""No clock decides what is lost: not one that is years ahead, nor one that was set back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock

from mmmeta import File, Job

YEARS = 5 * 365


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def archive(tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock)
    made.write("a")
    made.deliver()
    yield made
    made.close()


def _fail(file: File) -> None:
    raise ValueError("no good")


def _job(archive: Archive) -> Job:
    return archive.client.job("import", backoff="1m", attempts=20)


def test_a_failure_under_a_clock_that_is_years_ahead(archive: Archive, clock: SettableClock) -> None:
    """It is due at once when the clock is right again, everywhere that is asked."""
    clock.forward(days=YEARS)
    assert _job(archive).run(_fail).failed == 1
    clock.forward(days=-YEARS)
    job = _job(archive)
    status = job.status()
    assert (status.due, status.earliest_due) == (1, None)
    assert job.plan().files == 1
    assert job.run(lambda file: None).done == 1


def test_a_failure_is_due_within_a_day_whatever_the_clock_did_since(archive: Archive, clock: SettableClock) -> None:
    """Some hours ahead are a backoff like any other; it is never longer than the longest."""
    job = _job(archive)
    clock.forward(hours=20)
    job.run(_fail)
    clock.forward(hours=-20)
    assert _job(archive).run(lambda file: None).done == 0
    clock.forward(hours=21)
    assert _job(archive).run(lambda file: None).done == 1


def test_history_outlives_a_run_under_a_clock_that_is_years_ahead(archive: Archive, clock: SettableClock) -> None:
    """Nor do several such runs delete it."""
    _job(archive).run(lambda file: None, run_id="before")
    clock.forward(days=YEARS)
    for name in ("b", "c"):
        archive.write(name)
        archive.deliver()
        _job(archive).run(lambda file: None, run_id="ahead")
    clock.forward(days=-YEARS)
    assert [attempt.run_id for attempt in archive.client.history()] == ["ahead", "ahead", "before"]
