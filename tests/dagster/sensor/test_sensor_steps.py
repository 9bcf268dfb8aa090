"""Which steps a run has that the sensor asks for: all of the import, or the update and the jobs that have something to do."""

from __future__ import annotations

import time
from datetime import timedelta

import dagster as dg
from small_archive import Archive
from watch import Watch


def steps(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.step_key for event in result.all_events if event.event_type_value == "STEP_START" and event.step_key}


def test_a_file_that_is_tried_again_takes_the_update_its_job_and_their_checks(watch: Watch) -> None:
    """What is new at the remote takes all."""
    archive = watch.archive
    archive.fail("letter0.txt")
    first = watch.asks()
    assert first.asset_selection is None
    assert len(steps(watch.run(first))) == 8
    watch.ahead = timedelta(seconds=5)
    again = watch.asks()
    assert "look: 1 failed file is due again" in again.tags["mmmeta/reason"]
    assert [key.to_user_string() for key in again.asset_selection or ()] == ["archive/state_db", "archive/look"]
    archive.fail()
    time.sleep(1.3)  # the backoff with its jitter, by the run's own clock
    result = watch.run(again)
    assert result.success
    assert archive.status.jobs["look"].done == 2
    assert steps(result) <= {
        "archive__state_db",
        "archive__state_db__checks",
        "archive__look",
        "archive__look__checks",
    }
    assert {"archive__state_db", "archive__look"} <= steps(result)
    told = {event.asset_key.path[-1] for event in result.get_asset_check_evaluations()}
    assert told == {"state_db", "look"}
    archive.write("letter9", "letter")
    archive.publish()
    assert watch.asks().asset_selection is None


def test_an_import_whose_jobs_have_partitions_can_be_run_in_part(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """It is another kind of Dagster job."""
    text = archive.project.read_text()
    archive.configure(text.replace("table: documents}", "table: documents}\n        partitions: {by: url}"))
    result = archive.definitions.resolve_job_def("archive_import").execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(["archive", "state_db"]), dg.AssetKey(["archive", "load_all"])],
    )
    assert {event.asset_key.path[-1] for event in result.get_asset_check_evaluations()} == {"state_db", "load_all"}
    assert archive.looked == []
