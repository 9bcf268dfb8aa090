"""One run of a job as a Dagster step: run it, show what it did, fail where nothing could be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from mmmeta import RunReport
from mmmeta.filters import describe
from mmmeta.project import MetadirConfig
from mmmeta.state.status import JobStatus
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending, brings_news, checks_told, ending
from mmmeta_dagster.assets.shares import help_with, is_helper, since, with_the_others
from mmmeta_dagster.assets.step import LoggedProgress, failure, opened
from mmmeta_dagster.assets.telling import tell_of_interruption, tell_of_oddities
from mmmeta_dagster.assets.verdict import verdict
from mmmeta_dagster.assets.versions import version_before
from mmmeta_dagster.options import JobOptions
from mmmeta_dagster.partitions.after_run import tell_of_partitions
from mmmeta_dagster.partitions.definition import asked_for, files_of
from mmmeta_dagster.shown import reporting, schema
from mmmeta_dagster.shown.files_done import links_of, table_of_run

OF_EACH_PARTITION = (
    keys.META_SUMMARY,
    keys.META_FAILURES,
    keys.META_SEE_MORE,
    keys.META_REMEDY,
    keys.META_PARTITIONS,
)
"""What the materialization of each of several partitions says of all of them; the numbers stand in one observation."""


def run_job(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    name: str,
    options: JobOptions,
    function: Callable[[Any], object] | None = None,
    *,
    batch: bool = False,
) -> Ending:
    """Run a job of the metadir and report it: all that is due, or what is due in the partitions of the run. Where runs share
    the work it is told of all that they did together; a run that only helps tells of its own part.

    Args:
        function: what to do with a file (with a batch of them); the definition's own action unless given.

    Raises:
        Failure: nothing could be done, or more failed than ``fail_run_above`` allows.
    """
    if is_helper(context, metadir):
        return help_with(context, metadir, name, options, function, batch=batch)
    with checks_told(context, metadir, name):
        return _run_job(context, metadir, name, options, function, batch=batch)


def _run_job(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    name: str,
    options: JobOptions,
    function: Callable[[Any], object] | None,
    *,
    batch: bool,
) -> Ending:
    config = metadir.jobs[name]
    progress = LoggedProgress(context)
    with opened(context, metadir) as m:
        job = m.job(name)
        doubt = job.doubt()
        if doubt is not None:  # an error already, where the job stands in the project file
            context.log.warning(doubt)
        partitions = asked_for(context, config)
        only = files_of(partitions, config.partitions, m) if config.partitions and partitions else None
        if options.retry_failed or options.retry_dead or options.redo_done:
            job.retry(dead=options.retry_dead, done=options.redo_done, only=only)
        run_id = context.run.run_id
        shared = metadir.shards_of(config) > 0 and only is None
        began = since(context, job) if shared else 0
        commands = reporting.Commands.about(metadir, name, "" if shared else run_id)
        try:
            report = job.run(function, batch=batch, run_id=run_id, limit=options.limit, only=only, progress=progress)
        except dg.DagsterExecutionInterruptedError:
            # By now the job has recorded what it finished and given back the rest; its report is lost.
            tell_of_interruption(context, m, job, progress.done, commands)
            raise
        tell_of_oddities(context, metadir, report)
        if shared:
            limited = options.limit is not None or config.limit is not None
            more = None if limited else partial(job.work, function, batch=batch, run_id=run_id)
            report = with_the_others(context, metadir, m, job, report, more, began)
        standing = reporting.Standing.of(m, job, report.failures)
        # What is left elsewhere is no news of a run for partitions.
        shown = report if only is None else replace(report, pending=job.due(only))
        files = table_of_run(m, job, None if shared else run_id, report.attempted, commands.of_run)
        problem = verdict(report, standing.counts, config.fail_run_above, lambda file: links_of(m, [file])[file].text)
        version = _version(context, report, partitions)
        news = problem is None and (
            report.attempted > 0  # of which it shows what failed, and why
            or brings_news(context, metadir, name, version, reporting.standing_numbers(standing.counts), partitions)
        )
        metadata = {
            **reporting.of_run(shown, standing, describe(config.condition), commands, files),
            **tell_of_partitions(
                context,
                metadir,
                job,
                through=news and _is_through(standing.counts),
                by=began if shared else run_id,
            ),
        }
        if config.load is not None and function is None:
            metadata.update(schema.of_table(context, m, config.load, standing.counts.done))
    if problem is not None:
        # A failure is no materialization; the observation shows it on the asset's page, and its numbers in the plots.
        context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))
        raise failure(problem, commands.next(standing.counts))
    if len(partitions) > 1:
        # Dagster writes an event for each of them; what is about all of them together stands in one observation.
        context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))
        metadata = {key: metadata[key] for key in OF_EACH_PARTITION if key in metadata}
    partition = partitions[0] if partitions else None
    return ending(context, metadir, name, metadata, version=version, news=news, partition=partition)


def _version(context: dg.AssetExecutionContext, report: RunReport, partitions: Sequence[str]) -> str:
    """The data version of what the job has done: another one after each run that did something."""
    before = None if len(partitions) > 1 else version_before(context, *partitions)
    return context.run.run_id if before is None or report.done or report.retracted else before


def _is_through(counts: JobStatus) -> bool:
    """Whether a job has nothing left to try: what failed and what is dead holds up nobody."""
    return not counts.pending and not counts.claimed
