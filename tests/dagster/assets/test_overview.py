"""The page of an asset shows the numbers of its last materialization: those of an observation must not be newer ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from executing import execute
from small_archive import Archive

from mmmeta_dagster import keys

LOOK = keys.asset_key("archive", "look")
STATE_DB = keys.asset_key("archive", "state_db")
METADATA_DB = keys.asset_key("archive", "metadata_db")


def shown(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Mapping[str, Any]:
    """What the Overview of an asset shows."""
    event = instance.get_latest_materialization_event(asset)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def wait() -> None:
    """Until failed files are due again: ``backoff`` is a second."""
    time.sleep(1.2)


def test_files_that_die(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Where nothing new was done."""
    for number in range(2, 6):
        archive.write(f"letter{number}", "letter")
    archive.publish()
    archive.configure(archive.project.read_text().replace("attempts: 3\n", "attempts: 2\n"))
    archive.fail(*(f"letter{number}.txt" for number in range(4)))
    assert execute(archive, instance).success
    assert (shown(instance, LOOK)["failed"], shown(instance, LOOK)["dead"]) == (4, 0)
    wait()
    assert execute(archive, instance).success
    said = shown(instance, LOOK)
    assert said["summary"] == "0 files done, 4 dead; waiting for a person: mend the cause, then retry"
    assert (said["failed"], said["dead"]) == (0, 4)
    assert said["failures"].count("**4 dead**") == 1
    with archive.open() as m:
        assert m.recorded_job("look").dismiss() == 4
    assert execute(archive, instance).success
    assert (shown(instance, LOOK)["dead"], shown(instance, LOOK)["set aside in all"]) == (0, 4)
    assert not {"failures", "what mends it"} & set(shown(instance, LOOK))
    assert execute(archive, instance).asset_materializations_for_node("archive__look") == []


def test_files_that_fail_once_more(archive: Archive, instance: dg.DagsterInstance) -> None:
    """As many as before; they are tried again at another time."""
    archive.fail("letter0.txt")
    assert execute(archive, instance).success
    before = shown(instance, LOOK)["summary"]
    wait()
    assert execute(archive, instance).success
    assert shown(instance, LOOK)["summary"].startswith("0 files done, 1 failed; tried again from ")
    assert shown(instance, LOOK)["summary"].split("; ")[1] != before.split("; ")[1]


def test_a_run_that_failed_as_a_whole_is_told_by_the_next(archive: Archive, instance: dg.DagsterInstance) -> None:
    """It is no materialization itself: its page says that it failed."""
    assert execute(archive, instance).success
    archive.fail("letter2.txt", "letter3.txt")
    for number in (2, 3):
        archive.write(f"letter{number}", "letter")
    archive.publish()
    assert not execute(archive, instance).success
    assert execute(archive, instance).success
    assert (shown(instance, LOOK)["failed"], shown(instance, LOOK)["done in all"]) == (2, 2)


def test_metadata_files_that_are_set_aside(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A generate that changes nothing else; and one after they were mended."""
    archive.configure(archive.project.read_text().replace("path: ./client", "path: ./server\n    generate: true"))
    bad = archive.server / "bad.json"
    told = []
    for text in (None, "{", "{", None, None):
        bad.unlink(missing_ok=True)
        if text is not None:
            bad.write_text(text)
        run = execute(archive, instance, "archive_generate")
        assert run.success
        events = len(run.asset_materializations_for_node("archive__metadata_db"))
        told.append((events, shown(instance, METADATA_DB)["set aside"]))
    assert told == [(1, 0), (1, 1), (0, 1), (1, 0), (0, 0)]


def test_columns_of_the_clients_own(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The state db has them, whatever the remote did."""
    assert execute(archive, instance, "archive_update").success
    with archive.open() as m:
        for file in m.files(document_type="letter"):
            file["checked"] = True
            file.save()
    assert execute(archive, instance, "archive_update").success
    columns = shown(instance, STATE_DB)["dagster/column_schema"].columns
    assert "checked" in [column.name for column in columns]
    assert execute(archive, instance, "archive_update").asset_materializations_for_node("archive__state_db") == []
