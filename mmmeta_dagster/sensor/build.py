"""The sensor that keeps a metadir imported. ``observe`` gathers what it knows, ``decision`` decides; here it speaks."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from mmmeta.clock import Clock, utcnow
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.publications import is_told, materialization
from mmmeta_dagster.jobs import DagsterJob, imported, without_pull
from mmmeta_dagster.sensor.decision import Decision, decide
from mmmeta_dagster.sensor.observe import observe
from mmmeta_dagster.sensor.outside import told_outside
from mmmeta_dagster.sensor.situation import Cursor, Situation
from mmmeta_dagster.syncing import pulls, remote_of
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator


def build_remote_sensor(
    *,
    metadir: MetadirConfig,
    job: DagsterJob | str,
    translator: DagsterMmmetaTranslator = DEFAULT,
    clock: Clock = utcnow,
) -> dg.SensorDefinition:
    """``<metadir>_remote_updated``: asks for ``<metadir>_import`` when the remote moved or work is due.

    Work is that of the jobs which the import runs: not of those with ``automation``. It opens no database, says its
    reason at every tick, and runs unless ``sensor.enabled`` is false. ``job`` is the Dagster job to ask for, or the name
    of one that stands in the same Definitions; ``clock`` gives the time.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> from mmmeta_dagster.jobs import build_import_job
        >>> archive = MetadirConfig(name="archive", path="/data/archive")
        >>> build_remote_sensor(metadir=archive, job=build_import_job(metadir=archive)).name
        'archive_remote_updated'
    """

    followed = imported(metadir)
    there = ", there and not only here," if pulls(metadir) and remote_of(metadir) is not None else ""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        situation = observe(followed, context.instance)
        now = clock()
        decision = decide(situation, Cursor.parse(context.cursor), now)
        news: list[dg.AssetMaterialization] = []
        remembered = decision.cursor
        if situation.published is not None and _is_news(metadir, situation, remembered):
            told = is_told(context.instance, metadir, translator, situation.published)
            event = None if told else materialization(metadir, translator, situation.published)
            news = [] if event is None else [event]
            if told or news:  # else a sync replaces it at this moment: the next tick sees it
                remembered = replace(remembered, reported=situation.published)
        done, marks = told_outside(context.instance, metadir, translator, situation, remembered.told, now)
        news += done
        cursor = replace(remembered, told=marks).dump()
        if decision.gave_up:
            context.log.error(decision.reason)
        if decision.run_key is None:
            return dg.SensorResult(skip_reason=decision.reason, cursor=cursor, asset_events=news)
        context.log.info(decision.reason)
        for lost in decision.lost:
            _report_killed(context.instance, lost.run_id)
        tags = {keys.TAG_REASON: decision.reason[: keys.TAG_LENGTH]}
        if decision.attempt > 1:
            of = "" if decision.pulls else f" of {metadir.sensor.attempts}"
            tags[keys.TAG_ATTEMPT] = f"{decision.attempt}{of}"
        request = dg.RunRequest(decision.run_key, tags=tags, asset_selection=_steps(followed, translator, decision))
        return dg.SensorResult([request], cursor=cursor, asset_events=news)

    return dg.SensorDefinition(
        name=keys.remote_sensor(metadir.name),
        evaluation_fn=evaluate,
        **({"job_name": job} if isinstance(job, str) else {"job": job}),
        minimum_interval_seconds=int(metadir.sensor.interval),
        description=f"Asks for {keys.import_job(metadir.name)} when the remote's metadata is new{there} or work is due: a "
        "retry, the rest of a limit, an ended lease, a new or changed job. Never two at once; again after a "
        f"failure, with a growing pause; gives up after {metadir.sensor.attempts} attempts until something changes.",
        default_status=dg.DefaultSensorStatus.RUNNING if metadir.sensor.enabled else dg.DefaultSensorStatus.STOPPED,
    )


def _steps(metadir: MetadirConfig, translator: DagsterMmmetaTranslator, decision: Decision) -> list[dg.AssetKey] | None:
    """The assets that a run is for, where it is not for all: for one file that is tried again, the update and its job. A pull
    is not among them, for one that fails would keep the file from its turn. Their checks come along."""
    if decision.pulls or (decision.jobs is None and not pulls(metadir)):
        return None
    return without_pull(metadir, translator, decision.jobs)


def _is_news(metadir: MetadirConfig, situation: Situation, cursor: Cursor) -> bool:
    """Whether the metadata db, which nobody materializes here, is a new one; not where it is not whole yet."""
    if metadir.generate or situation.published in (None, cursor.reported):
        return False
    return situation.not_whole is None and situation.on_its_way is None


def _report_killed(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tell Dagster that a run is over: it would count it as running for ever, also against the limit of its queue."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "This run gave no sign of life any more: its process was killed.")
