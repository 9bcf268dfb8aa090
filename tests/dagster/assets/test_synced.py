"""The asset ``synced``: where it stands, what it brings and says, and what a pull that fails does to the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from executing import execute, failure_of, metadata
from pulling import HIDDEN, break_remote, generate, mend_remote, pull_from
from servers import Web
from small_archive import PROJECT, Archive

from mmmeta_dagster import DagsterMmmetaTranslator, MetadirAsset, build_definitions, keys

METADATA_DB, SYNCED, STATE_DB = (keys.asset_key("archive", name) for name in ("metadata_db", "synced", "state_db"))


@pytest.fixture
def pulled(empty_archive: Archive, impatient: None) -> Archive:
    """Three contracts, published; the client has its project file and nothing else."""
    pull_from(empty_archive)
    generate(empty_archive, "contract0", "contract1", "contract2")
    return empty_archive


def steps(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> list[str]:
    """The assets of a run whose steps succeeded, in order, without the checks."""
    logged = [record.dagster_event for record in instance.all_logs(result.run_id)]
    done = [event.step_key or "" for event in logged if event is not None and event.is_step_success]
    return [step.removeprefix("archive__") for step in done if not step.endswith("__checks")]


def spec(archive: Archive, name: str) -> dg.AssetSpec:
    """What Dagster is told of an asset."""
    return archive.definitions.resolve_asset_graph().get(keys.asset_key("archive", name)).to_asset_spec()


def events(instance: dg.DagsterInstance, key: dg.AssetKey = SYNCED) -> list[dg.AssetMaterialization]:
    """The materializations of an asset, the last one first."""
    records = instance.fetch_materializations(key, limit=20).records
    return [record.asset_materialization for record in records if record.asset_materialization is not None]


def alone(archive: Archive, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """The button "Materialize" of this asset."""
    return execute(archive, instance, asset_selection=[SYNCED])


# Where it stands


def test_it_stands_between_the_remote_and_the_state_db(pulled: Archive) -> None:
    """The copy is what it brings; the state db is made of that."""
    graph = pulled.definitions.resolve_asset_graph()
    assert graph.get(SYNCED).parent_keys == set()
    assert graph.get(METADATA_DB).parent_keys == {SYNCED}
    assert graph.get(STATE_DB).parent_keys == {METADATA_DB, SYNCED}
    (asset,) = [one for one in pulled.definitions.assets or () if getattr(one, "key", None) == SYNCED]
    assert isinstance(asset, dg.AssetsDefinition)
    (told,) = asset.specs
    assert told.group_name == "archive"
    assert told.kinds == {"file"}
    assert told.description is not None
    assert told.description.startswith(f"Brings the metadir here from {pulled.server}")


def test_without_sync_there_is_none(archive: Archive) -> None:
    """Also where a push is all that is said."""
    for more in ("", 'sync: {push: "s3://bucket/archive"}'):
        archive.configure(PROJECT.replace("path: ./client", f"path: ./client\n    {more}"))
        graph = archive.definitions.resolve_asset_graph()
        assert not graph.has(SYNCED)
        assert graph.get(STATE_DB).parent_keys == {METADATA_DB}


@pytest.mark.parametrize(
    ("remote", "kind"),
    [
        ("s3://bucket/archive", "s3"),
        ("gs://bucket/archive", "gcs"),
        ("https://me:hidden@host/archive?sig=hidden", "http"),
        ("sftp://me:hidden@host/archive", "sftp"),
    ],
)
def test_it_says_from_where_without_secrets(empty_archive: Archive, remote: str, kind: str) -> None:
    """Kind, description and metadata of the asset."""
    pull_from(empty_archive, remote)
    (asset,) = [one for one in empty_archive.definitions.assets or () if getattr(one, "key", None) == SYNCED]
    assert isinstance(asset, dg.AssetsDefinition)
    (told,) = asset.specs
    assert told.kinds == {kind}
    assert "archive" in str(told.metadata[keys.META_REMOTE])
    assert HIDDEN not in repr((told, empty_archive.config))


def test_a_translator_moves_it_and_all_follow(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """Key and group, as for the others."""

    class Ours(DagsterMmmetaTranslator):
        def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
            spec = super().get_asset_spec(asset)
            return spec.replace_attributes(key=spec.key.with_prefix("lake"), group_name="documents")

    definitions = build_definitions(metadirs={"archive": pulled.config}, translator=Ours())
    graph = definitions.resolve_asset_graph()
    moved = SYNCED.with_prefix("lake")
    assert graph.get(STATE_DB.with_prefix("lake")).parent_keys == {METADATA_DB.with_prefix("lake"), moved}
    assert graph.get(moved).group_name == "documents"
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert len(events(instance, moved)) == 1


# What it does


def test_an_import_begins_with_the_pull_on_an_empty_disk(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """Project file, remote, nothing else: all documents are done."""
    assert not pulled.client.exists()
    result = execute(pulled, instance)
    assert result.success
    assert steps(result, instance)[:2] == ["synced", "state_db"]
    assert pulled.downloads == ["contract0.txt", "contract1.txt", "contract2.txt"]
    said = metadata(result, "synced")
    assert said[keys.META_SUMMARY].startswith(f"revision 1 was pulled from {pulled.server}: ")
    assert said[keys.META_REVISION] == 1
    assert keys.META_REVISION_BEFORE not in said
    assert said[keys.META_MOVED] >= 3
    assert said[keys.META_BYTES] > 100
    assert said[keys.META_DURATION] >= 0


def test_each_publication_is_one_materialization_with_what_it_moved(
    pulled: Archive, instance: dg.DagsterInstance
) -> None:
    """With the revision before, and the publication as its data version."""
    execute(pulled, instance)
    generate(pulled, "contract3")
    assert alone(pulled, instance).success
    last, first = events(instance)
    assert (last.tags or {})[keys.TAG_DATA_VERSION] != (first.tags or {})[keys.TAG_DATA_VERSION]
    assert (last.metadata[keys.META_REVISION_BEFORE].value, last.metadata[keys.META_REVISION].value) == (1, 2)


def test_a_pull_without_news_wakes_nobody(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """By itself it is an observation with the numbers; before an update it carries the same data version."""
    execute(pulled, instance)
    (first,) = events(instance)
    result = alone(pulled, instance)
    assert result.success
    assert len(events(instance)) == 1
    assert metadata(result, "synced")[keys.META_SUMMARY].startswith("nothing new at ")
    assert execute(pulled, instance).success
    assert {(one.tags or {})[keys.TAG_DATA_VERSION] for one in events(instance)} == {
        (first.tags or {})[keys.TAG_DATA_VERSION]
    }


@pytest.mark.parametrize("job", ["archive_update", "archive_look", "archive_import"])
def test_whatever_updates_first_pulls_before(pulled: Archive, instance: dg.DagsterInstance, job: str) -> None:
    """The jobs' own runs too."""
    result = execute(pulled, instance, job)
    assert result.success
    assert steps(result, instance)[:2] == ["synced", "state_db"]
    assert pulled.status.revision == 1


def test_a_program_of_ones_own_pulls(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """An argument list, no shell."""
    copy = '[cp, -r, ./server/_mmmeta, "{path}"]'
    pulled.configure(PROJECT.replace("path: ./client", f"path: ./client\n    sync: {{command: {copy}}}"))
    result = execute(pulled, instance)
    assert result.success
    assert len(pulled.downloads) == 3
    assert spec(pulled, "synced").kinds == {"shell"}
    assert metadata(result, "synced")[keys.META_REVISION] == 1


def test_the_documents_of_a_selection_are_there_before_the_jobs(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """`sync: {documents: …}`, only by runs that pull, and only what is missing."""
    pull_from(pulled, pulled.server, ", documents: {document_type: contract}")
    pulled.configure(pulled.project.read_text().replace("files_root: ./server", "files_root: ./documents"))
    pulled.write("letter0", "letter")
    generate(pulled)
    (pulled.server / "contract2.txt").unlink()
    documents = pulled.root / "documents"
    said = metadata(execute(pulled, instance, "archive_update"), "state_db")
    assert sorted(path.name for path in documents.iterdir()) == ["contract0.txt", "contract1.txt"]
    assert (said[keys.META_DOCUMENTS], said[keys.META_DOCUMENTS_MISSING]) == (2, 1)
    (documents / "contract0.txt").unlink()
    assert execute(pulled, instance, "archive_update", asset_selection=[STATE_DB]).success
    assert not (documents / "contract0.txt").exists()
    assert metadata(execute(pulled, instance, "archive_update"), "state_db")[keys.META_DOCUMENTS] == 1
    assert execute(pulled, instance, "archive_download_contracts").success
    assert pulled.downloads == ["contract0.txt", "contract1.txt"]


def test_a_mistyped_key_of_the_documents_is_told(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """None is brought, and the log says why."""
    pull_from(pulled, pulled.server, ", documents: {document_typ: contract}")
    pulled.configure(pulled.project.read_text().replace("files_root: ./server", "files_root: ./documents"))
    result = execute(pulled, instance, "archive_update")
    assert metadata(result, "state_db")[keys.META_DOCUMENTS] == 0
    (told,) = [log.user_message for log in instance.all_logs(result.run_id) if "document_typ'" in log.user_message]
    assert "documents below sync in the project file: no file has the key 'document_typ' yet" in told
    assert "document_type" in told


def test_documents_without_a_place_are_a_line(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """As `mmmeta sync pull` says it."""
    pull_from(pulled, pulled.server, ", documents: {}")
    pulled.configure(pulled.project.read_text().replace("files_root: ./server", ""))
    result = execute(pulled, instance, "archive_update")
    assert not result.success
    failed = failure_of(result, "archive__state_db")
    assert "nothing says where documents belong" in str(failed)


# A pull that fails


def test_a_pull_that_fails_says_why_in_a_line_and_the_run_has_failed(
    pulled: Archive, instance: dg.DagsterInstance
) -> None:
    """What is behind it is not run; the copy is as it was."""
    execute(pulled, instance)
    generate(pulled, "contract3")
    aside = break_remote(pulled)
    before = pulled.status
    result = execute(pulled, instance)
    assert not result.success
    failed = failure_of(result, "archive__synced")
    words = failed.error.message if failed.user_failure_data is None else failed.user_failure_data.description
    assert aside.name in words
    assert "\n" not in words.strip()
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert aside.name in run.tags[keys.TAG_PULL_FAILED]
    assert not result.asset_materializations_for_node("archive__state_db")
    assert pulled.status == before
    mend_remote(pulled, aside)
    assert execute(pulled, instance).success
    assert len(pulled.downloads) == 4


def test_work_that_is_due_can_be_done_without_the_pull(pulled: Archive, instance: dg.DagsterInstance) -> None:
    """What the sensor asks for then: the update and the jobs, with what is here."""
    pulled.write("letter0", "letter")
    generate(pulled)
    pulled.fail("letter0.txt")
    execute(pulled, instance)
    pulled.fail()
    break_remote(pulled)
    look = keys.asset_key("archive", "look")
    with pulled.open() as m:
        m.job("look").retry()
    assert execute(pulled, instance, asset_selection=[STATE_DB, look]).success
    assert pulled.status.jobs["look"].done == 1


@pytest.fixture
def web() -> Iterator[Web]:
    pytest.importorskip("urllib3", reason="mmmeta[http] is not installed")
    with Web().running() as server:
        yield server


def test_secrets_of_the_remote_are_in_no_message(pulled: Archive, instance: dg.DagsterInstance, web: Web) -> None:
    """Failure, tags, events."""
    host = web.url.removeprefix("http://")
    pull_from(pulled, f"http://me:{HIDDEN}@{host}/nowhere?sig={HIDDEN}")
    result = execute(pulled, instance)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert "404" in run.tags[keys.TAG_PULL_FAILED] or "no metadir" in run.tags[keys.TAG_PULL_FAILED]
    assert HIDDEN not in repr(run.tags)
    assert HIDDEN not in "\n".join(str(record.dagster_event) for record in instance.all_logs(result.run_id))


def test_a_path_that_cannot_be_written_is_a_line_too(
    pulled: Archive, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A file where the folder should be."""
    (tmp_path / "client").write_text("in the way")
    result = execute(pulled, instance)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert not result.success
    assert str(tmp_path / "client") in run.tags[keys.TAG_PULL_FAILED]
