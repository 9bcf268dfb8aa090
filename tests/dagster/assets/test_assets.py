"""Assets and Dagster jobs, run for real against an archive on disk."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from executing import execute, failure_of, metadata
from small_archive import Archive

from mmmeta import mmmeta
from mmmeta_dagster import MetadirResource, build_definitions, keys
from mmmeta_dagster.shown.markdown import BREAK


def test_import_updates_and_runs_every_job_each_file_once(archive: Archive, each_instance: dg.DagsterInstance) -> None:
    """The main job: five files, then the one that came, then nothing."""
    first = execute(archive, each_instance)
    assert first.success
    assert archive.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
    assert [metadata(first, job)["done"] for job in ("download_contracts", "load_all", "look")] == [3, 5, 2]
    archive.write("contract3", "contract")
    archive.publish()
    second = execute(archive, each_instance)
    assert [metadata(second, job)["done"] for job in ("download_contracts", "load_all", "look")] == [1, 1, 0]
    third = execute(archive, each_instance)
    assert [metadata(third, job)["done"] for job in ("download_contracts", "load_all", "look")] == [0, 0, 0]
    assert metadata(third, "look")["summary"] == "nothing was pending"
    with sqlite3.connect(archive.root / "loaded.db") as loaded:
        assert loaded.execute("SELECT count(*) FROM documents").fetchone() == (6,)
    loaded.close()
    assert sorted(archive.looked) == ["letter0.txt", "letter1.txt"]


def test_an_update_says_what_it_merged_in_numbers(archive: Archive, each_instance: dg.DagsterInstance) -> None:
    """Plotted by the UI: added, changed, deleted, unchanged, revisions, duration."""
    assert execute(archive, each_instance, "archive_update").success
    archive.write("contract0", "contract", url="another")
    archive.write("contract3", "contract")
    archive.publish()
    said = metadata(execute(archive, each_instance, "archive_update"), "state_db")
    assert {name: said.get(name) for name in ("added", "changed", "deleted", "returned", "unchanged")} == {
        "added": 1,
        "changed": 1,
        "deleted": 0,
        "returned": None,
        "unchanged": 4,
    }
    assert said["summary"] == "revision 2 is merged: 1 file added, 1 changed; 6 files in all"
    assert (said["revision before"], said["revision"]) == (1, 2)
    assert said["duration (seconds)"] > 0
    assert said["how"] == "changes"
    assert said["dagster/row_count"] == 6
    assert archive.downloads == []


def test_an_update_alone_leaves_the_jobs_files_due_for_the_sensor(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """What was merged by hand must not be forgotten because the remote did not move since."""
    execute(archive, instance)
    archive.write("contract3", "contract")
    archive.publish()
    execute(archive, instance, "archive_update")
    assert archive.status.jobs["download_contracts"].due == 1


def test_a_single_job_updates_first_and_leaves_the_others_alone(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`archive_download_contracts`."""
    result = execute(archive, instance, "archive_download_contracts")
    assert metadata(result, "state_db")["added"] == 5
    said = metadata(result, "download_contracts")
    assert said["done"] == 3
    assert said["size (bytes)"] == sum(len(f"contract contract{number}") for number in range(3))
    assert said["selection"] == 'document_type is "contract"'
    assert said["summary"] == "3 files done (54 bytes)"
    assert archive.looked == []


def test_the_run_stands_in_the_ledger(archive: Archive, instance: dg.DagsterInstance) -> None:
    """From a file to the run that processed it."""
    result = execute(archive, instance)
    with archive.open() as m:
        entries = m.job(archive.config.jobs["look"]).files("done")
    assert {entry.run_id for entry in entries} == {result.run_id}


def test_the_command_that_says_more_works_as_it_stands(
    tmp_path: Path, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """With a state db elsewhere, in a folder whose name a shell would take apart, from any other folder."""
    folder = archive.root / "it's a folder"
    archive.client.rename(archive.root / "moved")
    folder.mkdir()
    (archive.root / "moved").rename(folder / "client")
    text = archive.project.read_text().replace("path: ./client", "path: ./client\n    state: ./elsewhere.db")
    moved = Archive(folder)
    moved.configure(text.replace("files_root: ./server", "files_root: ../server"))
    command = metadata(execute(moved, instance), "look")["see more"]
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shown = subprocess.run(command, shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert str(folder / "mmmeta.yaml") in command.replace(BREAK, "").replace("'\"'\"'", "'")
    assert len(re.findall(r"\bdone\b", shown.stdout)) == 2, shown.stdout


def test_a_limit_from_the_launchpad_leaves_the_rest(archive: Archive, instance: dg.DagsterInstance) -> None:
    """And the rest is due."""
    limit = {"ops": {"archive__load_all": {"config": {"limit": 2}}}}
    said = metadata(execute(archive, instance, run_config=limit), "load_all")
    assert (said["done"], said["pending"], said["summary"]) == (2, 3, "2 files done, 3 left")
    assert archive.status.jobs["load_all"].due == 3


@pytest.mark.parametrize("job", ["archive_import", "archive_update", "archive_look"])
def test_an_archive_that_is_not_there_is_one_line(
    empty_archive: Archive, each_instance: dg.DagsterInstance, job: str
) -> None:
    """The code location loads; the run says what is missing, does not retry, and creates nothing."""
    result = execute(empty_archive, each_instance, job)
    assert not result.success
    failure = failure_of(result, "state_db").user_failure_data
    assert failure.description == (
        f"There is no metadata db: {empty_archive.client / '_mmmeta'} is not there yet; run what makes it, or sync it"
    )
    assert "\n" not in failure.description
    assert not empty_archive.client.exists()
    run = each_instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[keys.TAG_NOT_WHOLE] == failure.description


def test_a_function_that_is_not_there_is_one_line(archive: Archive, instance: dg.DagsterInstance) -> None:
    """No traceback through the library."""
    archive.configure(archive.project.read_text().replace("dagster_test_actions:look", "dagster_test_actions:lok"))
    result = execute(archive, instance)
    failure = failure_of(result, "look").user_failure_data
    assert "has no function 'lok'. Did you mean 'look'" in failure.description
    assert archive.downloads


def test_generate_runs_where_metadata_is_written(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`generate: true` makes metadata_db an asset of one's own."""
    archive.configure(
        """
        version: 1
        metadirs:
          archive: {path: ./server, generate: true}
        """
    )
    archive.write("contract3", "contract")
    (archive.server / "broken.json").write_text("{")
    said = metadata(execute(archive, instance, "archive_generate"), "metadata_db")
    assert (said["added"], said["unchanged"], said["set aside"]) == (1, 5, 1)
    assert "| broken.json |" in said["problems"]
    assert said["summary"] == (
        "revision 2 is published: 1 file added; 1 metadata file is set aside, which no job sees: mend it, then generate again"
    )
    assert list(said)[:3] == ["summary", "set aside", "problems"]
    assert execute(archive, instance).success


def test_generate_takes_options_from_the_launchpad(archive: Archive, instance: dg.DagsterInstance) -> None:
    """`ensure` deletes what is gone."""
    archive.configure("{version: 1, metadirs: {archive: {path: ./server, generate: true}}}")
    (archive.server / "letter0.json").unlink()
    ensure = {"ops": {"archive__metadata_db": {"config": {"ensure": True}}}}
    assert metadata(execute(archive, instance, "archive_generate", run_config=ensure), "metadata_db")["deleted"] == 1


def test_a_clients_metadata_db_cannot_be_materialized(archive: Archive) -> None:
    """`Materialize all` must not run generate on a client's copy."""
    graph = archive.definitions.resolve_asset_graph()
    assert not graph.get(keys.asset_key("archive", "metadata_db")).is_executable
    assert "archive_generate" not in {job.name for job in archive.definitions.resolve_all_job_defs()}


def test_assets_say_what_they_are(archive: Archive) -> None:
    """Keys, groups, kinds, owners, tags, descriptions without passwords."""
    archive.configure(
        """
        version: 1
        metadirs:
          archive:
            path: ./client
            jobs:
              load:
                where: {document_type: contract}
                load: {to: "postgresql://me:secret@db/archive", table: documents}
                owners: ["team:archive", "me@example.org"]
                tags: {domain: contracts}
        """
    )
    graph = archive.definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "archive/metadata_db",
        "archive/state_db",
        "archive/load",
    }
    load = graph.get(keys.asset_key("archive", "load"))
    assert load.group_name == "archive"
    assert load.owners == ["team:archive", "me@example.org"]
    assert load.tags["domain"] == "contracts"
    assert load.parent_keys == {keys.asset_key("archive", "state_db")}
    assert 'document_type is "contract"' in load.description
    assert "postgresql://me@db/archive" in load.description
    assert "secret" not in f"{load.description}{load.metadata}"


def test_a_job_without_a_filter_selects_all_files_in_a_sentence(archive: Archive) -> None:
    """Not "files where all files"."""
    load_all = archive.definitions.resolve_asset_graph().get(keys.asset_key("archive", "load_all"))
    assert "Selects all files. Each of them once," in load_all.description
    look = archive.definitions.resolve_asset_graph().get(keys.asset_key("archive", "look"))
    assert 'Selects files where document_type is "letter". Each of them' in look.description


def test_materializations_are_stable_for_downstream_only_when_nothing_changed(
    archive: Archive, each_instance: dg.DagsterInstance
) -> None:
    """The state db's data version is the content, so that an update without news makes nobody stale."""

    def version() -> str:
        assert execute(archive, each_instance, "archive_update").success
        event = each_instance.get_latest_materialization_event(keys.asset_key("archive", "state_db"))
        assert event is not None
        assert event.asset_materialization is not None
        return (event.asset_materialization.tags or {})["dagster/data_version"]

    first, again = version(), version()
    archive.write("contract3", "contract")
    archive.publish()
    assert first == again
    assert version() != first


def test_the_resource_opens_the_metadir_in_ones_own_asset(archive: Archive, instance: dg.DagsterInstance) -> None:
    """By the name that the code location gives it, or by any other."""

    @dg.asset
    def number_of_contracts(archive_metadir: MetadirResource) -> dg.MaterializeResult[None]:
        with archive_metadir.open() as m:
            return dg.MaterializeResult(metadata={"contracts": m.files.count(document_type="contract")})

    own = dg.Definitions(assets=[number_of_contracts], jobs=[dg.define_asset_job("own", [number_of_contracts])])
    merged = dg.Definitions.merge(build_definitions(metadirs={"archive": archive.config}), own)
    result = merged.resolve_job_def("own").execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node("number_of_contracts")
    assert event.metadata["contracts"].value == 3


def test_the_resource_takes_environment_variables(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Dagster's resources do."""
    monkeypatch.setenv("ARCHIVE_PATH", str(archive.server))
    resource = MetadirResource(path=dg.EnvVar("ARCHIVE_PATH"))
    with resource.process_config_and_initialize().open() as m:
        assert m.files.count() == 5


def test_opening_the_resource_creates_nothing(empty_archive: Archive) -> None:
    """A mistyped path stays without a folder."""
    with MetadirResource(path=str(empty_archive.root / "nowhere")).open() as m:
        assert not m.is_client
    assert not (empty_archive.root / "nowhere").exists()


def test_the_run_gives_signs_of_life(archive: Archive, instance: dg.DagsterInstance) -> None:
    """The sensor reads them."""
    result = execute(archive, instance)
    assert [path.name for path in (archive.client / "_mmmeta" / "local" / "runs").iterdir()] == [result.run_id]


def test_a_server_publishes_and_a_client_imports_in_one_folder(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Nothing has to be synced where both are the same machine."""
    archive.configure(archive.project.read_text().replace("path: ./client", "path: ./server\n    generate: true"))
    assert execute(archive, instance).success
    archive.write("contract9", "contract")
    assert execute(archive, instance, "archive_generate").success
    assert metadata(execute(archive, instance), "download_contracts")["done"] == 1
    with mmmeta(archive.server) as m:
        assert m.is_server
        assert m.is_client
