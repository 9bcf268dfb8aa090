"""What runs say of files that fail, are dead or wait, and when such a run counts as failed itself."""

from __future__ import annotations

import re
import time

import dagster as dg
import pytest
from executing import execute, failure_of, metadata
from small_archive import Archive

from mmmeta import mmmeta
from mmmeta_dagster import keys


def test_files_that_failed_are_named_with_their_reason_and_the_run_succeeds(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """One bad document does not stop the others."""
    archive.fail("letter1.txt")
    result = execute(archive, instance)
    assert result.success
    said = metadata(result, "look")
    assert (said["done"], said["failed"], "due later" in said) == (1, 1, False)
    assert re.fullmatch(r"1 file done, 1 failed; tried again from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said["summary"])
    assert said["failures"] == r"- **1 failed**: ValueError: cannot read \| letter1.txt; e.g. letter1.txt"
    assert said["see more"].endswith(" jobs failed look")
    assert "what mends it" not in said


def test_the_run_fails_if_nothing_could_be_done(archive: Archive, each_instance: dg.DagsterInstance) -> None:
    """In one sentence that names a file; the other jobs ran; all else is in one place, an observation."""
    archive.fail("letter0.txt", "letter1.txt")
    result = execute(archive, each_instance)
    assert not result.success
    failure = failure_of(result, "look").user_failure_data
    assert failure.description.startswith("look: none of 2 files could be done. ")
    assert " done. letter" in failure.description
    assert failure.description.endswith((": ValueError: cannot read | letter0.txt", "cannot read | letter1.txt"))
    assert list(failure.metadata) == ["see more"]
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
    (record,) = each_instance.fetch_observations(keys.asset_key("archive", "look"), limit=10).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["failed"].value == 2


def test_a_run_that_only_retries_files_that_are_known_to_be_bad_does_not_fail(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """They were told of when they failed first; a job that has done others is not broken."""
    archive.configure(archive.project.read_text().replace("backoff: 1s", "backoff: 1s\n        fail_run_above: 0.5"))
    archive.fail("letter1.txt")
    assert execute(archive, instance).success
    time.sleep(1.3)  # the backoff with its jitter
    retried = execute(archive, instance)
    assert retried.success
    assert (metadata(retried, "look")["done"], metadata(retried, "look")["failed"]) == (0, 1)


def test_one_new_bad_file_by_itself_does_not_fail_a_job_that_has_done_others(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """It is the file, as far as anybody can tell; two of them, and nothing else done, are another matter."""
    archive.configure(
        archive.project.read_text().replace("attempts: 3\n        backoff", "attempts: 1\n        backoff")
    )
    execute(archive, instance)
    archive.fail("letter2.txt", "letter3.txt", "letter4.txt")
    archive.write("letter2", "letter")
    archive.publish()
    assert execute(archive, instance).success
    archive.write("letter3", "letter")
    archive.write("letter4", "letter")
    archive.publish()
    result = execute(archive, instance)
    assert not result.success
    description = failure_of(result, "look").user_failure_data.description
    assert description.startswith("look: none of 2 files could be done.")


def test_a_job_that_never_did_anything_fails_whenever_it_tries(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Also when it only retries: something is wrong with the job, and it should stay in sight."""
    archive.fail("letter0.txt", "letter1.txt")
    assert not execute(archive, instance).success
    time.sleep(1.3)  # the backoff with its jitter
    assert not execute(archive, instance).success


def test_the_run_fails_above_the_share_that_the_project_file_allows(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """`fail_run_above`."""
    archive.configure(
        archive.project.read_text().replace("attempts: 3\n        backoff", "fail_run_above: 0.2\n        backoff")
    )
    archive.fail("letter1.txt")
    result = execute(archive, instance)
    assert not result.success
    description = failure_of(result, "look").user_failure_data.description
    assert description.startswith("look: 50% of 2 files failed, more than the 20% that fail_run_above allows.")


def test_dead_files_wait_for_a_person_who_retries_them_from_the_launchpad(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """After their attempts they are no one's work any more, until someone asks."""
    archive.configure(
        archive.project.read_text().replace("attempts: 3\n        backoff", "attempts: 1\n        backoff")
    )
    archive.fail("letter1.txt")
    assert metadata(execute(archive, instance), "look")["dead"] == 1
    archive.fail()
    assert metadata(execute(archive, instance), "look")["done"] == 0
    retry = {"ops": {"archive__look": {"config": {"retry_dead": True}}}}
    assert metadata(execute(archive, instance, run_config=retry), "look")["done"] == 1


def test_a_run_without_anything_pending_says_what_earlier_runs_left_behind(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Dead files wait for a person, who would never look if the runs after it said "nothing was pending, dead 0"."""
    archive.configure(
        archive.project.read_text().replace("attempts: 3\n        backoff: 1s", "attempts: 1\n        backoff: 1h")
    )
    archive.fail("letter1.txt")
    first = metadata(execute(archive, instance), "look")
    assert (first["dead"], first["summary"]) == (
        1,
        "1 file done, 1 dead; waiting for a person: mend the cause, then retry",
    )
    again = metadata(execute(archive, instance), "look")
    assert (again["done"], again["dead"], again["done in all"]) == (0, 1, 1)
    assert again["summary"] == "nothing was pending; 1 dead, waiting for a person: mend the cause, then retry"
    assert again["failures"].startswith("- **1 dead**: ValueError: cannot read")
    assert again["what mends it"].endswith(" jobs retry --dead look")
    archive.write("letter2", "letter")
    archive.publish()
    third = metadata(execute(archive, instance), "look")
    assert third["summary"] == "1 file done; 1 dead in all, waiting for a person: mend the cause, then retry"


def test_a_run_without_anything_pending_says_what_is_due_again_later(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Failed files are not pending, and not done either."""
    archive.configure(archive.project.read_text().replace("backoff: 1s", "backoff: 1h"))
    archive.fail("letter1.txt")
    execute(archive, instance)
    again = metadata(execute(archive, instance), "look")
    assert again["summary"].startswith("nothing was pending; 1 failed, tried again from 20")
    assert again["failed"] == 1


def test_numbers_that_can_be_plotted_stand_in_every_run(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A 0 of what a run did is a point in a plot, and a gap is not; a 0 of anything else is only in the way."""
    plotted = {"done", "failed", "dead", "pending", "size (bytes)", "duration (seconds)"}
    limit = {"ops": {"archive__look": {"config": {"limit": 1}}}}
    first = metadata(execute(archive, instance, run_config=limit), "look")
    assert (first["pending"], first["done in all"]) == (1, 1)
    assert 0 < first["oldest pending (seconds)"] < 60
    with archive.open() as m:
        (waiting,) = m.job(archive.config.jobs["look"]).files("pending")
    for path in archive.server.glob("letter*.json"):
        if waiting.file in path.read_text():
            path.unlink()
    with mmmeta(archive.server) as m:
        m.generate(ensure=True)
    archive.sync()
    second = metadata(execute(archive, instance), "look")
    assert (second["pending"], second["set aside in all"]) == (0, 1)
    assert second["why set aside"] == "- the file was deleted before it was processed: 1"
    for said in (first, second):
        numbers = {name: value for name, value in said.items() if isinstance(value, int | float)}
        assert plotted <= set(numbers)
        assert all(value for name, value in numbers.items() if name not in plotted)


@pytest.mark.parametrize(
    "url", ["postgresql+nodriver://h/x?sslpassword=hunter2", "postgresql+nodriver://me:hunter2%2Fh@h/x"]
)
def test_no_password_is_shown(archive: Archive, instance: dg.DagsterInstance, url: str) -> None:
    """Neither by the asset nor by any event of a run that cannot reach its database."""
    load = f"{{to: '{url}', table: documents}}"
    archive.configure(f"version: 1\nmetadirs: {{archive: {{path: ./client, jobs: {{load_all: {{load: {load}}}}}}}}}")
    definitions = archive.definitions
    job = definitions.resolve_job_def("archive_load_all")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    told = [str(record) for record in instance.all_logs(result.run_id)]
    told += [str(spec) for spec in definitions.resolve_all_asset_specs()]
    assert "cannot be opened" in "".join(told)
    assert "hunter2" not in "".join(told)
