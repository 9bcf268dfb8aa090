# pyright: strict, reportUnknownMemberType=false
"""Assets, definitions and resources in Python: every factory of ``mmmeta_dagster``."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from typing_extensions import assert_type

from mmmeta import File, Metadir, MetadirConfig, load_project
from mmmeta_dagster import (
    DagsterMmmetaTranslator,
    JobOptions,
    MetadirAsset,
    MetadirComponent,
    MetadirResource,
    UnboundAsset,
    __version__,
    build_checks,
    build_definitions,
    build_import_job,
    build_jobs,
    build_metadir_assets,
    build_remote_sensor,
    build_schedules,
    build_work_job,
    mmmeta_asset,
)
from mmmeta_dagster.keys import asset_key
from mmmeta_dagster.options import Options

archive = load_project("mmmeta.yaml").metadirs["archive"]


class OurNames(DagsterMmmetaTranslator):
    def get_asset_key(self, asset: MetadirAsset) -> dg.AssetKey:
        return super().get_asset_key(asset).with_prefix("lake")

    def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        spec = super().get_asset_spec(asset)
        return spec.replace_attributes(owners=["team:documents"]) if asset.job is not None else spec


class Ours(JobOptions):
    language: str = "de"


@mmmeta_asset(
    metadir=archive,
    where={"document_type": "letter"},
    attempts=3,
    backoff="5m",
    owners=["team:documents"],
    tags={"size": "small"},
    partitions={"by": "retrieved_at", "every": "day", "start": "2024-01-01"},
    automation_condition=dg.AutomationCondition.eager(),
    retry_policy=dg.RetryPolicy(max_retries=1),
    translator=OurNames(),
)
def read_letters(context: dg.AssetExecutionContext, file: File) -> None:
    context.log.debug(file["title"])


@mmmeta_asset(where={"document_type": "letter"}, kinds=["python"])
def count(context: dg.AssetExecutionContext, files: list[File], config: Ours) -> int:
    context.add_output_metadata({"language": config.language})
    return len(files)


@mmmeta_asset(kinds={"python", "pdf"})
def pages(file: File) -> None:
    file["pages"] = 1


@mmmeta_asset
def everything(file: File) -> None:
    file["seen"] = True
    file.save()


assert_type(read_letters, dg.AssetsDefinition)
assert_type(count, UnboundAsset)
assert_type(everything, UnboundAsset)
assert_type(everything.bind(archive), dg.AssetsDefinition)


@dg.asset(deps=[read_letters, asset_key("archive", "state_db")])
def letters(archive_metadir: MetadirResource) -> dg.MaterializeResult[Any]:
    with archive_metadir.open() as m:
        assert_type(m, Metadir)
        return dg.MaterializeResult(metadata={"letters": m.files.count(document_type="letter")})


class Announced(MetadirComponent):
    translator = OurNames()

    def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        return super().get_asset_spec(asset).replace_attributes(group_name="letters")

    def execute(
        self, context: dg.AssetExecutionContext, asset: MetadirAsset, options: Options
    ) -> Iterator[dg.MaterializeResult[Any]]:
        context.log.info(f"{asset.name} begins")
        yield from super().execute(context, asset, options)


component = Announced(MetadirConfig(name="letters", path="/data/letters"), [count])
assert_type(component.metadir, MetadirConfig)

jobs = build_jobs(metadir=archive)
import_job = build_import_job(metadir=archive)
checks = build_checks(metadir=archive)
assert_type(checks, list[dg.AssetChecksDefinition])
assets = build_metadir_assets(metadir=archive, translator=OurNames())
assert_type(assets, list[dg.AssetsDefinition | dg.AssetSpec])
work_job = build_work_job(metadir=archive)
sensor = build_remote_sensor(metadir=archive, job=import_job, work=work_job)
assert_type(sensor, dg.SensorDefinition)
schedules = build_schedules(metadir=archive, jobs={import_job.name: import_job})
assert_type(schedules, list[dg.ScheduleDefinition])

pieces = dg.Definitions(
    assets=[*assets, letters],
    asset_checks=checks,
    jobs=[*jobs, import_job],
    sensors=[sensor],
    schedules=schedules,
    resources={"archive_metadir": MetadirResource(path="/data/archive", state=dg.EnvVar("STATE"))},
)
defs = dg.Definitions.merge(
    build_definitions(metadirs={"archive": archive}, assets=[read_letters], translator=OurNames()), pieces
)
assert_type(defs, dg.Definitions)
print(__version__)
