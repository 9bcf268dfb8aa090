"""What a step says of a job on the way: what an interrupted run has done, and what a person should know."""

from __future__ import annotations

import dagster as dg

from mmmeta import Metadir, RunReport
from mmmeta.jobs.job import Job
from mmmeta.project import MetadirConfig
from mmmeta.state.ledger.rules import POSTPONED
from mmmeta_dagster import keys
from mmmeta_dagster.shown import reporting


def tell_of_interruption(
    context: dg.AssetExecutionContext, metadir: Metadir, job: Job, settled: int, commands: reporting.Commands
) -> None:
    """What a run did before it was terminated, from the ledger: as a line of its log, and in the asset's plots."""
    failed = [
        entry
        for entry in job.files(("failed", "dead"))
        if entry.run_id == context.run.run_id and entry.error_type != POSTPONED
    ]
    metadata = reporting.of_interruption(settled, failed, reporting.Standing.of(metadir, job), commands)
    context.log.warning(f"{job.name} was {metadata[keys.META_SUMMARY]}")
    context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=metadata))


def tell_of_oddities(context: dg.AssetExecutionContext, metadir: MetadirConfig, report: RunReport) -> None:
    """That the state db is an older copy, or that results lie elsewhere than where the job points now."""
    if report.behind_words is not None:
        context.log.warning(report.behind_words)
    if report.elsewhere is not None:
        again, keep = (metadir.command(f"jobs {verb} {report.job} --elsewhere") for verb in ("retry", "adopt"))
        context.log.warning(f"{report.elsewhere}. Do them again: {again}; take them as they are: {keep}")
