"""Schedules from the cron strings of the project file."""

from __future__ import annotations

import dagster as dg

from mmmeta.clock import utcnow
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.jobs import DagsterJob
from mmmeta_dagster.observe import runs_of


def build_schedules(*, metadir: MetadirConfig, jobs: dict[str, DagsterJob]) -> list[dg.ScheduleDefinition]:
    """A schedule for each cron string under ``schedules``, running unless it is switched off in the UI.

    A tick at which the run before is still alive is skipped, so that a slow run is never doubled. ``jobs`` are the
    metadir's Dagster jobs by name.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> from mmmeta_dagster.jobs import build_jobs
        >>> archive = MetadirConfig(name="archive", path="/data/archive", schedules={"import": "*/15 * * * *"})
        >>> [s.name for s in build_schedules(metadir=archive, jobs={j.name: j for j in build_jobs(metadir=archive)})]
        ['archive_import_schedule']
    """
    crons = {
        keys.generate_job(metadir.name): (
            metadir.schedules.generate,
            "Looks for new metadata files and publishes them.",
        ),
        keys.import_job(metadir.name): (metadir.schedules.import_, "Updates the state db, then runs all jobs."),
        keys.checks_job(metadir.name): (metadir.schedules.checks, "Runs all asset checks."),
    }
    return [_schedule(name, cron, what, jobs[name], metadir) for name, (cron, what) in crons.items() if cron]


def _schedule(dagster_job: str, cron: str, what: str, job: DagsterJob, metadir: MetadirConfig) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = utcnow()
        for run in runs_of(context.instance, dagster_job, metadir):
            if run.is_alive(now):
                return dg.SkipReason(f"Run {run.name} is {run.phase.value}.")
        return dg.RunRequest()

    return dg.ScheduleDefinition(
        name=keys.schedule(dagster_job),
        job=job,
        cron_schedule=cron,
        execution_fn=evaluate,
        description=f"{what} Skips when the run before is still alive, so that a slow one is never doubled.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
