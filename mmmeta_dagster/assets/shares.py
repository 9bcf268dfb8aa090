"""Where several runs share the work of a job: what one that helps does, and how the import tells of all of them.

A run that helps claims, does and settles until nothing is due, and says what its part was as an observation. The import does
its own share, waits for what the others have in their hands, and materializes the sum, which it takes from the ledger: so it
counts a killed run's files as well, and none of them twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from mmmeta import Metadir, RunReport
from mmmeta.clock import utcnow
from mmmeta.errors import NoFilesError
from mmmeta.jobs.job import Job
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending
from mmmeta_dagster.assets.step import LoggedProgress, failure, opened
from mmmeta_dagster.assets.telling import tell_of_oddities
from mmmeta_dagster.assets.verdict import verdict
from mmmeta_dagster.options import JobOptions
from mmmeta_dagster.runs import helpers_of
from mmmeta_dagster.shown import reporting
from mmmeta_dagster.shown.files_done import links_of

LOOK_EVERY = 1.0
"""Seconds between two looks at what the others still have in their hands."""

TAKE_EVERY = 5.0
"""Seconds between two tries to take over what a run had in its hands that is gone."""

Work = Callable[[], RunReport]


def is_helper(context: dg.AssetExecutionContext, metadir: MetadirConfig) -> bool:
    """Whether this run shares the work of an import, and is none itself."""
    return context.run.job_name == keys.work_job(metadir.name)


def help_with(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    name: str,
    options: JobOptions,
    function: Callable[[Any], object] | None,
    *,
    batch: bool,
) -> Ending:
    """Help with what is due of a job until nothing is, and observe what that was: no materialization.

    Raises:
        Failure: nothing could be done, or more failed than ``fail_run_above`` allows.
    """
    progress, run_id = LoggedProgress(context), context.run.run_id
    shard = context.run.tags.get(keys.TAG_SHARD, metadir.name)
    commands = reporting.Commands.about(metadir, name, run_id)
    with opened(context, metadir, worker=True) as m:
        m.require_ledger()
        job = m.job(name)
        if options.retry_failed or options.retry_dead or options.redo_done:
            job.retry(dead=options.retry_dead, done=options.redo_done)
        try:
            report = job.work(function, batch=batch, run_id=run_id, limit=options.limit, progress=progress)
        except dg.DagsterExecutionInterruptedError:
            metadata = reporting.of_interrupted_share(progress.done, shard, commands)
            context.log.warning(f"{name} was {metadata[keys.META_SUMMARY]}")
            context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))
            raise
        tell_of_oddities(context, metadir, report)
        counts = job.counts()
        problem = verdict(report, counts, metadir.jobs[name].fail_run_above, partial(_called, m))
    if report.attempted:
        metadata = reporting.of_share(report, counts, shard, commands)
        context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))
    else:
        context.log.info(f"{name}: nothing was due any more")
    if problem is not None:
        raise failure(problem, commands.next(counts))
    yield from ()


def _called(m: Metadir, file: str) -> str:
    """What a person calls a file; its unique value where the files are elsewhere."""
    try:
        return links_of(m, [file])[file].text
    except NoFilesError:
        return file


def since(context: dg.AssetExecutionContext, job: Job) -> int:
    """The last attempt before the work that this run is to tell of: what was tried before its update is told already."""
    run = context.instance.get_run_by_id(context.run.run_id)
    text = None if run is None else run.tags.get(keys.TAG_SINCE)
    return job.last_attempt() if text is None else int(text)


def begin(context: dg.AssetExecutionContext, metadir: MetadirConfig, m: Metadir) -> None:
    """With the update: remember where the work begins that the jobs of this run are to tell of."""
    shared = next((name for name, job in metadir.jobs.items() if metadir.shards_of(job)), None)
    if shared is not None:
        tags = {keys.TAG_SINCE: str(m.job(shared).last_attempt())}
        context.instance.add_run_tags(context.run.run_id, tags)


def with_the_others(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    m: Metadir,
    job: Job,
    own: RunReport,
    work: Work | None,
    began: int,
) -> RunReport:
    """What all runs together did that share the work of a job, once nobody has a file of it in his hands any more.

    Args:
        own: what this run did.
        work: does more of it, until nothing is due; None where this run has a limit.
        began: the last attempt before it.
    """
    started = time.monotonic()
    taken = told = None
    while (held := m.status().jobs[job.name].claimed) and _helpers_live(context, metadir):
        if told is None:
            told = held
            context.log.info(f"{job.name}: waits for {held:,} files in the hands of the runs that share the work")
        time.sleep(LOOK_EVERY)
        if work is not None and (taken is None or time.monotonic() - taken >= TAKE_EVERY):
            taken = time.monotonic()
            work()
    if held and work is not None:  # by who is gone by now
        work()
    return replace(job.of_all(own, began), duration=own.duration + time.monotonic() - started)


def _helpers_live(context: dg.AssetExecutionContext, metadir: MetadirConfig) -> bool:
    now = utcnow()
    return any(run.is_alive(now) for run in helpers_of(context.instance, metadir))
