"""The Dagster jobs of a metadir, and which of its jobs the import runs.

Each is one run in one process: the update first, then what it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, TypeVar

import dagster as dg

from mmmeta.errors import JobError
from mmmeta.project import MetadirConfig
from mmmeta.project.dagster.run_tags import run_tag_text
from mmmeta_dagster import keys
from mmmeta_dagster.syncing import pulls, updated
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of

DagsterJob = Any
"""What ``define_asset_job`` gives; its class has no public name."""

Assets = Iterable[dg.AssetsDefinition | dg.AssetSpec]


def imported(
    metadir: MetadirConfig, *, translator: DagsterMmmetaTranslator = DEFAULT, assets: Assets = ()
) -> MetadirConfig:
    """The metadir with the jobs that its import runs and its sensor watches: those without an automation condition.

    A condition stands in place of sensor and import: "at three in the morning" would mean nothing if the next publication
    ran the job as well. ``assets`` tell of conditions that came from ``@mmmeta_asset`` or a translator.
    """
    conditioned = {spec.key for spec in specs(assets) if spec.automation_condition is not None}
    jobs = {
        name: job
        for name, job in metadir.jobs.items()
        if job.automation is None and key_of(translator, MetadirAsset(metadir, name, job)) not in conditioned
    }
    return metadir.model_copy(update={"jobs": jobs})


def without_pull(
    metadir: MetadirConfig, translator: DagsterMmmetaTranslator, jobs: Iterable[str] | None = None
) -> list[dg.AssetKey]:
    """The assets of a run that works with what is here: the update, and these jobs, all of the metadir unless given."""
    names = metadir.jobs if jobs is None else jobs
    return [key_of(translator, MetadirAsset(metadir, name, metadir.jobs.get(name))) for name in (keys.STATE_DB, *names)]


def specs(assets: Assets) -> list[dg.AssetSpec]:
    """The specs of assets."""
    return [spec for asset in assets for spec in ([asset] if isinstance(asset, dg.AssetSpec) else asset.specs)]


def build_import_job(
    *,
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator = DEFAULT,
    assets: Assets = (),
    checks: Iterable[dg.AssetChecksDefinition] = (),
) -> DagsterJob:
    """``<metadir>_import``: update, then all jobs but those that an automation condition runs. What the sensor asks for.

    It is for all that is due, and therefore never partitioned. Where jobs of the metadir have partitions it needs
    ``assets``, the metadir's own with those that ``@mmmeta_asset`` made, and their ``checks``.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> build_import_job(metadir=MetadirConfig(name="archive", path="/data/archive")).name
        'archive_import'
    """
    given = list(assets)
    ours = imported(metadir, translator=translator, assets=given)
    all_jobs = "all jobs" if len(ours.jobs) == len(metadir.jobs) else "all jobs without an automation condition"
    return _whole(
        metadir,
        translator,
        keys.import_job(metadir.name),
        [*updated(metadir), *ours.jobs],
        f"{_updates(metadir)}, then runs {all_jobs}. Each file once; a run without news ends in seconds.",
        given,
        list(checks),
    )


def build_work_job(
    *,
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator = DEFAULT,
    assets: Assets = (),
    checks: Iterable[dg.AssetChecksDefinition] = (),
) -> DagsterJob:
    """``<metadir>_work``: helps with what is due of the jobs that have shards, and materializes nothing; what the sensor asks
    for beside the import, several at the same time.

    ``assets`` and ``checks`` are as for ``build_import_job``.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> archive = MetadirConfig(
        ...     name="archive", path="/data/archive", shards=4, jobs={"look": {"call": {"function": "ours:look"}}}
        ... )
        >>> build_work_job(metadir=archive).name
        'archive_work'

    Raises:
        JobError: no job of the metadir has shards.
    """
    given = list(assets)
    ours = imported(metadir, translator=translator, assets=given)
    shared = [name for name, job in ours.jobs.items() if ours.shards_of(job)]
    if not shared:
        raise JobError(f"metadir {metadir.name!r} has no job with shards that could be shared: give it shards: 4")
    return _whole(
        metadir,
        translator,
        keys.work_job(metadir.name),
        shared,
        "Helps with what is due until nothing is: no update, no evaluation, no materialization. The import tells what all did "
        "together.",
        given,
        list(checks),
        with_checks=False,
        tags={keys.TAG_SHARD: metadir.name},
    )


def _whole(
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator,
    name: str,
    names: list[str],
    description: str,
    assets: list[dg.AssetsDefinition | dg.AssetSpec],
    checks: list[dg.AssetChecksDefinition],
    *,
    with_checks: bool = True,
    tags: Mapping[str, str] | None = None,
) -> DagsterJob:
    """A Dagster job that is never for a partition, whatever partitions its assets have."""
    job = _job(metadir, translator, name, names, description, tags, with_checks=with_checks)
    wanted = [MetadirAsset(metadir, one, metadir.jobs.get(one)) for one in names]
    if all(translator.get_asset_spec(asset).partitions_def is None for asset in wanted):
        return job
    if not assets:
        raise JobError(f"{name}: an asset of it has partitions, so it needs all assets of the metadir: assets=[...]")
    return _without_partitions(job, assets, checks)


def _without_partitions(
    job: DagsterJob, assets: list[dg.AssetsDefinition | dg.AssetSpec], checks: list[dg.AssetChecksDefinition]
) -> DagsterJob:
    """The same Dagster job over the same assets as if they had no partitions.

    Dagster refuses a job over assets with different partitions, and in the UI one over partitioned assets can only be
    started for a partition. The steps are the same, so they say themselves which partitions they touched.
    """
    plain = [
        asset.replace_attributes(partitions_def=None)
        if isinstance(asset, dg.AssetSpec)
        else _unbound(asset.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=None)), _Asset)
        for asset in assets
    ]
    checks = [_unbound(check, _Checks) for check in checks]
    taken = [asset.required_resource_keys for asset in (*plain, *checks) if not isinstance(asset, dg.AssetSpec)]
    # Dagster wants these resources now, but which they are may only be known where everything is put together. So the
    # job is made of the same graph once more, without any: the definitions that it joins give it theirs.
    stand_ins = dict.fromkeys(set().union(*taken) - {"io_manager"}, dg.ResourceDefinition.none_resource())
    definitions = dg.Definitions(assets=plain, asset_checks=checks, jobs=[job], resources=stand_ins)
    resolved = definitions.resolve_job_def(job.name)
    return resolved.graph.to_job(
        name=resolved.name,
        description=resolved.description,
        tags=resolved.tags,
        executor_def=dg.in_process_executor,
        asset_layer=resolved.asset_layer,
    )


class _Asset(dg.AssetsDefinition):
    """An asset that keeps no resources for itself.

    Whoever runs a part of a job makes a job of this part's assets, and what they have kept would stand in place of the
    resources that the job was given later.
    """

    def with_resources(self, resource_defs: Mapping[str, dg.ResourceDefinition]) -> dg.AssetsDefinition:
        return self


class _Checks(dg.AssetChecksDefinition):
    """Checks that do the same."""

    def with_resources(self, resource_defs: Mapping[str, dg.ResourceDefinition]) -> dg.AssetChecksDefinition:
        return self


Kept = TypeVar("Kept", bound=dg.AssetsDefinition)


def _unbound(asset: dg.AssetsDefinition, kind: type[Kept]) -> Kept:
    """A copy that keeps no resources for itself."""
    copied = copy(asset)
    copied.__class__ = kind
    assert isinstance(copied, kind)
    return copied


def build_jobs(
    *,
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator = DEFAULT,
    assets: Assets = (),
    checks: Iterable[dg.AssetChecksDefinition] = (),
) -> list[DagsterJob]:
    """All Dagster jobs of a metadir: import, update, one for each job, one for all asset checks, generate where metadata is
    written here, and the one of the runs that share the work where there are shards.

    ``assets`` and ``checks`` are as for ``build_import_job``.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> archive = MetadirConfig(name="archive", path="/data/archive", generate=True)
        >>> [job.name for job in build_jobs(metadir=archive)]
        ['archive_import', 'archive_update', 'archive_checks', 'archive_generate']
    """
    given, told = list(assets), list(checks)
    jobs = [
        build_import_job(metadir=metadir, translator=translator, assets=given, checks=told),
        _whole(
            metadir,
            translator,
            keys.update_job(metadir.name),
            updated(metadir),
            f"{_updates(metadir)}, nothing else.",
            given,
            told,
        ),
    ]
    jobs += [
        _job(
            metadir,
            translator,
            keys.single_job(metadir.name, name),
            [*updated(metadir), name],
            f"{_updates(metadir)}, then runs {name}.",
            job.run_tags,
        )
        for name, job in metadir.jobs.items()
    ]
    if imported(metadir, translator=translator, assets=given).is_sharded:
        jobs.append(build_work_job(metadir=metadir, translator=translator, assets=given, checks=told))
    if metadir.checks.enabled:
        jobs.append(_checks_job(metadir, translator))
    if metadir.generate:
        jobs.append(
            _whole(
                metadir,
                translator,
                keys.generate_job(metadir.name),
                [keys.METADATA_DB],
                "Reads the metadata files and writes the metadata db: adds and updates. Without changes it only looks.",
                given,
                told,
            )
        )
    return jobs


def _job(
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator,
    name: str,
    assets: list[str],
    description: str,
    run_tags: Mapping[str, Any] | None = None,
    *,
    with_checks: bool = True,
) -> DagsterJob:
    selection = _selection(metadir, translator, assets)
    # The assets' checks come along, each asset's after it, unless they have a clock of their own.
    if not with_checks or metadir.schedules.checks is not None:
        selection = selection.without_checks()
    return _asset_job(metadir, name, selection, description, run_tags)


def _checks_job(metadir: MetadirConfig, translator: DagsterMmmetaTranslator) -> DagsterJob:
    assets = _selection(metadir, translator, [keys.STATE_DB, *metadir.jobs])
    return _asset_job(
        metadir,
        keys.checks_job(metadir.name),
        assets - assets.without_checks(),
        "Runs all asset checks and nothing else: also where nothing is imported any more.",
    )


def _updates(metadir: MetadirConfig) -> str:
    """What a run begins with which updates first, in words."""
    return ("Pulls what the remote has published, updates" if pulls(metadir) else "Updates") + " the state db"


def _selection(metadir: MetadirConfig, translator: DagsterMmmetaTranslator, names: list[str]) -> dg.AssetSelection:
    wanted = [MetadirAsset(metadir, name, metadir.jobs.get(name)) for name in names]
    return dg.AssetSelection.assets(*(key_of(translator, asset) for asset in wanted))


def run_tags_of(metadir: MetadirConfig, own: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What the project file gives runs as tags; those of a job stand in place of the metadir's."""
    return {key: run_tag_text(value) for key, value in {**metadir.run_tags, **(own or {})}.items()}


def _asset_job(
    metadir: MetadirConfig,
    name: str,
    selection: dg.AssetSelection,
    description: str,
    run_tags: Mapping[str, Any] | None = None,
) -> DagsterJob:
    return dg.define_asset_job(
        name,
        selection=selection,
        description=description,
        tags={**run_tags_of(metadir, run_tags), keys.TAG_METADIR: metadir.name, keys.TAG_PATH: str(metadir.path)},
        # A process for each step costs 3 to 4 seconds and wins nothing: the work inside a step is batched.
        executor_def=dg.in_process_executor,
    )
