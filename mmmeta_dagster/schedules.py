"""Schedules from the cron strings of the project file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import dagster as dg

from mmmeta.clock import Clock, utcnow
from mmmeta.errors import MmmetaError
from mmmeta.project import MetadirConfig
from mmmeta.state.open import read_signs
from mmmeta.state.signs import Signs
from mmmeta_dagster import keys
from mmmeta_dagster.files_seen import layout_of, why_not_there
from mmmeta_dagster.jobs import DagsterJob, imported, without_pull
from mmmeta_dagster.runs import runs_of
from mmmeta_dagster.shown.wording import clock_text, retries
from mmmeta_dagster.syncing import pulls
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator

Evaluation = dg.RunRequest | dg.SkipReason


def build_schedules(
    *,
    metadir: MetadirConfig,
    jobs: Mapping[str, DagsterJob] | None = None,
    clock: Clock = utcnow,
    translator: DagsterMmmetaTranslator = DEFAULT,
) -> list[dg.ScheduleDefinition]:
    """A schedule for each cron string under ``schedules``, running unless it is switched off in the UI.

    A tick at which the run before is still alive is skipped, so that a slow run is never doubled. ``retry`` asks for the
    import, and only where a failed file is due; not for the pull, for one that fails would keep the file from its turn.

    ``jobs`` are the metadir's Dagster jobs by name; those that are not among them stand in the same Definitions.
    ``clock`` gives the time.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> archive = MetadirConfig(name="archive", path="/data/archive", schedules={"import": "*/15 * * * *"})
        >>> [schedule.name for schedule in build_schedules(metadir=archive)]
        ['archive_import_schedule']
    """
    schedules, name = metadir.schedules, metadir.name
    generate, import_, checks = keys.generate_job(name), keys.import_job(name), keys.checks_job(name)
    import_words = "Updates the state db, then runs all jobs"

    def always(now: datetime, signs: Signs) -> Evaluation:
        return dg.RunRequest()

    def of(
        called: str, job: str, cron: str | None, what: str, ask: Callable[[datetime, Signs], Evaluation] = always
    ) -> list[dg.ScheduleDefinition]:
        return [_schedule(called, cron, what, (jobs or {}).get(job), metadir, job, clock, ask)] if cron else []

    return [
        *of(keys.schedule(generate), generate, schedules.generate, "Looks for new metadata files and publishes them."),
        *of(keys.schedule(import_), import_, schedules.import_, f"{import_words}."),
        *of(keys.schedule(checks), checks, schedules.checks, "Runs all asset checks."),
        *of(
            keys.retry_schedule(name),
            import_,
            schedules.retry,
            f"{import_words}, if a file that failed is due again.",
            lambda now, signs: _retry(imported(metadir), now, signs, translator),
        ),
    ]


def _schedule(
    called: str,
    cron: str,
    what: str,
    job: DagsterJob | None,
    metadir: MetadirConfig,
    dagster_job: str,
    clock: Clock,
    ask: Callable[[datetime, Signs], Evaluation],
) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> Evaluation:
        now = clock()
        try:
            signs = read_signs(layout_of(metadir), clock)
        except MmmetaError as error:  # the database that machines share; the next tick asks again
            return dg.SkipReason(f"Waiting: {error}.")
        for run in runs_of(context.instance, dagster_job, metadir, signs):
            if run.is_alive(now):
                return dg.SkipReason(f"Run {run.name} is {run.phase.value}.")
        return ask(now, signs)

    return dg.ScheduleDefinition(
        name=called,
        **({"job_name": dagster_job} if job is None else {"job": job}),
        cron_schedule=cron,
        execution_timezone=metadir.schedules.timezone,
        execution_fn=evaluate,
        description=f"{what} Skips when the run before is still alive, so that a slow one is never doubled.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _retry(metadir: MetadirConfig, now: datetime, signs: Signs, translator: DagsterMmmetaTranslator) -> Evaluation:
    """A run where a failed file of the metadir's jobs is due, as the status says; else when the next one will be."""
    layout = layout_of(metadir)
    status = signs.status()
    missing = why_not_there(layout)
    is_elsewhere = missing is not None and status is not None and signs.are_shared
    if missing is not None and not is_elsewhere:
        return dg.SkipReason(f"Waiting: {missing}.")
    if status is None:
        return dg.SkipReason("Nothing was merged yet, or status.json cannot be read; an import writes it anew.")
    waiting = {
        name: (job.due_later, job.earliest_due)
        for name, job in status.jobs.items()
        if name in metadir.jobs and job.earliest_due is not None
    }
    due = [
        f"{name}: {retries(failed)} due again since {clock_text(earliest)}"
        for name, (failed, earliest) in waiting.items()
        if earliest <= now
    ]
    if due:
        steps = without_pull(metadir, translator) if pulls(metadir) and not is_elsewhere else None
        tags = {keys.TAG_REASON: f"{'; '.join(due)}."[: keys.TAG_LENGTH]}
        return dg.RunRequest(tags=tags, asset_selection=steps)
    if not waiting:
        return dg.SkipReason("No failed file waits for another attempt.")
    name, (failed, earliest) = min(waiting.items(), key=lambda one: one[1][1])
    return dg.SkipReason(f"No failed file is due yet. {name}: {retries(failed)} due at {clock_text(earliest)}.")
