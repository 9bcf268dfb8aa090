"""The sensor that keeps a metadir imported. ``observe`` gathers what it knows, ``decision`` decides; here it speaks."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from mmmeta.clock import Clock, utcnow
from mmmeta.errors import StoreAccessError
from mmmeta.project import MetadirConfig
from mmmeta.store import Store
from mmmeta_dagster import keys, reporting
from mmmeta_dagster.decision import decide
from mmmeta_dagster.files_seen import layout_of
from mmmeta_dagster.jobs import DagsterJob
from mmmeta_dagster.observe import REMOTE, REMOTE_REVISION, observe
from mmmeta_dagster.situation import Cursor, Situation
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset

TAG_LENGTH = 500
"""Letters of a reason in a run tag; the UI shows tags whole."""


def build_remote_sensor(
    *,
    metadir: MetadirConfig,
    job: DagsterJob,
    translator: DagsterMmmetaTranslator = DEFAULT,
    clock: Clock = utcnow,
) -> dg.SensorDefinition:
    """``<metadir>_remote_updated``: asks for ``<metadir>_import`` when the remote moved or work is due.

    It opens no database, says its reason at every tick, and runs unless ``sensor.enabled`` is false. ``job`` is the
    Dagster job to ask for, ``clock`` gives the time.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> from mmmeta_dagster.jobs import build_import_job
        >>> archive = MetadirConfig(name="archive", path="/data/archive")
        >>> build_remote_sensor(metadir=archive, job=build_import_job(metadir=archive)).name
        'archive_remote_updated'
    """

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        situation = observe(metadir, context.instance)
        decision = decide(situation, Cursor.parse(context.cursor), clock())
        news = _news(metadir, translator, situation, decision.cursor)
        cursor = (replace(decision.cursor, reported=situation.published or "") if news else decision.cursor).dump()
        if decision.gave_up:
            context.log.error(decision.reason)
        if decision.run_key is None:
            return dg.SensorResult(skip_reason=decision.reason, cursor=cursor, asset_events=news)
        context.log.info(decision.reason)
        for lost in decision.lost:
            _report_killed(context.instance, lost.run_id)
        tags = {keys.TAG_REASON: decision.reason[:TAG_LENGTH]}
        if decision.attempt > 1:
            tags[keys.TAG_ATTEMPT] = f"{decision.attempt} of {metadir.sensor.attempts}"
        return dg.SensorResult([dg.RunRequest(decision.run_key, tags=tags)], cursor=cursor, asset_events=news)

    return dg.SensorDefinition(
        name=keys.remote_sensor(metadir.name),
        evaluation_fn=evaluate,
        job=job,
        minimum_interval_seconds=int(metadir.sensor.interval),
        description=f"Asks for {keys.import_job(metadir.name)} when the remote's metadata is new or work is due: a "
        "retry, the rest of a limit, an ended lease, a new or changed job. Never two at once; again after a "
        f"failure, with a growing pause; gives up after {metadir.sensor.attempts} attempts until something changes.",
        default_status=dg.DefaultSensorStatus.RUNNING if metadir.sensor.enabled else dg.DefaultSensorStatus.STOPPED,
    )


def _news(
    metadir: MetadirConfig, translator: DagsterMmmetaTranslator, situation: Situation, cursor: Cursor
) -> list[dg.AssetMaterialization]:
    """That the metadata db, which nobody materializes here, is a new one; nothing where it is not, or not whole yet.

    With the publication as data version, so that one's own automation conditions see real changes only.
    """
    published = situation.published
    if metadir.generate or published is None or published == cursor.reported:
        return []
    if situation.not_whole is not None or situation.on_its_way is not None:
        return []
    layout = layout_of(metadir)
    store = Store(layout)
    try:
        size = layout.meta_db.stat().st_size
        moment, revision = store.moment(REMOTE), store.get(REMOTE_REVISION)
    except (OSError, StoreAccessError):
        return []  # a sync replaces it at this moment: the next tick sees it
    return [
        dg.AssetMaterialization(
            translator.get_asset_key(MetadirAsset(metadir, keys.METADATA_DB)),
            description="The remote has published; this is what was found here.",
            metadata=reporting.of_publication(moment, revision if type(revision) is int else None, size),
            tags={keys.TAG_DATA_VERSION: published.strip()},
        )
    ]


def _report_killed(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tell Dagster that a run is over: it would count it as running for ever, also against the limit of its queue."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "This run gave no sign of life any more: its process was killed.")
