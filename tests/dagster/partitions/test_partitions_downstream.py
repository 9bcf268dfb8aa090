"""What hangs on a job with partitions: it is woken by news, by nothing else, and not held up by partitions without files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from executing import execute, metadata
from small_archive import Archive

from mmmeta import mmmeta
from mmmeta.clock import utcnow
from mmmeta_dagster import keys
from mmmeta_dagster.partitions import after_run

pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")

START = utcnow().date() - timedelta(days=6)
LOOK = keys.asset_key("archive", "look")
EAGER = dg.AutomationCondition.eager()
DONE = EAGER.replace(
    "any_deps_updated", dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
)
IMPATIENT = EAGER.without(~dg.AutomationCondition.any_deps_missing())

PROJECT = f"""
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    jobs:
      look:
        call: {{function: "dagster_test_actions:look"}}
        attempts: 2
        backoff: 1h
        partitions: {{by: retrieved_at, every: day, start: {START}}}
"""
BY_PUBLISHER = PROJECT.replace(f"by: retrieved_at, every: day, start: {START}", "by: publisher")


@pytest.fixture
def archive(empty_archive: Archive) -> Archive:
    """Two files of two days in a week."""
    empty_archive.configure(PROJECT)
    add(empty_archive, "one", 1)
    add(empty_archive, "two", 3)
    return empty_archive


def add(archive: Archive, name: str, day: int, **more: Any) -> None:
    """Publish a file of a day since the first window."""
    archive.write(name, "letter", retrieved_at=f"{START + timedelta(days=day)}T12:00:00", **more)
    archive.publish()


class Downstream:
    """A person's asset without partitions below the job, and how often its condition asks for it."""

    def __init__(self, archive: Archive, instance: dg.DagsterInstance, condition: Any = EAGER) -> None:
        @dg.asset(deps=[LOOK], automation_condition=condition)
        def mine() -> None: ...

        self.mine = mine
        self.instance = instance
        self.archive = archive
        self.cursor = dg.evaluate_automation_conditions(self._definitions, instance).cursor

    @property
    def _definitions(self) -> dg.Definitions:
        return dg.Definitions.merge(self.archive.definitions, dg.Definitions(assets=[self.mine]))

    def after(self, job: str = "archive_import", **options: Any) -> int:
        """Run a Dagster job, and do what the condition then asks for."""
        execute(self.archive, self.instance, job, **options)
        asked = self._tick()
        if asked:
            assert dg.materialize([self.mine], instance=self.instance).success
            self._tick()  # in the same tick as what comes next, this would stand for it
        return asked

    def _tick(self) -> int:
        result = dg.evaluate_automation_conditions(self._definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return result.get_num_requested(self.mine.key)


def test_windows_without_files_hold_up_nobody(archive: Archive, each_instance: dg.DagsterInstance) -> None:
    """An import with news marks them, and what is eager below the job follows it, each time."""
    downstream = Downstream(archive, each_instance)
    asked = [downstream.after()]
    windows = {str(START + timedelta(days=day)) for day in range(7)}
    assert each_instance.get_materialized_partitions(LOOK) >= windows
    asked += [downstream.after()]
    add(archive, "three", 5)
    asked += [downstream.after(), downstream.after()]
    assert asked == [1, 0, 1, 0]


def test_what_follows_files_that_were_done_alone(archive: Archive, instance: dg.DagsterInstance) -> None:
    """By the data versions, which partitions have as well."""
    downstream = Downstream(archive, instance, DONE)
    asked = [downstream.after(), downstream.after()]
    add(archive, "three", 1)
    asked += [downstream.after(), downstream.after()]
    assert asked == [1, 0, 1, 0]


def test_what_does_not_wait_for_missing_windows(archive: Archive, instance: dg.DagsterInstance) -> None:
    """As the documentation says, for what must not wait for a window that has just begun."""
    downstream = Downstream(archive, instance, IMPATIENT)
    assert [downstream.after("archive_update"), downstream.after("archive_look", partition_key=str(START))] == [0, 1]


def test_a_file_that_fails_holds_up_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """It waits for another attempt, or for a person; once it is done, that is news."""
    archive.fail("two.txt")
    downstream = Downstream(archive, instance)
    assert downstream.after() == 1
    archive.fail()
    with archive.open() as m:
        assert m.recorded_job("look").retry() == 1
    assert downstream.after() == 1
    assert archive.looked == ["one.txt", "two.txt", "two.txt"]


def test_windows_are_not_marked_before_the_job_is_through(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A limit leaves the rest to the next run."""
    downstream = Downstream(archive, instance)
    limited = {"ops": {"archive__look": {"config": {"limit": 1}}}}
    assert [downstream.after(run_config=limited), downstream.after(run_config=limited)] == [0, 1]


def test_files_that_were_adopted_hold_up_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """No run has touched their windows."""
    execute(archive, instance, "archive_update")
    with archive.open() as m:
        assert m.job("look").adopt(where={"document_type": "letter"}).adopted == 2
    downstream = Downstream(archive, instance)
    assert downstream.after() == 1
    assert archive.looked == []


def test_values_without_a_done_file_hold_up_nobody(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A publisher all of whose files fail, and one whose file is gone before its turn."""
    archive.configure(BY_PUBLISHER)
    for name, publisher in (("bad", "Failing"), ("gone", "Vanished")):
        add(archive, name, 2, publisher=publisher)
    execute(archive, instance, "archive_update")
    archive.fail("bad.txt")
    (archive.server / "gone.json").unlink()
    with mmmeta(archive.server) as m:
        m.generate(ensure=True)
    archive.sync()
    downstream = Downstream(archive, instance)
    assert downstream.after() == 1
    assert instance.get_materialized_partitions(LOOK) == {"(none)", "Failing", "Vanished"}


def test_so_many_are_marked_in_a_run_and_the_others_later(
    archive: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Touched ones first, then the latest; it says so."""
    monkeypatch.setattr(after_run, "MARKED", 4)
    said = metadata_of_last(execute(archive, instance))
    days = (utcnow().date() - START).days + 1  # a midnight may have gone by since this file was read
    assert said["partitions"].startswith(f"2 touched, 4 of {days} marked as materialized; later runs mark the others")
    last = {str(START + timedelta(days=day)) for day in (1, 3, days - 2, days - 1)}
    assert instance.get_materialized_partitions(LOOK) == last
    add(archive, "three", 1)
    assert metadata_of_last(execute(archive, instance))["partitions"] == "1 touched"
    assert len(instance.get_materialized_partitions(LOOK)) == days


def metadata_of_last(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the last materialization of a run says."""
    event = result.asset_materializations_for_node("archive__look")[-1]
    return {name: value.value for name, value in event.metadata.items()}


def test_a_run_for_one_partition_without_news_is_an_observation_of_it(
    archive: Archive, each_instance: dg.DagsterInstance
) -> None:
    """Once it was materialized; a backfill counts on a materialization."""
    key = str(START + timedelta(days=1))
    downstream = Downstream(archive, each_instance, IMPATIENT)
    asked = [downstream.after("archive_look", partition_key=key) for _ in range(2)]
    assert asked == [1, 0]
    again = execute(archive, each_instance, "archive_look", partition_key=key)
    assert again.asset_materializations_for_node("archive__look") == []
    (observed,) = again.asset_observations_for_node("archive__look")
    assert (observed.partition, metadata(again, "look")["summary"]) == (key, "nothing was pending")
    tags = {keys.TAG_BACKFILL: "abc"}
    backfill = execute(archive, each_instance, "archive_look", partition_key=key, tags=tags)
    assert [event.partition for event in backfill.asset_materializations_for_node("archive__look")] == [key]
    assert downstream.after("archive_import") == 1  # the file of another day
    assert downstream.after("archive_look", partition_key=key) == 0


def test_an_empty_partition_that_was_asked_for_is_materialized_once(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """There is nothing to do in it, which was not known before."""
    key = str(START)
    first, again = (execute(archive, instance, "archive_look", partition_key=key) for _ in range(2))
    assert [event.partition for event in first.asset_materializations_for_node("archive__look")] == [key]
    assert again.asset_materializations_for_node("archive__look") == []


def test_an_import_after_a_run_for_partitions_brings_no_news(archive: Archive, instance: dg.DagsterInstance) -> None:
    """All its files were done by it, and nothing was published since."""
    downstream = Downstream(archive, instance)
    assert downstream.after() == 1
    add(archive, "three", 5)
    key = str(START + timedelta(days=5))
    assert [downstream.after("archive_look", partition_key=key), downstream.after()] == [1, 0]
