"""``@mmmeta_asset`` and the translator, in real runs."""

from __future__ import annotations

import threading
from typing import Any

import dagster as dg
import pytest
from executing import metadata as of
from small_archive import Archive

from mmmeta import File
from mmmeta.errors import JobError
from mmmeta.project import job_config
from mmmeta_dagster import (
    DagsterMmmetaTranslator,
    JobOptions,
    MetadirAsset,
    build_definitions,
    build_metadir_assets,
    keys,
    mmmeta_asset,
)


class Shelf(dg.ConfigurableResource[Any]):
    """A resource of a person's own."""

    name: str

    def put(self, text: str) -> str:
        return f"{self.name}: {text}"


class Shouting(JobOptions):
    """A config of a person's own, which keeps limit and retry."""

    loud: bool = False


def run(
    archive: Archive, instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, config: Any = None, **resources: Any
) -> dg.ExecuteInProcessResult:
    """The import of an archive to which these assets belong."""
    metadirs = {"archive": archive.config}
    definitions = dg.Definitions.merge(
        build_definitions(metadirs=metadirs, assets=assets), dg.Definitions(resources=resources)
    )
    job = definitions.resolve_job_def("archive_import")
    return job.execute_in_process(instance=instance, raise_on_error=False, run_config=config)


def test_a_function_of_one_file(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Each file once, with context, a resource and a config; one that fails comes again and stops no other."""
    seen: list[str] = []

    @mmmeta_asset(metadir=archive.config, where={"document_type": "contract"}, backoff="1h")
    def extract(context: dg.AssetExecutionContext, file: File, shelf: Shelf, config: Shouting) -> None:
        """Text of contracts."""
        text = shelf.put(f"{file['_file_name']} in {context.run.run_id}")
        seen.append(text.upper() if config.loud else text)
        if file["_file_name"] == "contract1.txt" and len(seen) < 4:
            raise ValueError("not yet")

    assert extract.specs_by_key[extract.key].description == "Text of contracts."
    first = run(archive, instance, extract, shelf=Shelf(name="a"))
    assert (of(first, "extract")["done"], of(first, "extract")["failed"]) == (2, 1)
    assert sorted(seen)[0] == f"a: contract0.txt in {first.run_id}"
    loud = {"ops": {"archive__extract": {"config": {"loud": True, "retry_failed": True}}}}
    second = run(archive, instance, extract, config=loud, shelf=Shelf(name="b"))
    assert (of(second, "extract")["done"], seen[-1][:18]) == (1, "B: CONTRACT1.TXT I")
    assert of(run(archive, instance, extract, shelf=Shelf(name="c")), "extract")["done"] == 0


def test_a_function_of_a_batch(archive: Archive, instance: dg.DagsterInstance) -> None:
    """All that is claimed at once comes as a list; rules are those of the project file."""
    batches: list[int] = []

    @mmmeta_asset(metadir=archive.config, name="gather", batch_size=2, order_by="_file_name")
    def some_function(files: list[File]) -> None:
        batches.append(len(files))

    assert some_function.key == dg.AssetKey(["archive", "gather"])
    assert of(run(archive, instance, some_function), "gather")["done"] == 5
    assert batches == [2, 2, 1]


def test_workers_are_threads_of_one_step(archive: Archive, instance: dg.DagsterInstance) -> None:
    together = threading.Barrier(2, timeout=30)

    @mmmeta_asset(metadir=archive.config, where={"document_type": "letter"}, workers=2)
    def meet(file: File) -> None:
        together.wait()

    assert of(run(archive, instance, meet), "meet")["done"] == 2


def test_what_dagster_knows_of_it(archive: Archive) -> None:
    """Key, group, kinds, tags, owners, dependencies, pool, retry policy and condition are passed on."""
    condition = dg.AutomationCondition.eager()

    @mmmeta_asset(
        metadir=archive.config,
        key="texts/of_contracts",
        group="texts",
        kinds=["python", "duckdb"],
        tags={"team": "a"},
        owners=["team:docs"],
        deps=["elsewhere"],
        metadata={"note": "mine"},
        automation_condition=condition,
        retry_policy=dg.RetryPolicy(max_retries=2),
        pool="mine",
        code_version="7",
    )
    def extract(file: File) -> None:
        pass

    (spec,) = extract.specs
    assert spec.key == dg.AssetKey(["texts", "of_contracts"])
    assert (spec.group_name, spec.kinds, spec.owners) == ("texts", {"python", "duckdb"}, ["team:docs"])
    assert (spec.tags["team"], spec.metadata["note"], spec.code_version) == ("a", "mine", "7")
    assert {dep.asset_key for dep in spec.deps} == {
        dg.AssetKey(["archive", "state_db"]),
        dg.AssetKey(["elsewhere"]),
    }
    assert (extract.op.pool, extract.op.retry_policy) == ("mine", dg.RetryPolicy(max_retries=2))
    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[extract])
    assert definitions.resolve_job_def("archive_extract")
    automation = definitions.resolve_sensor_def(keys.automation_sensor("archive"))
    assert automation.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_column_that_nobody_has_set_yet_is_absent_and_no_error(
    archive: Archive, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first day of a column of one's own; a mistyped key looks the same, so the log says it, with the near misses."""
    seen: list[str] = []

    @mmmeta_asset(metadir=archive.config, where={"checked": True})
    def report(file: File) -> None:
        seen.append(file["_file_name"])

    @mmmeta_asset(metadir=archive.config, where={"checked": False, "document_typ": {"!=": "x"}})
    def mistyped(file: File) -> None: ...

    assert run(archive, instance, report, mistyped).success
    assert "job 'report': no file has the key 'checked' yet." in (said := capfd.readouterr().err)
    assert "no file has the key 'document_typ' yet. Did you mean 'document_type'?" in said
    with archive.open() as m:
        for file in m.files.find(document_type="letter"):
            file["checked"] = True
            file.save()
    assert run(archive, instance, report, mistyped).success
    assert sorted(seen) == ["letter0.txt", "letter1.txt"]


def test_what_is_not_possible_is_said_when_it_is_written(archive: Archive) -> None:
    with pytest.raises(JobError, match="does not take 'atempts'"):
        mmmeta_asset(metadir=archive.config, atempts=3)(lambda file: None)
    with pytest.raises(JobError, match=r"Job 'f': attempts"):
        mmmeta_asset(metadir=archive.config, name="f", attempts=0)(lambda file: None)
    with pytest.raises(JobError, match="has a job of this name in its project file"):
        mmmeta_asset(metadir=archive.config, name="look")(lambda file: None)
    with pytest.raises(JobError, match="'' cannot name a job"):
        mmmeta_asset(metadir=archive.config, name="")(lambda file: None)
    with pytest.raises(JobError, match="'name' is not a rule"):
        job_config("f", **{"attempts": 3, "name": "g"})
    with pytest.raises(JobError, match="a parameter called file"):
        mmmeta_asset(metadir=archive.config, name="f")(lambda document: None)

    async def later(file: File) -> None:
        pass

    with pytest.raises(JobError, match="must be an ordinary function"):
        mmmeta_asset(metadir=archive.config)(later)

    @dg.asset
    def other() -> None:
        pass

    with pytest.raises(JobError, match="other was not made by @mmmeta_asset for one of archive"):
        build_definitions(metadirs={"archive": archive.config}, assets=[other])


def test_a_translator_moves_everything(archive: Archive, instance: dg.DagsterInstance) -> None:
    """Keys, and what hangs on them: dependencies, Dagster jobs, what the sensor reports."""

    class Moved(DagsterMmmetaTranslator):
        def get_asset_key(self, asset: MetadirAsset) -> dg.AssetKey:
            return super().get_asset_key(asset).with_prefix("lake")

        def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
            return super().get_asset_spec(asset).replace_attributes(group_name="documents")

    for asset in build_metadir_assets(metadir=archive.config, translator=Moved()):
        for spec in [asset] if isinstance(asset, dg.AssetSpec) else asset.specs:
            assert (spec.key.path[:2], spec.group_name) == (["lake", "archive"], "documents")
            assert all(dep.asset_key.path[:2] == ["lake", "archive"] for dep in spec.deps)
    definitions = build_definitions(metadirs={"archive": archive.config}, translator=Moved())
    assert definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
    assert instance.get_latest_materialization_event(dg.AssetKey(["lake", "archive", "look"])) is not None


def test_a_key_group_and_kinds_of_one_s_own_in_yaml(archive: Archive) -> None:
    archive.configure(
        archive.project.read_text().replace(
            "attempts: 3\n        backoff",
            "key: texts/looked\n        group: texts\n        kinds: [pdf]\n        backoff",
        )
    )
    specs = {spec.key.to_user_string(): spec for spec in archive.definitions.resolve_all_asset_specs()}
    assert (specs["texts/looked"].group_name, specs["texts/looked"].kinds) == ("texts", {"pdf"})


def test_keys_that_get_asset_spec_replaces(archive: Archive, instance: dg.DagsterInstance) -> None:
    """As the documentation of other integrations does it; jobs, checks, dependencies and the sensor follow."""

    class Moved(DagsterMmmetaTranslator):
        def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
            spec = super().get_asset_spec(asset)
            return spec.replace_attributes(key=spec.key.with_prefix("lake"))

    @mmmeta_asset(metadir=archive.config, translator=Moved())
    def read(file: File) -> None:
        pass

    definitions = build_definitions(metadirs={"archive": archive.config}, assets=[read], translator=Moved())
    specs = list(definitions.resolve_all_asset_specs())
    assert {spec.key.path[0] for spec in specs} == {"lake"}
    assert {dep.asset_key.path[0] for spec in specs for dep in spec.deps} == {"lake"}
    assert len(specs) == 6
    result = definitions.resolve_job_def("archive_import").execute_in_process(instance=instance)
    assert result.success
    assert {check.asset_key.path[0] for check in result.get_asset_check_evaluations()} == {"lake"}
    assert instance.get_latest_materialization_event(dg.AssetKey(["lake", "archive", "metadata_db"])) is not None


def test_two_translators_that_do_not_agree(archive: Archive) -> None:
    """An asset that was made without the translator would stand beside the others, under a key that nothing knows."""

    class Moved(DagsterMmmetaTranslator):
        def get_asset_key(self, asset: MetadirAsset) -> dg.AssetKey:
            return super().get_asset_key(asset).with_prefix("lake")

    @mmmeta_asset(metadir=archive.config)
    def read(file: File) -> None:
        pass

    with pytest.raises(JobError, match=r"'read': its asset is archive/read and would be lake/archive/read by .* Moved"):
        build_definitions(metadirs={"archive": archive.config}, assets=[read], translator=Moved())
