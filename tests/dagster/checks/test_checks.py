"""Asset checks: each shown passing and failing, by real runs."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest
from archives import drop_log
from check_runs import (
    CHECKS,
    OF_JOB,
    OF_STATE_DB,
    checks,
    configure,
    failed,
    found,
    numbers,
    sql,
    state,
)
from executing import execute
from small_archive import Archive

from mmmeta.clock import to_text, utcnow
from mmmeta_dagster import build_checks
from mmmeta_dagster.shown.markdown import BREAK


def test_all_pass_after_an_import_without_further_words(archive: Archive, each_instance: dg.DagsterInstance) -> None:
    """Each says that and nothing else; and their own Dagster job finds the same."""
    for job in ("archive_import", CHECKS):
        all_found = found(execute(archive, each_instance, job))
        assert {key for key, one in all_found.items() if not one.passed} == set()
        names: dict[str, set[str]] = {}
        for asset, check in all_found:
            names.setdefault(asset, set()).add(check)
        assert names == {
            "state_db": OF_STATE_DB,
            "download_contracts": {*OF_JOB, "results_in_place"},
            "load_all": {*OF_JOB, "results_in_place"},
            "look": OF_JOB,
        }
        assert {(one.description, *one.metadata) for one in all_found.values()} == {(None,)}


def test_each_job_of_dagster_has_the_checks_of_its_assets(archive: Archive, instance: dg.DagsterInstance) -> None:
    """No more and no fewer."""
    assert {asset for asset, _ in found(execute(archive, instance, "archive_update"))} == {"state_db"}
    assert {asset for asset, _ in found(execute(archive, instance, "archive_look"))} == {"state_db", "look"}


def test_everything_about_a_check_is_said_in_sentences(archive: Archive) -> None:
    """What the UI lists."""
    specs = [spec for one in build_checks(metadir=archive.config) for spec in one.check_specs]
    assert len(specs) == 16
    assert all(spec.description is not None and spec.description.endswith(".") for spec in specs)


# Of a job


def test_nothing_dead(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Until a person has them retried, with the command that it names."""
    configure(archive, ("attempts: 3\n        backoff: 1s", "attempts: 1"))
    archive.fail("letter1.txt")
    one = found(execute(archive, instance))["look", "nothing_dead"]
    assert (one.passed, one.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(one.description).startswith("1 file is dead, waiting for a person")
    said = numbers(one)
    assert said["dead"] == 1
    assert str(said["see more"]).replace(BREAK, "").startswith(f"mmmeta --project {archive.project} --metadir archive ")
    assert str(said["see more"]).endswith(" jobs failed --dead look")
    assert str(said["what mends it"]).endswith(" jobs retry --dead look")
    archive.fail()
    retry = {"ops": {"archive__look": {"config": {"retry_dead": True}}}}
    assert failed(execute(archive, instance, run_config=retry)) == set()


def test_few_failures(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The share of those that were tried, dead ones among them, against the limit."""
    archive.fail("letter1.txt")
    one = found(execute(archive, instance))["look", "few_failures"]
    assert (one.passed, numbers(one)["share of failures"], numbers(one)["limit"]) == (False, 0.5, "10.0%")
    assert one.description == "1 of 2 files that were tried are failed or dead (50.0%, limit 10%)."
    checks(archive, "{failures: 0.5}")
    assert found(execute(archive, instance, CHECKS))["look", "few_failures"].passed


def test_no_lag(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Also where nothing is imported any more, which only the checks' own Dagster job can tell."""
    limit = {"ops": {"archive__look": {"config": {"limit": 1}}}}
    one = found(execute(archive, instance, run_config=limit))["look", "no_lag"]
    assert one.passed
    sql(state(archive), "UPDATE ledger SET selected_at = ?", to_text(utcnow() - timedelta(hours=25)))
    one = found(execute(archive, instance, CHECKS))["look", "no_lag"]
    assert not one.passed
    assert one.description == "1 file is pending, the oldest for 1 day 1 hour (limit 1 day)."
    assert numbers(one)["oldest pending (seconds)"] == pytest.approx(25 * 3600, abs=120)
    checks(archive, "{lag: 2d}")
    assert found(execute(archive, instance, CHECKS))["look", "no_lag"].passed


def test_a_file_that_changed_waits_since_then(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Not since it was selected for the first time, a year ago."""
    configure(archive, ('load: {to: "sqlite', 'rerun_on: metadata\n        load: {to: "sqlite'))
    execute(archive, instance)
    sql(state(archive), "UPDATE ledger SET selected_at = ?", to_text(utcnow() - timedelta(days=365)))
    archive.write("letter0", "letter", title="another")
    archive.publish()
    execute(archive, instance, "archive_update")
    assert found(execute(archive, instance, CHECKS))["load_all", "no_lag"].passed
    assert archive.status.jobs["load_all"].due == 1
    with archive.open() as m:
        (contract, *_) = m.job("look").files("done")
        m.job(archive.config.jobs["look"]).retry(files=[contract.file])
    assert found(execute(archive, instance, CHECKS))["look", "no_lag"].passed
    assert archive.status.jobs["look"].due == 1


def test_nothing_left_unprocessed(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A narrowed selection leaves files undone: it is said for a week, or until they are wanted again."""
    limit = {"ops": {"archive__look": {"config": {"limit": 1}}}}
    assert failed(execute(archive, instance, run_config=limit)) == set()
    wide = archive.project.read_text()
    configure(archive, ("where: {document_type: letter}", "where: {document_type: contract}"))
    one = found(execute(archive, instance))["look", "nothing_left_unprocessed"]
    assert not one.passed
    assert str(one.description).startswith("1 file is set aside undone, because the job's selection was changed")
    assert (numbers(one)["left lately"], numbers(one)["set aside in all"]) == (1, 1)
    sql(
        state(archive),
        "UPDATE ledger SET settled_at = ? WHERE status = 'skipped'",
        to_text(utcnow() - timedelta(days=8)),
    )
    one = found(execute(archive, instance, CHECKS))["look", "nothing_left_unprocessed"]
    assert one.passed
    archive.configure(wide)
    assert failed(execute(archive, instance)) == set()
    assert sorted(set(archive.looked) & {"letter0.txt", "letter1.txt"}) == ["letter0.txt", "letter1.txt"]


def test_results_in_place(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A row that somebody deleted is named, and the command that has it loaded again does so."""
    target = archive.root / "loaded.db"
    assert found(execute(archive, instance))["load_all", "results_in_place"].passed
    sql(target, "DELETE FROM documents WHERE _file_name = 'letter1.txt'")
    one = found(execute(archive, instance))["load_all", "results_in_place"]
    assert not one.passed
    said = numbers(one)
    assert (said["looked for"], said["missing"], said["done in all"]) == (5, 1, 5)
    assert "has no row of it" in said["what is missing"]
    assert "| letter1.txt |" in said["what is missing"]
    *_, verb, job, file = str(said["what mends it"]).split()
    assert (verb, job) == ("retry", "load_all")
    with archive.open() as m:
        assert m.job(archive.config.jobs["load_all"]).retry(files=[file]) == 1
    assert failed(execute(archive, instance)) == set()


def test_documents_in_place(archive: Archive, instance: dg.DagsterInstance) -> None:
    """One that is gone, one whose content is another; a run with them asked for anew brings both back."""
    assert found(execute(archive, instance))["download_contracts", "results_in_place"].passed
    (archive.root / "downloads" / "contract0.txt").unlink()
    (archive.root / "downloads" / "contract1.txt").write_text("contract contracT1")
    one = found(execute(archive, instance))["download_contracts", "results_in_place"]
    assert not one.passed
    said = numbers(one)
    assert (said["looked for"], said["missing"]) == (3, 2)
    files = str(said["what mends it"]).split(" retry download_contracts ")[1].split()
    with archive.open() as m:
        assert m.job(archive.config.jobs["download_contracts"]).retry(files=files) == 2
    assert failed(execute(archive, instance)) == set()
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]


def test_results_that_are_elsewhere(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A changed target is said, with the command that has the files done where the job points now."""
    execute(archive, instance)
    archive.configure(archive.project.read_text().replace("loaded.db", "other.db"))
    one = found(execute(archive, instance))["load_all", "results_in_place"]
    assert not one.passed
    assert str(one.description).startswith("5 files are done elsewhere than where the job points now: 5 in sqlite:///")
    assert str(numbers(one)["what mends it"]).endswith("jobs retry load_all --elsewhere")


def test_results_of_another_version_are_not_in_place(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The receipt tells."""
    execute(archive, instance)
    sql(archive.root / "loaded.db", "UPDATE _mmmeta_receipts SET version = version || 'x'")
    assert failed(execute(archive, instance, CHECKS)) == {("load_all", "results_in_place")}


def test_a_target_that_cannot_be_read_is_a_failed_check_and_no_failed_run(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """With what the database says."""
    execute(archive, instance)
    (archive.root / "loaded.db").write_text("no database, whatever its name says. " * 50)
    all_found = found(execute(archive, instance, CHECKS))
    assert {key for key, one in all_found.items() if not one.passed} == {("load_all", "results_in_place")}
    assert "file is not a database" in str(all_found["load_all", "results_in_place"].description)


def test_how_many_results_are_looked_for(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A sample, all, or none."""
    execute(archive, instance)
    sql(archive.root / "loaded.db", "DELETE FROM documents")
    plain = archive.project.read_text()
    for said, looked in (("2", 2), ("all", 5), ("20", 5)):
        archive.configure(plain)
        checks(archive, f"{{downloads: {said}}}")
        one = found(execute(archive, instance, CHECKS))["load_all", "results_in_place"]
        assert numbers(one)["looked for"] == looked
    archive.configure(plain)
    checks(archive, "{downloads: 0}")
    assert "results_in_place" not in {check for _, check in found(execute(archive, instance, CHECKS))}


# Of the state db


def test_at_published_revision(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Merged, not merged yet, half synced, gone."""
    execute(archive, instance)
    archive.write("letter9", "letter")
    archive.publish()
    one = found(execute(archive, instance, CHECKS))["state_db", "at_published_revision"]
    assert not one.passed
    assert one.description == "The state db has merged revision 1, the metadata db has 2: not merged yet."
    assert (numbers(one)["revision"], numbers(one)["published revision"]) == (1, 2)
    assert str(numbers(one)["what mends it"]).endswith(" update")
    assert failed(execute(archive, instance)) == set()
    (archive.client / "_mmmeta" / "_store" / "remote_revision").write_text("3")
    one = found(execute(archive, instance, CHECKS))["state_db", "at_published_revision"]
    assert not one.passed
    assert one.description == "The store announces revision 3, the metadata db here is at 2: the sync is not whole."
    drop_log(archive.client / "_mmmeta")
    (archive.client / "_mmmeta" / "meta.db").unlink()
    one = found(execute(archive, instance, CHECKS))["state_db", "at_published_revision"]
    assert not one.passed
    assert str(one.description).startswith("Cannot be told: ")


def test_types_of_keys(archive: Archive, instance: dg.DagsterInstance) -> None:
    """A number that comes as text: named with an example, over when the remote mends it."""
    for number in range(3):
        archive.write(f"contract{number}", "contract", pages=number)
    archive.publish()
    assert failed(execute(archive, instance)) == set()
    archive.write("contract9", "contract", pages="9")
    archive.write("contract8", "contract", pages=None)
    archive.publish()
    one = found(execute(archive, instance))["state_db", "types_of_keys"]
    assert not one.passed
    assert str(one.description).startswith("pages used to be a number and lately came with text: ")
    assert numbers(one)["keys"] == 1
    assert "| pages | text | 1 | 4 | '9' in " in numbers(one)["what came"]
    assert " find content_hash=" in str(numbers(one)["see more"])
    archive.write("contract9", "contract", pages=9)
    archive.publish()
    assert failed(execute(archive, instance)) == set()


def test_types_of_keys_that_may_be_several_or_are_long_ago(archive: Archive, instance: dg.DagsterInstance) -> None:
    """It does not stay red for ever."""
    archive.write("contract0", "contract", pages=1)
    archive.publish()
    archive.write("contract1", "contract", pages="1-4")
    archive.publish()
    assert failed(execute(archive, instance)) == {("state_db", "types_of_keys")}
    plain = archive.project.read_text()
    checks(archive, "{several_types: [pages]}")
    assert failed(execute(archive, instance, CHECKS)) == set()
    archive.configure(plain)
    sql(state(archive), "UPDATE files SET __meta_last_updated = ?", to_text(utcnow() - timedelta(days=8)))
    assert failed(execute(archive, instance, CHECKS)) == set()
