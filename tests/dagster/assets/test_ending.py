"""Runs without news wake nobody who hangs on an asset, and lose nothing: neither numbers nor checks nor later steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest
from archives import drop_log
from executing import execute, metadata
from small_archive import Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")

LOOK = keys.asset_key("archive", "look")
STATE_DB = keys.asset_key("archive", "state_db")
METADATA_DB = keys.asset_key("archive", "metadata_db")
EAGER = dg.AutomationCondition.eager()
DONE = EAGER.replace(
    "any_deps_updated", dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
)


class Woken:
    """A person's asset that hangs on one of the archive's, and how often its condition asks for it."""

    def __init__(self, archive: Archive, instance: dg.DagsterInstance, on: dg.AssetKey, condition: Any = EAGER) -> None:
        @dg.asset(deps=[on], automation_condition=condition)
        def mine() -> None: ...

        self.mine = mine
        self.instance = instance
        self.definitions = dg.Definitions.merge(archive.definitions, dg.Definitions(assets=[mine]))
        self.cursor = dg.evaluate_automation_conditions(self.definitions, instance).cursor

    def by(self, job: str) -> int:
        """Run a Dagster job, evaluate the condition, and do what it asks for."""
        assert self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance).success
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        asked = result.get_num_requested(self.mine.key)
        if asked:
            assert dg.materialize([self.mine], instance=self.instance).success
        return asked


CHECKS = ("nothing_dead", "few_failures", "no_lag", "nothing_left_unprocessed")


def results(instance: dg.DagsterInstance, asset: dg.AssetKey, names: Sequence[str] = CHECKS) -> dict[str, bool]:
    """Asset check → whether it passed last, as the UI shows it."""
    wanted = {name: dg.AssetCheckKey(asset, name) for name in names}
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(wanted.values()))
    found = {name: known[key].evaluation for name, key in wanted.items() if key in known}
    return {name: evaluation.passed for name, evaluation in found.items() if evaluation is not None}


def told(instance: dg.DagsterInstance) -> dict[str, int]:
    """Asset check of the job look → Dagster's number of what was told last."""
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(LOOK, name) for name in CHECKS]
    )
    return {key.name: record.id for key, record in known.items() if record.evaluation is not None}


def test_a_generate_without_news_wakes_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Tick after tick of the schedule; one with news does, once."""
    archive.configure(archive.project.read_text().replace("path: ./client", "path: ./server\n    generate: true"))
    woken = Woken(archive, instance, METADATA_DB)
    asked = [woken.by("archive_generate") for _ in range(3)]
    archive.write("letter7", "letter")
    asked += [woken.by("archive_generate") for _ in range(2)]
    assert asked == [1, 0, 0, 1, 0]


def test_an_update_without_news_wakes_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """And says its numbers nevertheless."""
    woken = Woken(archive, instance, STATE_DB)
    assert [woken.by("archive_update") for _ in range(3)] == [1, 0, 0]
    assert metadata(execute(archive, instance, "archive_update"), "state_db")["dagster/row_count"] == 5


def test_a_job_that_did_nothing_wakes_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """An import by the clock; a publication counts also for a job that finds nothing in it, or it would look out of date."""
    woken = Woken(archive, instance, LOOK)
    asked = [woken.by("archive_import") for _ in range(3)]
    archive.write("contract7", "contract")
    archive.publish()
    asked += [woken.by("archive_import") for _ in range(2)]
    assert asked == [1, 0, 0, 1, 0]


def test_the_data_version_of_a_job_tells_of_what_it_did(archive: Archive, instance: dg.DagsterInstance) -> None:
    """For a condition that shall fire when files were done, and not when others were published."""
    assert execute(archive, instance).success
    woken = Woken(archive, instance, LOOK, DONE)
    asked = [woken.by("archive_import")]
    archive.write("contract7", "contract")
    archive.publish()
    asked += [woken.by("archive_import") for _ in range(2)]
    archive.write("letter7", "letter")
    archive.publish()
    asked += [woken.by("archive_import") for _ in range(2)]
    assert asked == [0, 0, 0, 1, 0]


def test_an_import_without_news_runs_every_step_and_tells_of_every_check(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Steps hang on the state db, so that is materialized; a job's numbers come as an observation."""
    first = execute(archive, instance)
    again = execute(archive, instance)
    assert first.success
    assert again.success
    for name in ("state_db", "download_contracts", "load_all", "look"):
        assert again.is_node_success(f"archive__{name}")
    assert len(again.asset_materializations_for_node("archive__state_db")) == 1
    assert again.asset_materializations_for_node("archive__look") == []
    assert metadata(again, "look")["summary"] == "nothing was pending"
    before = told(instance)
    execute(archive, instance)
    after = told(instance)
    assert set(after) == set(CHECKS)
    assert all(after[name] > before[name] for name in CHECKS)


def test_what_hangs_on_a_job_in_the_same_run_is_not_skipped(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`Materialize all` means all."""
    woken = Woken(archive, instance, LOOK)
    for _ in range(2):
        everything = woken.definitions.resolve_implicit_global_asset_job_def()
        run = everything.execute_in_process(instance=instance)
        assert len(run.asset_materializations_for_node("mine")) == 1
        assert len(run.asset_materializations_for_node("archive__look")) == 1


def test_a_job_whose_run_fails_tells_of_its_checks_in_that_run(
    archive: Archive, each_instance: dg.DagsterInstance
) -> None:
    """That is when they matter: nothing asks for another run where all files are dead."""
    assert execute(archive, each_instance).success
    assert all(results(each_instance, LOOK).values())
    archive.configure(archive.project.read_text().replace("attempts: 3\n        back", "attempts: 1\n        back"))
    archive.write("letter7", "letter")
    archive.write("letter8", "letter")
    archive.publish()
    archive.fail("letter7.txt", "letter8.txt")
    assert not execute(archive, each_instance).success
    assert results(each_instance, LOOK) == {
        "nothing_dead": False,
        "few_failures": False,
        "no_lag": True,
        "nothing_left_unprocessed": True,
    }


def test_an_update_that_fails_tells_of_its_checks(archive: Archive, instance: dg.DagsterInstance) -> None:
    """What the state db lacks is said by its check, not only by a red run."""
    assert execute(archive, instance).success
    drop_log(archive.client / "_mmmeta")
    (archive.client / "_mmmeta" / "meta.db").unlink()
    assert not execute(archive, instance).success
    assert results(instance, STATE_DB, ("at_published_revision", "types_of_keys")) == {
        "at_published_revision": False,
        "types_of_keys": True,
    }


@pytest.mark.parametrize("checks", ["checks: false", 'schedules: {checks: "0 7 * * *"}'])
def test_checks_that_are_no_part_of_the_run_are_not_told(
    archive: Archive, instance: dg.DagsterInstance, checks: str
) -> None:
    """They are switched off, or have a clock of their own."""
    archive.configure(archive.project.read_text().replace("    jobs:", f"    {checks}\n    jobs:"))
    archive.fail("letter0.txt", "letter1.txt")
    assert not execute(archive, instance).success
    execute(archive, instance)
    assert results(instance, LOOK) == {}
