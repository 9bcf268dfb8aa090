"""What was merged and done outside of Dagster, by ``mmmeta run`` or a script of one's own, as materializations.

Else the asset graph would call the state db out of date until an import, and a job's files undone, although all is there. It
is told from status.json, when nobody works any more, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from mmmeta.project import JobConfig, MetadirConfig
from mmmeta.state.status import JobStatus, Status
from mmmeta_dagster import keys
from mmmeta_dagster.assets.publications import data_version_of, materialization, upstream_of_update
from mmmeta_dagster.assets.versions import tags_of_last
from mmmeta_dagster.runs import FRESH
from mmmeta_dagster.sensor.situation import Situation
from mmmeta_dagster.shown import reporting
from mmmeta_dagster.shown.markdown import command
from mmmeta_dagster.syncing import pulls
from mmmeta_dagster.translator import DagsterMmmetaTranslator, MetadirAsset, key_of

OUTSIDE = "outside of Dagster"
AFTERWARDS = "by runs that shared the work, when the import had told of it already"

_RUN, _EVALUATED = 0, 1
"""Places in a job's mark: who worked on it, and up to where its selection was evaluated; counts of files follow."""


def told_outside(
    instance: dg.DagsterInstance,
    metadir: MetadirConfig,
    translator: DagsterMmmetaTranslator,
    situation: Situation,
    told: Mapping[str, str],
    now: datetime,
) -> tuple[list[dg.AssetMaterialization], dict[str, str]]:
    """What Dagster is to be told, and what it was told then: name of the asset → a mark of how it stood.

    Args:
        told: the marks as they were; none where nobody remembers.
    """
    status, marks = situation.merged, dict(told)
    if status is None or status.revision is None or situation.state_problem is not None or _is_busy(situation, now):
        return [], marks
    state_db = key_of(translator, MetadirAsset(metadir, keys.STATE_DB))
    version = f"{status.metadata_id}-{status.digest}"
    events: list[dg.AssetMaterialization] = []
    if told.get(keys.STATE_DB) != version:
        marks[keys.STATE_DB] = version
        if tags_of_last(instance, state_db).get(keys.TAG_DATA_VERSION) != version:
            events += _of_pull(instance, metadir, translator, status)
            events.append(_of_state_db(metadir, translator, state_db, status, version))
    for name, job in metadir.jobs.items():
        seen = status.jobs.get(name)
        if seen is None:
            continue
        mark = [seen.run_id, seen.evaluated, seen.done, seen.failed, seen.dead, seen.skipped]
        marks[name] = json.dumps(mark)
        key = key_of(translator, MetadirAsset(metadir, name, job))
        run = None if seen.run_id is None else instance.get_run_by_id(seen.run_id)
        late = run is not None and run.job_name == keys.work_job(metadir.name)
        if told.get(name) == marks[name] or (run is not None and not (late and _is_untold(instance, key, seen))):
            continue
        last = tags_of_last(instance, key)
        before = json.loads(told[name]) if name in told else None
        if not (late or (_is_unheard_of(seen, last) if before is None else _is_news(mark, before))):
            continue
        did = late or before is None or mark[_EVALUATED + 1 :] != before[_EVALUATED + 1 :]
        now_at = hashlib.blake2b(marks[name].encode(), digest_size=8).hexdigest()
        of_job = now_at if did else last.get(keys.TAG_DATA_VERSION, now_at)
        how = AFTERWARDS if late else OUTSIDE
        events.append(
            _of_job(metadir, job, key, seen, how, {keys.TAG_DATA_VERSION: of_job, _made_of(state_db): version})
        )
    return events, marks


def _is_busy(situation: Situation, now: datetime) -> bool:
    """Whether a run may be about to tell of itself, or somebody is in the middle of it."""
    beat = situation.latest_beat
    return (
        situation.somebody_works
        or any(run.is_alive(now) for run in (*situation.runs, *situation.helpers))
        or (beat is not None and now - beat <= FRESH)
    )


def _is_untold(instance: dg.DagsterInstance, key: dg.AssetKey, seen: JobStatus) -> bool:
    """Of a job on which a run has worked last that shared the work: whether it went on when the import, which tells of all, had
    told already. Then the numbers are not those that the asset's page shows."""
    event = instance.get_latest_materialization_event(key)
    last = None if event is None else event.asset_materialization
    said = {} if last is None else {name: value.value for name, value in last.metadata.items()}
    return any(said.get(name) != number for name, number in reporting.standing_numbers(seen).items())


def _is_unheard_of(seen: JobStatus, last: Mapping[str, str]) -> bool:
    """Where nobody remembers: whether a job has done something and Dagster has never heard of it."""
    return bool(seen.done) and not last


def _is_news(mark: list[Any], before: list[Any]) -> bool:
    """Whether files were worked on, or looked for in what is new; not where somebody else has only evaluated the selection."""
    return mark[_EVALUATED + 1 :] != before[_EVALUATED + 1 :] or (
        mark[_RUN] != before[_RUN] and mark[_EVALUATED] != before[_EVALUATED]
    )


def _of_pull(
    instance: dg.DagsterInstance, metadir: MetadirConfig, translator: DagsterMmmetaTranslator, status: Status
) -> list[dg.AssetMaterialization]:
    """That what was merged was pulled before, where runs do that and none has."""
    published = status.remote_last_updated
    if published is None or not pulls(metadir):
        return []
    key = key_of(translator, MetadirAsset(metadir, keys.SYNCED))
    if tags_of_last(instance, key).get(keys.TAG_DATA_VERSION) == data_version_of(published):
        return []
    event = materialization(metadir, translator, published, keys.SYNCED)
    return [] if event is None else [event]


def _of_state_db(
    metadir: MetadirConfig, translator: DagsterMmmetaTranslator, key: dg.AssetKey, status: Status, version: str
) -> dg.AssetMaterialization:
    published = status.remote_last_updated
    upstream = [key_of(translator, MetadirAsset(metadir, name)) for name in upstream_of_update(metadir)]
    made_of = {} if published is None else {_made_of(one): data_version_of(published) for one in upstream}
    return dg.AssetMaterialization(
        key,
        description="Merged outside of Dagster; this is what was found here.",
        metadata={
            keys.META_SUMMARY: f"revision {status.revision} was merged outside of Dagster",
            keys.META_SEE_MORE: command(metadir, "status"),
            keys.META_REVISION: status.revision,
        },
        tags={keys.TAG_DATA_VERSION: version, **made_of},
    )


def _of_job(
    metadir: MetadirConfig, job: JobConfig, key: dg.AssetKey, seen: JobStatus, how: str, tags: Mapping[str, str]
) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        description=f"Done {how}; this is what was found here.",
        metadata=reporting.of_outside(seen, how, reporting.Commands.about(metadir, job.name)),
        tags=dict(tags),
    )


def _made_of(key: dg.AssetKey) -> str:
    return f"{keys.TAG_INPUT_DATA_VERSION}/{key.to_user_string()}"
