"""A job's automation condition: what it may be, and that it stands in place of sensor and import."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from small_archive import Archive
from watch import Watch

from mmmeta import File
from mmmeta.clock import utcnow
from mmmeta.errors import ProjectError
from mmmeta.project import MetadirConfig, Schedules
from mmmeta_dagster import (
    DagsterMmmetaTranslator,
    MetadirAsset,
    build_definitions,
    build_import_job,
    build_schedules,
    keys,
    mmmeta_asset,
)


@pytest.mark.parametrize(
    "automation",
    [
        "eager",
        "0 3 * * *",
        'on_cron("@daily", cron_timezone="Europe/Berlin")',
        "on_missing()",
        "eager() | on_missing",
        "any_deps_match(newly_updated) & ~in_progress",
    ],
)
def test_automation_of_a_job_is_a_condition_and_a_sensor_that_runs(archive: Archive, automation: str) -> None:
    """Offered, not the default: it adds seconds."""
    archive.configure(
        archive.project.read_text().replace(
            "attempts: 3\n        backoff", f"automation: '{automation}'\n        backoff"
        )
    )
    definitions = archive.definitions
    look = definitions.resolve_asset_graph().get(keys.asset_key("archive", "look"))
    assert look.automation_condition is not None
    sensors = {sensor.name: sensor for sensor in definitions.get_repository_def().sensor_defs}
    assert sensors["archive_automation"].default_status is dg.DefaultSensorStatus.RUNNING


def test_a_job_with_automation_has_that_instead_of_sensor_import_and_retries(watch: Watch) -> None:
    """ "At three in the morning" means nothing if each publication runs the job as well."""
    archive = watch.archive
    archive.configure(
        archive.project.read_text().replace("backoff: 1s", 'backoff: 1s\n        automation: "0 3 * * *"')
    )
    archive.fail("letter0.txt")
    reason = watch.asks()
    assert watch.run(reason).success
    assert archive.looked == []
    assert archive.status.jobs["look"].pending == 2
    assert watch.skips() == "Nothing to do: revision 1 is merged; download_contracts: 3 done; load_all: 5 done."
    nodes = {
        name: archive.definitions.resolve_job_def(f"archive_{name}").nodes_in_topological_order
        for name in ("import", "look")
    }
    assert [name for name, found in nodes.items() if "archive__look" in [node.name for node in found]] == ["look"]
    # It can be started by itself; its retries are the condition's affair as well.
    look = archive.definitions.resolve_job_def("archive_look")
    assert look.execute_in_process(instance=watch.instance).success
    assert archive.status.jobs["look"].failed == 1
    watch.ahead = timedelta(hours=1)
    assert watch.skips().startswith("Nothing to do")
    (retry,) = build_schedules(
        metadir=archive.config.model_copy(update={"schedules": Schedules(retry="* * * * *")}),
        jobs={"archive_import": build_import_job(metadir=archive.config)},
        clock=lambda: utcnow() + watch.ahead,
    )
    with dg.instance_for_test() as disk, dg.build_schedule_context(instance=disk) as context:
        tick = retry.evaluate_tick(context)
    assert tick.skip_message == "No failed file waits for another attempt."


@pytest.mark.parametrize("by", ["decorator", "translator"])
def test_a_condition_given_in_python_counts_as_well(archive: Archive, instance: dg.DagsterInstance, by: str) -> None:
    """``automation_condition`` of ``@mmmeta_asset``, or what a translator adds."""

    class Nightly(DagsterMmmetaTranslator):
        def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
            spec = super().get_asset_spec(asset)
            return spec.replace_attributes(automation_condition=nightly) if asset.name == "read" else spec

    nightly: dg.AutomationCondition[Any] = dg.AutomationCondition.on_cron("0 3 * * *")
    translator = Nightly() if by == "translator" else DagsterMmmetaTranslator()

    @mmmeta_asset(
        metadir=archive.config, automation_condition=nightly if by == "decorator" else None, translator=translator
    )
    def read(file: File) -> None: ...

    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[read], translator=translator)
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert archive.status.jobs["look"].done == 2
    assert (archive.status.jobs["read"].pending, archive.status.jobs["read"].done) == (5, 0)
    sensor = definitions.resolve_sensor_def("archive_remote_updated")
    with dg.build_sensor_context(instance=instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert "Nothing to do" in str(result.skip_reason)
    assert "read" not in str(result.skip_reason)


# Dagster's own test helper uses a parameter that Dagster calls beta.
@pytest.mark.filterwarnings("ignore:Parameter `include_sources` of function `AssetSelection.all` is currently in beta")
def test_an_eager_job_follows_whatever_updates_and_is_no_part_of_the_import(archive: Archive) -> None:
    """It runs once for each update, by its condition alone."""
    archive.configure(
        archive.project.read_text().replace("attempts: 3\n        backoff", "automation: eager\n        backoff")
    )
    definitions = archive.definitions
    with dg.instance_for_test() as instance:

        def run(job: str) -> int:
            """Run a job, then count what the conditions ask for."""
            nonlocal cursor
            assert definitions.resolve_job_def(job).execute_in_process(instance=instance).success
            result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
            cursor = result.cursor
            return result.total_requested

        cursor = dg.evaluate_automation_conditions(definitions, instance).cursor
        assert run("archive_import") == 1
        assert archive.looked == []
        assert run("archive_look") == 0
        assert len(archive.looked) == 2
        archive.write("letter7", "letter")
        archive.publish()
        assert run("archive_update") == 1


@pytest.mark.parametrize(
    ("automation", "reason"),
    [
        ("eagr", "has no automation condition 'eagr'. Did you mean 'eager'?"),
        ("eager & ~on_mising", "Did you mean 'on_missing' or "),
        ("often", "There are "),
        ("on_cron()", "missing 1 required positional argument: 'cron_schedule'"),
        ('on_cron("0 3 * * *", speed=3)', "unexpected keyword argument 'speed'"),
        ("replace", "has no automation condition 'replace'"),
    ],
)
def test_an_automation_that_dagster_does_not_know_is_named_with_file_and_line(
    archive: Archive, automation: str, reason: str
) -> None:
    """The core cannot know Dagster's conditions; the message is like the core's nevertheless."""
    archive.configure(
        archive.project.read_text().replace(
            "attempts: 3\n        backoff", f"automation: '{automation}'\n        backoff"
        )
    )
    lines = archive.project.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "automation:" in text)
    with pytest.raises(ProjectError) as caught:
        _ = archive.definitions
    assert str(caught.value).startswith(f"{archive.project}:{line}: metadirs.archive.jobs.look.automation: ")
    assert reason in str(caught.value)


def test_an_automation_of_a_job_made_in_python_is_named_without_a_file(archive: Archive) -> None:
    """There is none."""
    look = archive.config.jobs["look"].model_copy(update={"automation": "eagr"})
    metadir = MetadirConfig(name="archive", path=archive.client, jobs={"look": look})
    with pytest.raises(ProjectError, match=r"^metadirs\.archive\.jobs\.look\.automation: .*Did you mean 'eager'"):
        build_definitions(metadirs={"archive": metadir})
