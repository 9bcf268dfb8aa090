"""Schedules: retries by the clock, only where one is due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
import pytest
from executing import execute
from small_archive import Archive

from mmmeta.clock import utcnow
from mmmeta.errors import ProjectError
from mmmeta.project import MetadirConfig
from mmmeta_dagster import build_jobs, build_schedules, keys


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """On disk: a schedule's context takes no other."""
    with dg.instance_for_test() as disk:
        yield disk


def tick(archive: Archive, instance: dg.DagsterInstance, at: datetime) -> dg.RunRequest | str:
    """What the schedule of the retries says at a moment: a run it asks for, or why it does not."""
    config = archive.config
    jobs = {job.name: job for job in build_jobs(metadir=config)}
    (schedule,) = build_schedules(metadir=config, jobs=jobs, clock=lambda: at)
    assert (schedule.name, schedule.job_name) == ("archive_retry_schedule", "archive_import")
    with dg.build_schedule_context(instance=instance) as context:
        result = schedule.evaluate_tick(context)
    if result.run_requests:
        (request,) = result.run_requests
        return request
    assert result.skip_message is not None
    return result.skip_message


@pytest.fixture
def retrying(archive: Archive) -> Archive:
    """Without the sensor; a letter fails, and is tried again after an hour at the earliest."""
    text = archive.project.read_text().replace("{interval: 5, attempts: 3}", "{enabled: false}")
    text = text.replace("jobs:", 'schedules: {retry: "*/10 * * * *"}\n    jobs:', 1)
    archive.configure(text.replace("backoff: 1s", "backoff: 1h"))
    archive.fail("letter0.txt")
    return archive


def test_retries_are_asked_for_only_where_one_is_due(retrying: Archive, instance: dg.DagsterInstance) -> None:
    """A tick without costs no run and says when the next one is due."""
    now = utcnow()
    assert tick(retrying, instance, now) == (
        "Nothing was merged yet, or status.json cannot be read; an import writes it anew."
    )
    execute(retrying, instance)
    due = retrying.status.jobs["look"].earliest_due
    assert due is not None
    assert tick(retrying, instance, now) == (
        f"No failed file is due yet. look: 1 failed file is due at {due:%Y-%m-%d %H:%M:%S} UTC."
    )
    request = tick(retrying, instance, due + timedelta(seconds=1))
    assert isinstance(request, dg.RunRequest)
    assert request.tags[keys.TAG_REASON] == f"look: 1 failed file is due again since {due:%Y-%m-%d %H:%M:%S} UTC."
    retrying.fail()
    with retrying.open() as m:
        job = m.job(retrying.config.jobs["look"])
        assert job.retry() == 1
        assert job.run().done == 1
    assert tick(retrying, instance, due + timedelta(days=1)) == "No failed file waits for another attempt."


def test_of_several_jobs_the_retry_that_comes_first_is_named(retrying: Archive, instance: dg.DagsterInstance) -> None:
    """And a job that the project file has no more is nobody's business."""
    text = retrying.project.read_text()
    again = text[text.index("      look:") :].replace("look:", "peek:", 1).replace("backoff: 1h", "backoff: 1m")
    retrying.configure(text + again)
    retrying.fail("letter0.txt", "letter1.txt")
    execute(retrying, instance)
    said = tick(retrying, instance, utcnow())
    assert isinstance(said, str)
    assert said.startswith("No failed file is due yet. peek: the first of 2 failed files is due at ")
    retrying.configure(text)
    said = tick(retrying, instance, utcnow() + timedelta(minutes=5))
    assert isinstance(said, str)
    assert said.startswith("No failed file is due yet. look: the first of 2 failed files is due at ")


def test_a_retry_waits_for_the_run_before(retrying: Archive, instance: dg.DagsterInstance) -> None:
    """Whoever started it."""
    execute(retrying, instance)
    job = retrying.definitions.resolve_job_def("archive_import")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=job.tags)
    assert tick(retrying, instance, utcnow() + timedelta(minutes=2)) == f"Run {run.run_id[:8]} is starting."
    assert isinstance(tick(retrying, instance, utcnow() + timedelta(days=1)), dg.RunRequest)


def test_a_schedule_that_is_none_is_named_with_its_place(archive: Archive) -> None:
    archive.configure(archive.project.read_text().replace("sensor:", 'schedules: {retry: "*/10 * *"}\n    sensor:'))
    with pytest.raises(ProjectError, match=r"schedules\.retry"):
        _ = archive.config


def test_schedules_need_no_jobs() -> None:
    """They know the Dagster job by its name, which stands in the same definitions."""
    archive = MetadirConfig(name="archive", path="/data/archive", schedules={"import": "0 3 * * *"})
    (schedule,) = build_schedules(metadir=archive, jobs={})
    assert schedule.job_name == "archive_import"
