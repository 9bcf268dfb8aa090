"""Jobs with partitions, in real runs: what a backfill takes, what an import marks, and that each file counts once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from executing import execute, metadata
from partitioned import PROJECT
from small_archive import Archive

from mmmeta import File
from mmmeta.project import MetadirConfig, job_config
from mmmeta.project.dagster.partitions import PartitionsConfig
from mmmeta_dagster import build_definitions, build_metadir_assets, keys, mmmeta_asset
from mmmeta_dagster.partitions import after_run
from mmmeta_dagster.partitions import definition as partitions

LOOK = keys.asset_key("archive", "look")

LOAD = keys.asset_key("archive", "load_all")

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def partition(instance: dg.DagsterInstance, asset: dg.AssetKey, key: str) -> dict[str, Any]:
    """What the latest materialization of one partition says."""
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[key])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_a_partition_is_its_due_files_and_no_others(scraped: Archive, each_instance: dg.DagsterInstance) -> None:
    """Done once, whatever run asks again; the import does what is left, and the ledger counts each file once."""
    first = execute(scraped, each_instance, "archive_look", partition_key="2026-05-02")
    assert scraped.looked == ["day2.txt"]
    said = metadata(first, "look")
    assert (said["summary"], said["partitions"], said["pending"]) == ("1 file done", "2026-05-02", 4)
    again = execute(scraped, each_instance, "archive_look", partition_key="2026-05-02")
    assert metadata(again, "look")["summary"] == "nothing was pending"
    assert execute(scraped, each_instance).success
    assert sorted(scraped.looked) == ["day1.txt", "day2.txt", "day3.txt", "day4.txt", "undated.txt"]
    with scraped.open() as m:
        attempts = Counter(attempt.file for attempt in m.job("look").history())
    assert set(attempts.values()) == {1}


def test_an_import_marks_the_partitions_that_it_touched(scraped: Archive, each_instance: dg.DagsterInstance) -> None:
    """Also where jobs of one metadir have different partitions, and one has none."""
    result = execute(scraped, each_instance)
    assert result.success
    assert each_instance.get_materialized_partitions(LOOK) >= {f"2026-05-0{day}" for day in range(1, 5)}
    assert each_instance.get_materialized_partitions(LOAD) == {"Ministry 0", "Ministry 1", "(none)"}
    assert partition(each_instance, LOAD, "Ministry 1") == {"done in partition": 2}
    events = result.asset_materializations_for_node("archive__look")
    assert [event.partition for event in events[:4]] == [f"2026-05-0{day}" for day in range(4, 0, -1)]
    assert events[-1].partition is None
    assert {event.metadata["done in partition"].value for event in events[4:-1]} <= {0}  # windows without files
    said = {name: value.value for name, value in events[-1].metadata.items()}
    assert (said["done"], said["partitions"], said["files outside of partitions"]) == (5, "4 touched", 1)
    assert metadata(result, "download_all")["done"] == 5
    checked = {check.asset_key for check in result.get_asset_check_evaluations()}
    assert {LOOK, LOAD, keys.asset_key("archive", "state_db")} <= checked
    quiet = execute(scraped, each_instance)
    assert quiet.asset_materializations_for_node("archive__look") == []
    (observed,) = quiet.asset_observations_for_node("archive__look")
    assert (observed.partition, observed.metadata["summary"].value) == (None, "nothing was pending")


def test_an_import_marks_so_many_and_says_so(
    scraped: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_run, "MARKED", 2)
    events = execute(scraped, instance).asset_materializations_for_node("archive__look")
    assert [event.partition for event in events] == ["2026-05-04", "2026-05-03", None]
    assert str(events[-1].metadata["partitions"].value).startswith("4 touched, 2 of ")


def test_the_sensor_asks_for_all_that_is_due(scraped: Archive, instance: dg.DagsterInstance) -> None:
    """The import is no partitioned job, so that the sensor, a schedule and the UI start it without one."""
    definitions = scraped.definitions
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_job_def("archive_import").partitions_def is None
    assert definitions.resolve_job_def("archive_look").partitions_def is not None
    sensor = definitions.resolve_sensor_def("archive_remote_updated")
    with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
        (request,) = sensor.evaluate_tick(context).run_requests or ()
    assert (request.partition_key, request.job_name) == (None, None)


@pytest.mark.slow
def test_a_range_of_partitions_is_one_run(scraped: Archive, tmp_path: Path) -> None:
    """As a person types it, with an instance on disk; each partition gets its own number."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").touch()
    environment = {"DAGSTER_HOME": str(home), "MMMETA_PROJECT": str(scraped.project), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "mmmeta_dagster.definitions"]
    for more in (
        ["--select", 'key:"archive/state_db"'],
        ["--select", 'key:"archive/look"', "--partition-range", "2026-05-02...2026-05-03"],
    ):
        done = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
    assert scraped.looked == ["day2.txt", "day3.txt"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_materialized_partitions(LOOK) == {"2026-05-02", "2026-05-03"}
        said = partition(instance, LOOK, "2026-05-03")
        assert (said["summary"], said["done in partition"]) == ("2 files done", 1)
        assert said["partitions"] == "2026-05-02 to 2026-05-03"
        (record,) = instance.fetch_observations(LOOK, limit=10).records
        assert record.asset_observation is not None
        assert record.asset_observation.metadata["done"].value == 2


def test_a_backfill_may_do_files_again_if_asked(scraped: Archive, instance: dg.DagsterInstance) -> None:
    """Those of its partition only; also failed ones that are not due yet."""
    scraped.fail("day1.txt", "day2.txt")
    assert execute(scraped, instance).success
    scraped.fail()
    options = {"ops": {"archive__look": {"config": {"retry_failed": True}}}}
    result = execute(scraped, instance, "archive_look", partition_key="2026-05-01", run_config=options)
    assert metadata(result, "look")["summary"].startswith("1 file done")
    with scraped.open() as m:
        assert len(m.job("look").files("failed")) == 1
    options = {"ops": {"archive__look": {"config": {"redo_done": True}}}}
    execute(scraped, instance, "archive_look", partition_key="2026-05-03", run_config=options)
    assert Counter(scraped.looked) == {
        "day1.txt": 2,
        "day2.txt": 1,
        "day3.txt": 2,
        "day4.txt": 1,
        "undated.txt": 1,
    }


def test_a_window_begins_at_midnight_of_its_time_zone(empty_archive: Archive, instance: dg.DagsterInstance) -> None:
    """Both ends exact; what carries no offset counts as UTC, a day by itself as its midnight there."""
    empty_archive.configure(
        PROJECT.replace("every: day, start: 2026-05-01", "every: month, start: 2026-04-15, timezone: Europe/Berlin")
    )
    moments = {
        "april": "2026-04-30T23:59:59.999+02:00",
        "first": "2026-05-01T00:00:00+02:00",
        "naive_april": "2026-04-30T21:59:59",
        "naive_first": "2026-04-30T22:00:00",
        "day": "2026-05-01",
        "last": "2026-05-31T23:59:59+02:00",
        "june": "2026-05-31T22:00:00Z",
        "march": "2026-03-31T12:00:00",
        "nonsense": "yesterday",
    }
    for name, moment in moments.items():
        empty_archive.write(name, "contract", retrieved_at=moment, publisher={"name": "x"})
    empty_archive.publish()
    execute(empty_archive, instance, "archive_look", partition_key="2026-05-01")
    assert sorted(empty_archive.looked) == ["day.txt", "first.txt", "last.txt", "naive_first.txt"]
    imported = execute(empty_archive, instance).asset_materializations_for_node("archive__look")
    counts = {event.partition: event.metadata["done in partition"].value for event in imported[:-1]}
    assert {month: count for month, count in counts.items() if count} == {"2026-04-01": 2, "2026-06-01": 1}
    assert imported[-1].metadata["files outside of partitions"].value == 2


def test_materialize_takes_a_partition_key(scraped: Archive, instance: dg.DagsterInstance) -> None:
    """As in a test of a person's own, without any Dagster job."""
    assets = [one for one in build_metadir_assets(metadir=scraped.config) if isinstance(one, dg.AssetsDefinition)]
    resources = scraped.definitions.resources
    assert dg.materialize([assets[0]], instance=instance, resources=resources).success
    result = dg.materialize(
        assets, selection=[LOAD], instance=instance, resources=resources, partition_key="Ministry 0"
    )
    assert metadata(result, "load_all")["done"] == 2
    assert instance.get_materialized_partitions(LOAD) == {"Ministry 0"}


class Shelf(dg.ConfigurableResource[Any]):
    """A resource of a person's own."""

    name: str


def test_a_function_of_one_s_own_with_partitions(scraped: Archive, instance: dg.DagsterInstance) -> None:
    """One argument, the same words as in the project file; its resources stand wherever those of an asset do."""
    seen: list[str] = []

    @mmmeta_asset(
        metadir=scraped.config,
        partitions={"by": "retrieved_at", "every": "week", "start": "2026-05-01"},
        kinds=["python"],
    )
    def extract(context: dg.AssetExecutionContext, file: File, shelf: Shelf) -> None:
        seen.append(f"{file['_file_name']} on {shelf.name}")

    metadirs = {"archive": scraped.config}
    without = build_definitions(metadirs=metadirs, assets=[extract])
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="resource with key 'shelf' required by op"):
        without.resolve_job_def("archive_import")
    shelf = Shelf(name="top")
    definitions = build_definitions(metadirs=metadirs, assets=[extract], resources={"shelf": shelf})
    # Monday, 27 April, is the week in which the first of May lies.
    week = definitions.resolve_job_def("archive_extract").execute_in_process(
        instance=instance, partition_key="2026-04-27"
    )
    assert week.success
    assert sorted(seen) == [f"day{day}.txt on top" for day in (1, 2, 3)]
    merged = dg.Definitions.merge(without, dg.Definitions(resources={"shelf": shelf}))
    assert merged.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert sorted(seen) == [f"day{day}.txt on top" for day in (1, 2, 3, 4)] + ["undated.txt on top"]


def test_a_part_of_an_import_can_be_run(scraped: Archive, each_instance: dg.DagsterInstance) -> None:
    """As "Materialize selected" and "re-execute from asset failure" do: some assets of the job, with their checks."""
    assert execute(scraped, each_instance, asset_selection=[keys.asset_key("archive", "state_db")]).success
    assert scraped.looked == []
    part = execute(scraped, each_instance, asset_selection=[LOOK, keys.asset_key("archive", "download_all")])
    assert part.success
    assert len(scraped.looked) == 5
    assert LOOK in {check.asset_key for check in part.get_asset_check_evaluations()}
    assert metadata(part, "download_all")["done"] == 5
    assert not part.asset_materializations_for_node("archive__load_all")
    # Windows without files are marked as well, after a run that leaves nothing pending.
    assert each_instance.get_materialized_partitions(LOOK) >= {f"2026-05-0{day}" for day in range(1, 5)}


def test_a_part_of_an_import_takes_resources_from_wherever_they_come(
    scraped: Archive, instance: dg.DagsterInstance
) -> None:
    """Those that are merged later too."""
    seen: list[str] = []

    @mmmeta_asset(metadir=scraped.config, partitions={"by": "publisher:name"})
    def extract(file: File, shelf: Shelf) -> None:
        seen.append(shelf.name)

    without = build_definitions(metadirs={"archive": scraped.config}, assets=[extract])
    merged = dg.Definitions.merge(without, dg.Definitions(resources={"shelf": Shelf(name="top")}))
    job = merged.resolve_job_def("archive_import")
    assert job.execute_in_process(instance=instance, asset_selection=[keys.asset_key("archive", "state_db")]).success
    assert job.execute_in_process(instance=instance, asset_selection=[keys.asset_key("archive", "extract")]).success
    assert seen == ["top"] * 5


def test_an_hour_that_comes_twice_is_two_partitions() -> None:
    """When the clocks go back: counted in the window that the moment lies in."""
    hours = PartitionsConfig.model_validate(
        {"by": "at", "every": "hour", "start": "2024-10-01", "timezone": "Europe/Berlin"}
    )
    twice = ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T01:59:59Z", "2024-09-30T21:59:59Z"]
    counts, outside = partitions.spread([(moment, 1) for moment in twice], hours)
    assert (sorted(counts.values()), len(counts), outside) == ([1, 2], 2, 1)


def test_partitions_change_nothing_about_the_job() -> None:
    """Adding them makes no file due again, and wakes no sensor."""
    plain = job_config("extract", {"a": 1})
    cut = job_config("extract", {"a": 1}, partitions={"by": "a"})
    assert plain.fingerprint() == cut.fingerprint()
    archive = MetadirConfig(name="archive", path=Path("/data"), jobs={"extract": cut})
    found = partitions.partitions_def(archive, cut)
    assert isinstance(found, dg.DynamicPartitionsDefinition)
    assert found.name == "archive/extract/a"
