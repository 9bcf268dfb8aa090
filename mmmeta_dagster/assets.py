"""The assets of a metadir: ``metadata_db``, ``state_db`` and one for each job.

No ``from __future__ import annotations`` here: Dagster reads the annotations of the asset functions.
"""

import dagster as dg

from mmmeta import Metadir
from mmmeta.filters import All, describe, format_duration
from mmmeta.jobs import Job
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta.project_fields import without_password
from mmmeta_dagster import keys, reporting
from mmmeta_dagster.automation import automation_condition
from mmmeta_dagster.options import GenerateOptions, JobOptions, UpdateOptions
from mmmeta_dagster.running import Progress, failure, opened
from mmmeta_dagster.verdict import verdict


def build_metadir_assets(*, metadir: MetadirConfig) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of a metadir. Nothing is opened or created before one of them runs.

    ``metadata_db`` is external, something that arrives, unless the metadir has ``generate: true``.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> assets = build_metadir_assets(metadir=MetadirConfig(name="archive", path="/data/archive"))
        >>> sorted(key.to_user_string() for asset in assets for key in ([asset.key]))
        ['archive/metadata_db', 'archive/state_db']
    """
    metadata_db = _metadata_db(metadir) if metadir.generate else _external_metadata_db(metadir)
    return [metadata_db, _state_db(metadir), *(_job(metadir, job) for job in metadir.jobs.values())]


def _external_metadata_db(metadir: MetadirConfig) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=keys.asset_key(metadir.name, keys.METADATA_DB),
        description="The metadata of all files, one SQLite file. A server writes it, a sync brings it here; "
        "nothing on this side does. The sensor looks at the store beside it and asks for an import when it is new.",
        group_name=metadir.name,
        kinds={"sqlite"},
        metadata=_place(metadir),
    )


def _metadata_db(metadir: MetadirConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=keys.asset_key(metadir.name, keys.METADATA_DB),
        description="The metadata of all files, one SQLite file, written here by `generate` from the metadata files. "
        "It adds and updates; what is merely no longer there is deleted only with the option `ensure`.",
        group_name=metadir.name,
        kinds={"sqlite"},
        metadata=_place(metadir),
        required_resource_keys={keys.resource(metadir.name)},
    )
    def metadata_db(context: dg.AssetExecutionContext, config: GenerateOptions) -> dg.MaterializeResult[None]:
        with opened(context, metadir) as m:
            report = m.generate(**config.model_dump(), progress=Progress(context))
        return dg.MaterializeResult(metadata=reporting.of_generate(report))

    return metadata_db


def _state_db(metadir: MetadirConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=keys.asset_key(metadir.name, keys.STATE_DB),
        deps=[keys.asset_key(metadir.name, keys.METADATA_DB)],
        description="The metadata db merged with what is only known here: columns of one's own, and the ledger of what "
        "each job did with each file. An update never touches local state.",
        group_name=metadir.name,
        kinds={"sqlite"},
        metadata=_place(metadir),
        required_resource_keys={keys.resource(metadir.name)},
    )
    def state_db(context: dg.AssetExecutionContext, config: UpdateOptions) -> dg.MaterializeResult[None]:
        with opened(context, metadir) as m:
            report = m.update(**config.model_dump(), progress=Progress(context))
            merged = m.status()
            files = len(m.files)
        # The content as version: an update without news makes nothing downstream look out of date.
        version = dg.DataVersion(f"{merged.metadata_id}-{merged.digest}")
        return dg.MaterializeResult(metadata=reporting.of_update(report, files), data_version=version)

    return state_db


def _job(metadir: MetadirConfig, job: JobConfig) -> dg.AssetsDefinition:
    selection = describe(job.condition)

    @dg.asset(
        key=keys.asset_key(metadir.name, job.name),
        deps=[keys.asset_key(metadir.name, keys.STATE_DB)],
        description=_description(job, selection),
        group_name=metadir.name,
        kinds=_kinds(job),
        tags=job.tags,
        owners=job.owners,
        metadata={keys.META_SELECTION: selection, keys.META_ACTION: _action(job), keys.META_RULES: _rules(job)},
        automation_condition=automation_condition(metadir, job),
        required_resource_keys={keys.resource(metadir.name)},
    )
    def run(context: dg.AssetExecutionContext, config: JobOptions) -> dg.MaterializeResult[None]:
        progress = Progress(context)
        with opened(context, metadir) as m:
            ready = m.job(job.name)
            if config.retry_failed or config.retry_dead:
                ready.retry(dead=config.retry_dead)
            see_more = metadir.command(f"jobs history {job.name} --run {context.run.run_id[:8]}")
            try:
                report = ready.run(run_id=context.run.run_id, limit=config.limit, progress=progress)
            except dg.DagsterExecutionInterruptedError:
                # By now the job has recorded what it finished and given back the rest; its report is lost.
                _tell_of_interruption(context, m, ready, progress.done, see_more)
                raise
            standing = reporting.Standing.of(m, ready)
        metadata = reporting.of_run(report, standing, selection, see_more)
        problem = verdict(report, standing.counts, job.fail_run_above)
        if problem is not None:
            # A failure is no materialization; the observation keeps its numbers in the asset's plots.
            context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))
            raise failure(problem, metadata)
        return dg.MaterializeResult(metadata=metadata)

    return run


def _tell_of_interruption(
    context: dg.AssetExecutionContext, metadir: Metadir, job: Job, settled: int, see_more: str
) -> None:
    """What a run did before it was terminated, from the ledger: as a line of its log, and in the asset's plots."""
    failed = [entry for entry in job.files(("failed", "dead")) if entry.run_id == context.run.run_id]
    metadata = reporting.of_interruption(settled, failed, reporting.Standing.of(metadir, job), see_more)
    context.log.warning(f"{job.name} was {metadata[keys.META_SUMMARY]}")
    context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))


def _place(metadir: MetadirConfig) -> dict[str, dg.MetadataValue]:
    place: dict[str, dg.MetadataValue] = {keys.META_PATH: dg.MetadataValue.path(str(metadir.path))}
    if metadir.files_root is not None:
        place[keys.META_FILES_ROOT] = dg.MetadataValue.path(str(metadir.files_root))
    return place


def _description(job: JobConfig, selection: str) -> str:
    selects = "all files" if job.condition == All(()) else f"files where {selection}"
    return f"{_action(job)} Selects {selects}. Each of them once, and again when {job.rerun_words}."


def _action(job: JobConfig) -> str:
    """What the job does with a file, in a sentence without secrets."""
    if job.download is not None:
        return f"Downloads documents to {without_password(job.download.to)}."
    if job.load is not None:
        return f"Loads metadata into table {job.load.table} of {without_password(job.load.to)}."
    if job.call is not None:
        return f"Calls {job.call.function} with each {'batch of files' if job.call.batch else 'file'}."
    if job.command is not None:
        return f"Runs {job.command.run[0]} with each file."
    return "Does nothing with its files."


def _rules(job: JobConfig) -> dg.MarkdownMetadataValue:
    return reporting.rules(
        {
            "again when": job.rerun_words,
            "attempts": job.attempts,
            "pause after a failure": f"{format_duration(job.backoff)}, doubled each time",
        }
    )


def _kinds(job: JobConfig) -> set[str]:
    if job.download is not None:
        return {"file"}
    if job.load is not None:
        return {"table", job.load.to.split(":")[0].split("+")[0]}
    return {"shell"} if job.command is not None else {"python"}
