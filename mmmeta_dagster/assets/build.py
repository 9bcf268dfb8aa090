"""The assets of a metadir: ``metadata_db``, ``synced`` where runs pull, ``state_db`` and one for each job.

No ``from __future__ import annotations`` here: Dagster reads the annotations of the asset functions.
"""

from collections.abc import Callable
from functools import partial

import dagster as dg

from mmmeta.metadata.publication import REMOTE_UPDATED
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending, brings_news, checks_told, ending
from mmmeta_dagster.assets.job_run import run_job
from mmmeta_dagster.assets.publications import data_version_of, tell_of_merged
from mmmeta_dagster.assets.pull import bring_documents, pull_metadir
from mmmeta_dagster.assets.shares import begin
from mmmeta_dagster.assets.step import LoggedProgress, opened, step
from mmmeta_dagster.options import GenerateOptions, JobOptions, Options, SyncOptions, UpdateOptions
from mmmeta_dagster.partitions.after_run import add_new_partitions
from mmmeta_dagster.shown import reporting, schema
from mmmeta_dagster.shown.markdown import command
from mmmeta_dagster.syncing import pulls
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, spec_of

Execute = Callable[[dg.AssetExecutionContext, MetadirAsset, Options], Ending]
"""What the step of an asset does, with the options of its run."""


def build_metadir_assets(
    *,
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator = DEFAULT,
    execute: Execute | None = None,
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of a metadir. Nothing is opened or created before one of them runs.

    ``metadata_db`` is external, something that arrives, unless the metadir has ``generate: true``. Jobs without an
    action have none here: ``@mmmeta_asset`` makes theirs. ``execute`` stands around or in place of what their steps
    do, which is ``materialize``.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> assets = build_metadir_assets(metadir=MetadirConfig(name="archive", path="/data/archive"))
        >>> sorted(asset.key.to_user_string() for asset in assets)
        ['archive/metadata_db', 'archive/state_db']
    """
    run = partial(materialize, translator=translator) if execute is None else execute
    metadata_db = MetadirAsset(metadir, keys.METADATA_DB)
    jobs = [MetadirAsset(metadir, job.name, job) for job in metadir.jobs.values() if job.action is not None]
    synced = [_synced(MetadirAsset(metadir, keys.SYNCED), translator, run)] if pulls(metadir) else []
    return [
        _metadata_db(metadata_db, translator, run) if metadir.generate else spec_of(translator, metadata_db),
        *synced,
        _state_db(MetadirAsset(metadir, keys.STATE_DB), translator, run),
        *(_job(job, translator, run) for job in jobs),
    ]


def materialize(
    context: dg.AssetExecutionContext,
    asset: MetadirAsset,
    options: Options,
    *,
    translator: DagsterMmmetaTranslator = DEFAULT,
) -> Ending:
    """What the step of an asset does: generate, pull, update, or run the job; then say how it ended."""
    if isinstance(options, GenerateOptions):
        return _generate(context, asset.metadir, options)
    if isinstance(options, SyncOptions):
        return pull_metadir(context, asset.metadir, options)
    if isinstance(options, UpdateOptions):
        return _update(context, asset.metadir, options, translator)
    return run_job(context, asset.metadir, asset.name, options)


def _metadata_db(asset: MetadirAsset, translator: DagsterMmmetaTranslator, run: Execute) -> dg.AssetsDefinition:
    @step(asset, translator)
    def metadata_db(context: dg.AssetExecutionContext, config: GenerateOptions) -> Ending:
        return run(context, asset, config)

    return metadata_db


def _synced(asset: MetadirAsset, translator: DagsterMmmetaTranslator, run: Execute) -> dg.AssetsDefinition:
    @step(asset, translator)
    def synced(context: dg.AssetExecutionContext, config: SyncOptions) -> Ending:
        return run(context, asset, config)

    return synced


def _state_db(asset: MetadirAsset, translator: DagsterMmmetaTranslator, run: Execute) -> dg.AssetsDefinition:
    @step(asset, translator)
    def state_db(context: dg.AssetExecutionContext, config: UpdateOptions) -> Ending:
        return run(context, asset, config)

    return state_db


def _job(asset: MetadirAsset, translator: DagsterMmmetaTranslator, run: Execute) -> dg.AssetsDefinition:
    @step(asset, translator)
    def job(context: dg.AssetExecutionContext, config: JobOptions) -> Ending:
        return run(context, asset, config)

    return job


def _generate(context: dg.AssetExecutionContext, metadir: MetadirConfig, options: GenerateOptions) -> Ending:
    with opened(context, metadir) as m:
        report = m.generate(**options.model_dump(), progress=LoggedProgress(context))
        published = m.store.raw(REMOTE_UPDATED)
    # The publication as version: a generate without news makes nothing downstream look out of date.
    version = None if published is None else data_version_of(published)
    metadata = reporting.of_generate(report, command(metadir, "inspect"))
    now = {name: metadata.get(name) for name in (keys.META_PROBLEMS, keys.META_PROBLEM_TABLE)}
    if report.notes:  # without, the last ones were about that run
        now[keys.META_NOTES] = metadata[keys.META_NOTES]
    news = brings_news(context, metadir, keys.METADATA_DB, version, now)
    return ending(context, metadir, keys.METADATA_DB, metadata, version=version, news=news)


def _update(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    options: UpdateOptions,
    translator: DagsterMmmetaTranslator,
) -> Ending:
    with checks_told(context, metadir, keys.STATE_DB), opened(context, metadir) as m:
        report = m.update(**options.model_dump(), progress=LoggedProgress(context))
        begin(context, metadir, m)
        for note in report.notes:
            context.log.info(note)
        merged = m.status()
        files = len(m.files)
        changes = bool(report.added or report.changed or report.returned)
        partitions = add_new_partitions(context, metadir, m, news=changes)
        documents = bring_documents(context, metadir, m)
        columns = schema.of_state_db(m)
    # The content as version: an update without news makes nothing downstream look out of date.
    version = f"{merged.metadata_id}-{merged.digest}"
    metadata = {**reporting.of_update(report, files, command(metadir, "status")), **documents, **partitions, **columns}
    made_of = tell_of_merged(context.instance, metadir, translator, merged.remote_last_updated)
    now = {name: metadata.get(name) for name in (keys.META_FILES, keys.META_COLUMNS)}
    news = brings_news(context, metadir, keys.STATE_DB, version, now)
    return ending(context, metadir, keys.STATE_DB, metadata, version=version, news=news, tags=made_of)
