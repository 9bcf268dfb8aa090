"""What the asset graph says of publications: each is told once, by whoever sees it first, and merged is never stale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from executing import execute
from small_archive import Archive
from watch import Watch

from mmmeta_dagster import keys

pytestmark = pytest.mark.daemon  # asks Dagster's own program for what the UI shows, which takes its time

METADATA_DB = keys.asset_key("archive", "metadata_db")
STATE_DB = keys.asset_key("archive", "state_db")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """On disk, so that Dagster's own programs see it."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as disk:
        yield disk


def stale(archive: Archive) -> dict[str, str]:
    """What the UI calls the assets, as it asks for it: `Unsynced` there is STALE here."""
    pytest.importorskip("dagster_graphql", reason="it comes with dagster-webserver")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "dagster-graphql"), "-m", "mmmeta_dagster.definitions"),
            *("-t", "{ assetNodes { assetKey { path } staleStatus } }"),
        ],
        cwd=archive.root,
        env={**os.environ, "PYTHONPATH": str(archive.root), "MMMETA_PROJECT": str(archive.project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith('{"data"')]
    nodes = json.loads(answer)["data"]["assetNodes"]
    return {node["assetKey"]["path"][-1]: node["staleStatus"] for node in nodes}


def told(instance: dg.DagsterInstance) -> list[str]:
    """The data versions of the metadata db that Dagster was told of, the last one first."""
    records = instance.fetch_materializations(METADATA_DB, limit=20).records
    found = [record.asset_materialization for record in records]
    return [(one.tags or {})["dagster/data_version"] for one in found if one is not None]


def tick(watch: Watch) -> dg.SensorResult:
    """One evaluation, with what the daemon does about its events."""
    result = watch.tick()
    for event in result.asset_events:
        assert isinstance(event, dg.AssetMaterialization)
        watch.instance.report_runless_asset_event(event)
    return result


def published(archive: Archive) -> str:
    """What the store says."""
    with archive.open() as m:
        text = m.store.raw("remote_last_updated")
    assert text is not None
    return text.strip()


def test_what_a_run_merged_before_the_sensor_looked_is_not_out_of_date(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """As after `make demo` and `make dev`, and again when a schedule is faster than the sensor."""
    watch = Watch(archive, instance)
    versions = []
    for number in range(3, 5):
        assert execute(archive, instance).success
        versions.insert(0, published(archive))
        assert told(instance) == versions
        for _ in range(2):
            result = tick(watch)
            assert not result.asset_events
            assert not result.run_requests
        archive.write(f"contract{number}", "contract")
        archive.publish()
    archive.sync()
    assert execute(archive, instance).success
    tick(watch)
    assert stale(archive) == dict.fromkeys(
        ("metadata_db", "state_db", "download_contracts", "load_all", "look"), "FRESH"
    )


def test_what_the_sensor_told_is_not_told_again_and_makes_the_state_db_stale_until_it_is_merged(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Real changes only, and these whether a run follows or not."""
    watch = Watch(archive, instance)
    first = tick(watch)
    assert told(instance) == [published(archive)]
    watch.run(first.run_requests[0])
    archive.write("contract3", "contract")
    archive.publish()
    second = tick(watch)
    assert len(told(instance)) == 2
    assert stale(archive)["state_db"] == "STALE"
    watch.run(second.run_requests[0])
    assert execute(archive, instance).success
    tick(watch)
    assert len(told(instance)) == 2
    assert set(stale(archive).values()) == {"FRESH"}


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
def test_a_condition_on_the_metadata_db_sees_each_publication_once(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Whoever told of it; runs without news are none."""

    @dg.asset(deps=[METADATA_DB], automation_condition=dg.AutomationCondition.eager())
    def mine() -> None:
        pass

    definitions = dg.Definitions.merge(archive.definitions, dg.Definitions(assets=[mine]))
    watch = Watch(archive, instance)
    cursor = dg.evaluate_automation_conditions(defs=definitions, instance=instance).cursor
    asked = []
    for number in range(3):
        if number:
            archive.write(f"letter{number + 2}", "letter")
            archive.publish()
        if number == 2:
            execute(archive, instance)
        for _ in range(2):
            tick(watch)
            result = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=cursor)
            cursor = result.cursor
            asked.append(result.get_num_requested(mine.key))
            if asked[-1]:
                assert dg.materialize([mine], instance=instance).success
            execute(archive, instance)
    assert asked == [1, 0, 1, 0, 1, 0]


def test_a_generate_without_news_makes_nothing_look_out_of_date(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Where metadata is written here, the same publication is the same version."""
    archive.configure(archive.project.read_text().replace("path: ./client", "path: ./server\n    generate: true"))
    for job in ("archive_generate", "archive_import", "archive_generate"):
        assert execute(archive, instance, job).success
    assert set(stale(archive).values()) == {"FRESH"}
    archive.write("contract3", "contract")
    assert execute(archive, instance, "archive_generate").success
    assert stale(archive)["state_db"] == "STALE"
