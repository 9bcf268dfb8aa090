"""The sensor that keeps a metadir imported. ``observe`` gathers what it knows, ``decision`` decides; here it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import dagster as dg

from mmmeta.clock import Clock, utcnow
from mmmeta.errors import JobError, MmmetaError
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.publications import is_told, materialization
from mmmeta_dagster.jobs import Assets, DagsterJob, imported, run_tags_of, specs, without_pull
from mmmeta_dagster.sensor.decision import Decision, decide
from mmmeta_dagster.sensor.observe import observe
from mmmeta_dagster.sensor.outside import told_outside
from mmmeta_dagster.sensor.sharing import Helper, Sharing, share
from mmmeta_dagster.sensor.situation import Cursor, Situation
from mmmeta_dagster.syncing import is_seen, pulls
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of, spec_of


def build_remote_sensor(
    *,
    metadir: MetadirConfig,
    job: DagsterJob | str,
    work: DagsterJob | None = None,
    translator: DagsterMmmetaTranslator = DEFAULT,
    assets: Assets = (),
    clock: Clock = utcnow,
) -> dg.SensorDefinition:
    """``<metadir>_remote_updated``: asks for ``<metadir>_import`` when the remote moved or work is due.

    Work is that of the jobs which the import runs: not of those with ``automation``. It opens no database, says its
    reason at every tick, and runs unless ``sensor.enabled`` is false. ``job`` is the Dagster job to ask for, or the name
    of one that stands in the same Definitions; ``clock`` gives the time.

    Where jobs have ``shards`` it asks for runs of ``work`` as well, which ``build_work_job`` made, while an import is at work;
    ``job`` is no name then. ``assets`` are those of the metadir: they tell which jobs hang on others.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> from mmmeta_dagster.jobs import build_import_job
        >>> archive = MetadirConfig(name="archive", path="/data/archive")
        >>> build_remote_sensor(metadir=archive, job=build_import_job(metadir=archive)).name
        'archive_remote_updated'
    """

    followed = imported(metadir, translator=translator, assets=assets)
    after = None if work is None else _after(followed, translator, assets)
    if work is not None and isinstance(job, str):
        raise JobError(
            f"sensor of {metadir.name!r}: with work=, job= has to be a Dagster job, too, and not its name {job!r}"
        )
    there = ", there and not only here," if is_seen(metadir) else ""
    pulled = (
        " A pull that fails does not count: it is asked for again for as long as it takes." if is_seen(metadir) else ""
    )

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            situation = observe(followed, context.instance, after)
        except MmmetaError as error:  # the database that machines share; the next tick asks again
            return dg.SensorResult(skip_reason=f"Waiting: {error}.", cursor=context.cursor)
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
        sharing = share(situation, now)
        for lost in (*decision.lost, *sharing.lost):
            _report_killed(context.instance, lost.run_id)
        if sharing.asked and decision.run_key is None:
            context.log.info(sharing.words)
            asked = [_helper(metadir, translator, one, sharing, now) for one in sharing.asked]
            return dg.SensorResult(asked, cursor=cursor, asset_events=news)
        if decision.run_key is None:
            reason = f"{decision.reason} {sharing.words}".rstrip()
            return dg.SensorResult(skip_reason=reason, cursor=cursor, asset_events=news)
        context.log.info(decision.reason)
        tags = {keys.TAG_REASON: decision.reason[: keys.TAG_LENGTH]}
        if decision.attempt > 1:
            of = "" if decision.pulls else f" of {metadir.sensor.attempts}"
            tags[keys.TAG_ATTEMPT] = f"{decision.attempt}{of}"
        # Whoever runs it may begin with an empty disk, where it does not lie here what runs have.
        steps = None if situation.is_elsewhere and pulls(metadir) else _steps(followed, translator, decision)
        name = None if work is None else keys.import_job(metadir.name)
        request = dg.RunRequest(decision.run_key, job_name=name, tags=tags, asset_selection=steps)
        return dg.SensorResult([request], cursor=cursor, asset_events=news)

    def made(**target: Any) -> dg.SensorDefinition:
        return _Sensor(
            name=keys.remote_sensor(metadir.name),
            evaluation_fn=evaluate,
            minimum_interval_seconds=int(metadir.sensor.interval),
            description=f"Asks for {keys.import_job(metadir.name)} when the remote's metadata is new{there} or work is due: a "
            "retry, the rest of a limit, an ended lease, a new or changed job. Never two at once; again after a "
            f"failure, with a growing pause; gives up after {metadir.sensor.attempts} attempts until something changes."
            + pulled
            + (
                f" Then for as many runs of {keys.work_job(metadir.name)} as share the work."
                if work is not None
                else ""
            ),
            default_status=dg.DefaultSensorStatus.RUNNING if metadir.sensor.enabled else dg.DefaultSensorStatus.STOPPED,
            **target,
        )

    class _Sensor(dg.SensorDefinition):
        """Dagster copies what holds a job whose resources come later, with a warning of a parameter that nobody gave."""

        def with_updated_jobs(self, new_jobs: Sequence[Any]) -> dg.SensorDefinition:
            return made(jobs=new_jobs)

    if work is not None:
        return made(jobs=[job, work])
    return made(job_name=job) if isinstance(job, str) else made(job=job)


def _steps(metadir: MetadirConfig, translator: DagsterMmmetaTranslator, decision: Decision) -> list[dg.AssetKey] | None:
    """The assets that a run is for, where it is not for all: for one file that is tried again, the update and its job. A pull
    is not among them, for one that fails would keep the file from its turn. Their checks come along."""
    if decision.pulls or (decision.jobs is None and not pulls(metadir)):
        return None
    return without_pull(metadir, translator, decision.jobs)


def _helper(
    metadir: MetadirConfig, translator: DagsterMmmetaTranslator, helper: Helper, sharing: Sharing, now: datetime
) -> dg.RunRequest:
    """The request for a run that shares the work. One that is for a single job has the tags that this job's runs have."""
    jobs = [metadir.jobs[name] for name in helper.jobs]
    tags = {
        **run_tags_of(metadir, jobs[0].run_tags if len(jobs) == 1 else None),
        keys.TAG_SHARD: keys.shard(metadir.name, helper.number),
        keys.TAG_JOBS: ", ".join(helper.jobs),
        keys.TAG_REASON: sharing.words[: keys.TAG_LENGTH],
    }
    return dg.RunRequest(
        f"{keys.shard(metadir.name, helper.number)}-{now:%Y%m%dT%H%M%S%fZ}",
        job_name=keys.work_job(metadir.name),
        tags=tags,
        asset_selection=[key_of(translator, MetadirAsset(metadir, job.name, job)) for job in jobs],
    )


def _after(metadir: MetadirConfig, translator: DagsterMmmetaTranslator, assets: Assets) -> dict[str, frozenset[str]]:
    """Job → the jobs of the metadir that it hangs on."""
    known = [spec_of(translator, MetadirAsset(metadir, name, job)) for name, job in metadir.jobs.items()]
    names = {spec.key: name for name, spec in zip(metadir.jobs, known, strict=True)}
    given = {spec.key: spec for spec in (*known, *specs(assets))}
    return {
        name: frozenset(names[dep.asset_key] for dep in given[key].deps if dep.asset_key in names)
        for key, name in names.items()
    }


def _is_news(metadir: MetadirConfig, situation: Situation, cursor: Cursor) -> bool:
    """Whether the metadata db, which nobody materializes here, is a new one; not where it is not whole yet."""
    if metadir.generate or situation.is_elsewhere or situation.published in (None, cursor.reported):
        return False
    return situation.not_whole is None and situation.on_its_way is None


def _report_killed(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tell Dagster that a run is over: it would count it as running for ever, also against the limit of its queue."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "This run gave no sign of life any more: its process was killed.")
