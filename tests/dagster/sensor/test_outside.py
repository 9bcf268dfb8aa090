"""What was merged and done without Dagster: it is told once, when nobody works any more, and the graph is up to date."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
from executing import execute
from small_archive import Archive
from watch import Watch

from mmmeta import Metadir
from mmmeta.state.liveness import Worker
from mmmeta_dagster import keys

LATER = timedelta(minutes=1)
"""Until the signs of life of Dagster's last run are old."""


def tick(watch: Watch) -> dict[str, dg.AssetMaterialization]:
    """One evaluation, with what the daemon does about its events; those about what was done here."""
    found = {}
    for event in watch.tick().asset_events:
        assert isinstance(event, dg.AssetMaterialization)
        watch.instance.report_runless_asset_event(event)
        found[event.asset_key.path[-1]] = event
    return {name: event for name, event in found.items() if name != keys.METADATA_DB}


def by_hand(archive: Archive, *jobs: str) -> None:
    """As `mmmeta update` and `mmmeta run` do."""
    with Metadir.from_config(archive.config) as m:
        m.update()
        for job in jobs:
            m.job(job).run(run_id=f"by hand {archive.status.revision}")


def test_what_was_done_before_dagster_came_is_told(watch: Watch) -> None:
    """An archive that was at work for years; a job that has done nothing yet is not told of."""
    by_hand(watch.archive, "look", "load_all")
    told = tick(watch)
    assert sorted(told) == ["load_all", "look", "state_db"]
    assert told["look"].metadata["done in all"].value == 2
    assert told["look"].metadata["summary"].value == "worked on outside of Dagster: 2 files are done in all"
    assert told["state_db"].metadata["revision"].value == 1
    merged = watch.archive.status
    assert (told["state_db"].tags or {})[keys.TAG_DATA_VERSION] == f"{merged.metadata_id}-{merged.digest}"
    assert (told["look"].tags or {})["dagster/input_data_version/archive/state_db"].endswith(str(merged.digest))
    assert tick(watch) == {}


def test_what_is_wrong_is_told_with_what_there_is_to_do(watch: Watch) -> None:
    """A page whose last news came from outside says no less than one of a run; numbers that are 0 are left out."""
    watch.archive.configure(watch.archive.project.read_text().replace("attempts: 3\n", "attempts: 1\n"))
    watch.archive.fail("letter1.txt")
    by_hand(watch.archive, "look")
    said = tick(watch)["look"].metadata
    assert said["summary"].value == (
        "worked on outside of Dagster: 1 file is done in all; 1 dead in all, waiting for a person: mend the cause, then retry"
    )
    assert str(said["see more"].value).endswith(" jobs failed look")
    assert str(said["what mends it"].value).endswith(" jobs retry --dead look")
    numbers = {name: value.value for name, value in said.items() if isinstance(value.value, int)}
    assert numbers == {"failed": 0, "dead": 1, "pending": 0, "done in all": 1}


def test_what_is_done_beside_dagster_is_told_when_it_is_over_and_once(watch: Watch) -> None:
    """After an import of Dagster's own, which tells of itself."""
    assert execute(watch.archive, watch.instance).success
    tick(watch)
    watch.ahead = LATER
    assert tick(watch) == {}
    watch.archive.write("letter7", "letter")
    watch.archive.publish()
    worker = Worker(Metadir.from_config(watch.archive.config).layout.workers)
    worker.start()
    by_hand(watch.archive, "look")
    assert tick(watch) == {}
    worker.stop()
    told = tick(watch)
    assert sorted(told) == ["look", "state_db"]
    assert told["look"].metadata["done in all"].value == 3
    by_hand(watch.archive, "look")
    assert tick(watch) == {}
    assert execute(watch.archive, watch.instance).success
    watch.ahead = 2 * LATER
    assert tick(watch) == {}


def test_an_update_by_hand_is_told_of_the_state_db_alone(watch: Watch) -> None:
    """The jobs have done nothing."""
    assert execute(watch.archive, watch.instance).success
    watch.ahead = LATER
    tick(watch)
    watch.archive.write("letter7", "letter")
    watch.archive.publish()
    by_hand(watch.archive)
    assert sorted(tick(watch)) == ["state_db"]


def test_nothing_is_told_twice_after_a_person_has_reset_the_cursor(watch: Watch) -> None:
    """Dagster itself knows what it was told."""
    by_hand(watch.archive, "look", "load_all")
    tick(watch)
    watch.cursor = None
    assert tick(watch) == {}


def test_with_partitions_as_well(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The whole of the job, in no partition."""
    text = archive.project.read_text()
    archive.configure(text.replace("attempts: 3\n        backoff", "partitions: {by: document_type}\n        backoff"))
    by_hand(archive, "look")
    sensor = archive.definitions.resolve_sensor_def("archive_remote_updated")
    with dg.build_sensor_context(instance=instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    (look,) = [event for event in result.asset_events if event.asset_key.path[-1] == "look"]
    assert isinstance(look, dg.AssetMaterialization)
    assert look.partition is None
