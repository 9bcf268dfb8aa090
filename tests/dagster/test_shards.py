"""``shards``: runs that help with the work and materialize nothing, an import that tells of all, the sensor that asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from executing import execute, metadata, observed
from small_archive import Archive
from watch import Watch

from mmmeta import File, Metadir
from mmmeta.errors import JobError, ProjectError
from mmmeta.project import MetadirConfig, load_project
from mmmeta.project.models import check_names
from mmmeta_dagster import build_definitions, build_remote_sensor, build_work_job, keys, mmmeta_asset

SHARED = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    sensor: {interval: 5, attempts: 3}
    shards: 3
    run_tags: {team: documents}
    jobs:
      look:
        where: {document_type: letter}
        call: {function: "dagster_test_actions:look"}
        batch_size: 1
        attempts: 3
        backoff: 1h
        run_tags: {dagster/priority: 5}
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents}
        shards: 0
"""


@pytest.fixture
def shared(archive: Archive) -> Archive:
    """Ten letters, whose job has three shards."""
    archive.configure(SHARED)
    for number in range(10):
        archive.write(f"letter{number}", "letter")
    archive.publish()
    return archive


def help_out(archive: Archive, files: int | None = None) -> None:
    """Another worker of the ledger does so many files."""
    from dagster_test_actions import look  # type: ignore[import-not-found]

    with Metadir(archive.client, jobs=archive.config.jobs) as m:
        m.job("look").work(look, run_id="helper", limit=files)


def test_a_run_that_helps_does_what_is_due_and_materializes_nothing(
    shared: Archive, instance: dg.DagsterInstance
) -> None:
    """Its part is an observation; a second one finds nothing and says nothing."""
    execute(shared, instance, "archive_update")
    result = execute(shared, instance, "archive_work")
    assert result.success
    assert result.asset_materializations_for_node("archive__look") == []
    assert not result.get_asset_check_evaluations()
    assert metadata(result, "look")["done by shard"] == 10
    assert metadata(result, "look")["summary"] == "its share: 10 files done"
    assert result.dagster_run.tags[keys.TAG_SHARD] == "archive"
    assert len(shared.looked) == 10
    again = execute(shared, instance, "archive_work")
    assert again.success
    assert again.asset_observations_for_node("archive__look") == []
    assert len(shared.looked) == 10
    assert shared.status.jobs["load_all"].done == 0


def test_a_run_that_helps_evaluates_nothing(shared: Archive, instance: dg.DagsterInstance) -> None:
    """Before the first update it fails with one line, and has made no state."""
    result = execute(shared, instance, "archive_work")
    assert not result.success
    assert not (shared.client / "_mmmeta" / "local" / "state.db").exists()


def test_the_import_tells_of_what_all_did_together(
    shared: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One materialization with the sum, failures of others among it; whatever they were, and dead or alive."""
    shared.fail("letter3.txt")
    import dagster_test_actions as actions

    look, first = actions.look, True

    def with_help(file: File) -> None:
        nonlocal first
        if first:
            first = False
            help_out(shared, 6)
        look(file)

    monkeypatch.setattr(actions, "look", with_help)
    result = execute(shared, instance)
    assert result.success
    told = metadata(result, "look")
    assert (told["done"], told["failed"], told["pending"]) == (9, 1, 0)
    assert told["done in all"] == 9
    assert told["summary"].startswith("9 files done, 1 failed; tried again from")
    assert "letter3.txt" in told["failures"]
    assert len(shared.looked) == 10
    assert told["see more"].endswith("jobs failed look")
    # What was done before its update is no part of the next one's.
    shared.fail()
    shared.write("letter10", "letter")
    shared.publish()
    assert metadata(execute(shared, instance), "look")["done"] == 1


def test_the_import_waits_for_what_others_have_in_their_hands(
    shared: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a run lives that shares the work; what is given back it does itself."""
    from mmmeta_dagster.assets import shares

    execute(shared, instance, "archive_update")
    other = Metadir(shared.client, jobs=shared.config.jobs)
    job = other.job("look")
    held = job.claim(2)
    looks = 0

    def live(*_: Any) -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            job.release(*held)
        return True

    monkeypatch.setattr(shares, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(shares, "TAKE_EVERY", 0.0)
    monkeypatch.setattr(shares, "_helpers_live", live)
    result = execute(shared, instance)
    other.close()
    assert looks >= 2
    assert metadata(result, "look")["done"] == 10
    assert len(shared.looked) == 10


def test_a_limit_of_the_import_holds_where_work_is_shared(shared: Archive, instance: dg.DagsterInstance) -> None:
    """It takes no more while it waits."""
    options = {"ops": {"archive__look": {"config": {"limit": 4}}}}
    assert metadata(execute(shared, instance, run_config=options), "look")["done"] == 4
    assert len(shared.looked) == 4


def test_where_nothing_works_a_run_that_helps_fails_with_one_line(
    shared: Archive, instance: dg.DagsterInstance
) -> None:
    """A person has to see it, as of any run."""
    shared.fail(*(f"letter{number}.txt" for number in range(10)))
    execute(shared, instance, "archive_update")
    result = execute(shared, instance, "archive_work")
    assert not result.success
    assert observed(instance, "look")["done by shard"] == 0


class SharedWatch(Watch):
    """The sensor of the whole code location, which asks for two Dagster jobs."""

    def tick(self) -> dg.SensorResult:
        sensor = self.archive.definitions.get_repository_def().get_sensor_def("archive_remote_updated")
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result


def at_work(instance: dg.DagsterInstance, archive: Archive, job: str, **tags: str) -> str:
    """A run of which Dagster says that it has begun, a moment ago; its id."""
    definition = archive.definitions.resolve_job_def(job)
    run = instance.create_run_for_job(definition, status=dg.DagsterRunStatus.STARTED, tags={**definition.tags, **tags})
    return run.run_id


def test_the_sensor_asks_for_the_runs_that_share_the_work(shared: Archive, instance: dg.DagsterInstance) -> None:
    """Beside an import that is at work, with the tags that limits go by; never more than there are shards."""
    watch = SharedWatch(shared, instance)
    first = watch.asks()
    assert first.job_name == "archive_import"
    execute(shared, instance, "archive_update")
    at_work(instance, shared, "archive_import")
    requests = watch.tick().run_requests or []
    assert [request.tags[keys.TAG_SHARD] for request in requests] == ["archive/1", "archive/2", "archive/3"]
    assert {request.job_name for request in requests} == {"archive_work"}
    assert len({request.run_key for request in requests}) == 3
    request = requests[0]
    assert request.asset_selection == [dg.AssetKey(["archive", "look"])]
    assert (request.tags["team"], request.tags["dagster/priority"]) == ("documents", "5")
    assert request.tags[keys.TAG_JOBS] == "look"
    assert request.tags[keys.TAG_REASON] == "look: 10 files are due; 3 of 3 runs share the work."
    for one in requests[:2]:
        at_work(instance, shared, "archive_work", **one.tags)
    assert [one.tags[keys.TAG_SHARD] for one in watch.tick().run_requests or ()] == ["archive/3"]
    last = at_work(instance, shared, "archive_work", **requests[2].tags)
    assert watch.skips().endswith(" files are due. 3 of 3 runs share the work.")
    run = instance.get_run_by_id(last)
    assert run is not None
    instance.report_run_failed(run)
    assert [one.tags[keys.TAG_SHARD] for one in watch.tick().run_requests or ()] == ["archive/3"]


def quiet(archive: Archive) -> None:
    """Nobody has given signs of life lately."""
    for file in (archive.client / "_mmmeta" / "local" / "runs").iterdir():
        file.unlink()


def test_what_a_helper_did_when_the_import_had_told_is_told_once(shared: Archive, instance: dg.DagsterInstance) -> None:
    """By the sensor, when all is quiet; what the import has told of is not told again."""
    watch = SharedWatch(shared, instance)
    shared.fail("letter3.txt")
    watch.run(watch.asks())
    quiet(shared)
    assert not watch.tick().asset_events
    shared.fail()
    with Metadir(shared.client, jobs=shared.config.jobs) as m:
        m.job("look").retry()
    execute(shared, instance, "archive_work")
    quiet(shared)
    (event,) = watch.tick().asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.metadata["summary"].value == (
        "worked on by runs that shared the work, when the import had told of it already: 10 files are done in all"
    )
    assert not watch.tick().asset_events


def test_the_job_of_helpers_has_only_what_is_shared(shared: Archive) -> None:
    """Also where a job has partitions, and one that a condition runs is nobody's to share."""
    text = shared.project.read_text()
    partitioned = text.replace(
        "        batch_size: 1\n", "        batch_size: 1\n        partitions: {by: _file_name}\n"
    )
    conditioned = "      nightly: {call: {function: 'dagster_test_actions:look'}, automation: eager}\n"
    for project in (text, partitioned, text + conditioned):
        shared.configure(project)
        work = shared.definitions.resolve_job_def("archive_work")
        assert [node.name for node in work.nodes] == ["archive__look"]
        assert work.partitions_def is None
        assert work.tags[keys.TAG_METADIR] == "archive"
        shared.definitions.get_repository_def()


def test_steps_that_are_shared_have_a_pool_of_their_own(shared: Archive) -> None:
    """The pool of one slot that docs recommend for a state db of one writer would hold them up."""
    definitions = shared.definitions
    job = definitions.resolve_job_def("archive_import")
    pools = {node.name: node.definition.pool for node in job.nodes if isinstance(node.definition, dg.OpDefinition)}
    assert pools["archive__look"] == "archive_work"
    assert pools["archive__load_all"] == pools["archive__state_db"] == "archive_state_db"


def test_without_shards_nothing_is_different(archive: Archive, instance: dg.DagsterInstance) -> None:
    """No Dagster job of that name, and a job may be called work."""
    names = {job.name for job in archive.definitions.get_repository_def().get_all_jobs()}
    assert "archive_work" not in names
    archive.configure(archive.project.read_text().replace("      look:", "      work:"))
    assert {"archive_work"} <= {job.name for job in archive.definitions.get_repository_def().get_all_jobs()}
    assert execute(archive, instance).success
    assert keys.TAG_SINCE not in execute(archive, instance).dagster_run.tags


def test_jobs_made_in_python_are_shared_as_well(shared: Archive, instance: dg.DagsterInstance) -> None:
    """By the metadir's shards, or their own."""
    done: list[str] = []

    @mmmeta_asset(metadir=shared.config, where={"document_type": "letter"}, batch_size=1)
    def read(file: File) -> None:
        done.append(file["_file_name"])

    @mmmeta_asset(metadir=shared.config, where={"document_type": "letter"}, shards=0)
    def alone(file: File) -> None: ...

    definitions = build_definitions(metadirs={"archive": shared.config}, assets=[read, alone])
    execute(shared, instance, "archive_update")
    with Metadir(shared.client, jobs={"read": _job(shared.config, read)}) as m:
        m.update()
    work = definitions.resolve_job_def("archive_work")
    assert {node.name for node in work.nodes} == {"archive__look", "archive__read"}
    work.execute_in_process(instance=instance, asset_selection=[read.key])
    assert len(done) == 10


def _job(metadir: MetadirConfig, asset: dg.AssetsDefinition) -> Any:
    from mmmeta_dagster.assets.decorator import job_of

    made = job_of(asset)
    assert made is not None
    return made[1]


def test_a_sensor_of_ones_own_needs_the_job_of_helpers(shared: Archive) -> None:
    """Without it, it asks for the import alone; and Dagster takes no name beside it."""
    config = shared.config
    assert build_remote_sensor(metadir=config, job="archive_import").job_name == "archive_import"
    with pytest.raises(JobError, match="and not its name 'archive_import'"):
        build_remote_sensor(metadir=config, job="archive_import", work=build_work_job(metadir=config))
    with pytest.raises(JobError, match="has no job with shards"):
        build_work_job(metadir=config.model_copy(update={"shards": 0}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shards: 3", "shards: -1", "shards"),
        ("shards: 3", "shards: many", "shards"),
        ("shards: 3", "shards: true", "needs a number, not true or false"),
        ("shards: 3", "shards: 5000", "1000"),
        ("shards: 3", "shard: 3", "shards"),
        ("      look:", "      work:", "with shards, archive_work is what the runs do that share the work"),
        ("shards: 0", "shards: 2\n        automation: eager", "run by its condition alone, which knows no shards"),
    ],
)
def test_mistakes_are_told_at_their_line(shared: Archive, old: str, new: str, message: str) -> None:
    """With the file and the key."""
    shared.configure(shared.project.read_text().replace(old, new, 1))
    with pytest.raises(ProjectError, match=message) as caught:
        load_project(shared.project)
    assert "mmmeta.yaml" in str(caught.value)
    assert "line" in str(caught.value) or ":" in str(caught.value)


def test_a_job_made_in_python_cannot_have_the_name_either(shared: Archive) -> None:
    """It would be told by Dagster otherwise, in its words."""

    @mmmeta_asset(metadir=shared.config)
    def work(file: File) -> None: ...

    with pytest.raises(JobError, match="Choose another name for the job"):
        build_definitions(metadirs={"archive": shared.config}, assets=[work])
    check_names({"archive": shared.config})


def test_the_project_file_is_read_from_anywhere(shared: Archive, tmp_path: Path) -> None:
    """What a job has itself comes before what the metadir has."""
    config = load_project(shared.project).metadirs["archive"]
    assert {name: config.shards_of(job) for name, job in config.jobs.items()} == {"look": 3, "load_all": 0}
    assert config.is_sharded
    assert not config.model_copy(update={"shards": 0}).is_sharded
