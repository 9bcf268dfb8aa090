"""A metadir of mmmeta 0.1-0.4 in Dagster: the sensor and the runs name it, and write nothing into it."""

from __future__ import annotations

import shutil
import sqlite3

import dagster as dg
import pytest
from small_archive import Archive
from watch import Watch


@pytest.fixture
def old(archive: Archive) -> Archive:
    """The client's metadir is one of mmmeta 0.3."""
    metadir = archive.client / "_mmmeta"
    shutil.rmtree(metadir)
    (metadir / "_store").mkdir(parents=True)
    (metadir / "_store" / "remote_last_updated").write_text("2023-01-01T00:00:00.000000")
    connection = sqlite3.connect(metadir / "meta.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, content_hash TEXT)")
    connection.close()
    return archive


def test_the_sensor_names_an_old_metadir(old: Archive, instance: dg.DagsterInstance) -> None:
    """And asks for no run, which could only fail."""
    watch = Watch(old, instance)
    before = sorted(old.client.rglob("*"))
    for _ in range(2):
        said = watch.skips()
        assert said.startswith("Waiting: ")
        assert "was written by mmmeta 0.1-0.4" in said
    assert sorted(old.client.rglob("*")) == before


@pytest.mark.parametrize("job", ["archive_import", "archive_update", "archive_look"])
def test_no_run_writes_into_an_old_metadir(old: Archive, instance: dg.DagsterInstance, job: str) -> None:
    """Not even its sign of life; the failure says what it met."""
    before = sorted(old.client.rglob("*"))
    result = old.definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    said = " ".join(str(event.event_specific_data) for event in result.all_events if event.is_failure)
    assert "was written by mmmeta 0.1-0.4" in said
    assert sorted(old.client.rglob("*")) == before
