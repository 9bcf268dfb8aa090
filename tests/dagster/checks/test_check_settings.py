"""Asset checks: what they do where nothing can be told, that they write nothing, and how they are set."""

from __future__ import annotations

import os

import dagster as dg
from check_runs import (
    CHECKS,
    OF_JOB,
    checks,
    configure,
    evaluations,
    failed,
    found,
    numbers,
    state,
    tree,
)
from executing import execute
from small_archive import Archive

from mmmeta import File
from mmmeta_dagster import build_checks, build_definitions, mmmeta_asset

# Where nothing can be told


def test_without_a_state_db_they_fail_with_words_and_create_nothing(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Before the first update; and where there is no metadir at all."""
    before = tree(archive.client)
    all_found = found(execute(archive, instance, CHECKS))
    assert len(all_found) == 16
    for one in all_found.values():
        assert not one.passed
        assert one.description == f"There is no state db at {state(archive)}: nothing can be told. Update first."
        assert str(numbers(one)["what mends it"]).endswith(" update")
    assert tree(archive.client) == before
    os.rename(archive.client, archive.root / "elsewhere")
    assert len(failed(execute(archive, instance, CHECKS))) == 16
    assert not archive.client.exists()


def test_a_state_db_that_cannot_be_read_is_named(archive: Archive, instance: dg.DagsterInstance) -> None:
    """And left as it is."""
    execute(archive, instance)
    for path in state(archive).parent.glob("state.db*"):
        path.unlink()
    state(archive).write_bytes(b"no database at all; " * 100)
    all_found = found(execute(archive, instance, CHECKS))
    assert all(not one.passed for one in all_found.values())
    assert all(str(state(archive)) in str(one.description) for one in all_found.values())
    assert state(archive).read_bytes() == b"no database at all; " * 100


def test_checks_write_nothing_into_the_state_db(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Not even a plan, nor an evaluation of a job that nobody ran yet."""
    archive.publish()
    with archive.open() as m:
        m.update()
    before = tree(archive.client / "_mmmeta" / "local")
    assert failed(execute(archive, instance, CHECKS)) == set()
    after = tree(archive.client / "_mmmeta" / "local")
    same = {path: content for path, content in after.items() if "/runs" not in path and "state.db-" not in path}
    assert same == {path: content for path, content in before.items() if "state.db-" not in path}


# How they are set


def test_a_job_that_fails_loses_its_own_checks_only(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The others' are there all the same."""
    archive.fail("letter0.txt", "letter1.txt")
    result = execute(archive, instance)
    assert not result.success
    assert {asset for asset, _ in evaluations(result)} == {"state_db", "download_contracts", "load_all"}


def test_severity(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`error` is red in the UI; the run goes on either way."""
    checks(archive, "{severity: error}")
    archive.fail("letter1.txt")
    one = found(execute(archive, instance))["look", "few_failures"]
    assert (one.passed, one.severity, one.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)


def test_switched_off(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`checks: false`."""
    checks(archive, "false")
    assert found(execute(archive, instance)) == {}
    assert CHECKS not in archive.definitions.get_repository_def().job_names
    assert build_checks(metadir=archive.config) == []


def test_by_the_clock_instead_of_with_every_run(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`schedules: {checks: …}`."""
    configure(archive, ("path: ./client", 'path: ./client\n    schedules: {checks: "0 7 * * *"}'))
    (schedule,) = archive.definitions.get_repository_def().schedule_defs
    assert (schedule.name, schedule.cron_schedule) == ("archive_checks_schedule", "0 7 * * *")
    assert found(execute(archive, instance)) == {}
    assert len(found(execute(archive, instance, CHECKS))) == 16


def test_one_check_by_itself(archive: Archive, instance: dg.DagsterInstance) -> None:
    """As the button in the UI does it."""
    execute(archive, instance)
    key = dg.AssetCheckKey(dg.AssetKey(["archive", "look"]), "no_lag")
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(key), executor_def=dg.in_process_executor)
    definitions = dg.Definitions.merge(archive.definitions, dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("one").execute_in_process(instance=instance)
    assert set(found(result)) == {("look", "no_lag")}


def test_a_function_of_ones_own_has_the_checks_of_a_job(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Through build_definitions; under the asset key that it has."""

    @mmmeta_asset(metadir=archive.config, where={"document_type": "letter"}, attempts=1, key="texts/letters")
    def read(file: File) -> None:
        if file["_file_name"] == "letter1.txt":
            raise ValueError("cannot be read")

    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[read])
    result = definitions.resolve_job_def("archive_read").execute_in_process(instance=instance, raise_on_error=False)
    assert {check for asset, check in found(result) if asset == "letters"} == OF_JOB
    assert failed(result) == {("letters", "nothing_dead"), ("letters", "few_failures")}
