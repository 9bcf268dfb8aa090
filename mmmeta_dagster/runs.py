"""Dagster's runs of a metadir as sensor and schedules look at them: how far each is, and whether it lives.

Dagster calls a killed run "started" for ever, so a run counts as alive only if a step of it holds its lock, or, where no lock
tells, if it gave a sign of life lately (see ``mmmeta.state.signs``). All times are aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

import dagster as dg

from mmmeta.clock import utcnow
from mmmeta.project import MetadirConfig
from mmmeta.state.open import read_signs
from mmmeta.state.signs import Signs
from mmmeta.state.status import Status
from mmmeta_dagster import keys
from mmmeta_dagster.files_seen import layout_of

FRESH = timedelta(seconds=30)
"""A started run whose last sign of life is older counts as killed where no lock tells more, and so does a worker that has
claimed files: three missed beats of the ledger, six of ``heartbeat``. Shorter: a busy machine's runs are doubled (the ledger's claims keep
that harmless); longer: a killed run is followed later."""

STARTING = timedelta(minutes=3)
"""How long a run may take from being handed to its launcher to its start before it counts as killed."""

WARM_UP = timedelta(minutes=2)
"""How long a started run may take to its first sign of life; usually it is a second."""

LATEST = 25
"""Runs looked at. Enough to find one that is alive behind killed ones, which stay unfinished in Dagster for ever."""


class Phase(Enum):
    """How far a Dagster run is, as far as anybody here needs to know."""

    QUEUED = "queued"
    STARTING = "starting"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED)


@dataclass(frozen=True)
class RunView:
    """One run of a Dagster job of a metadir.

    Attributes:
        run_id: Dagster's id.
        phase: how far it is.
        created: when Dagster made it.
        started: when its process began, None before.
        ended: when it ended, None before.
        alive_at: its last sign of life (heartbeat), None where there was none.
        behind: the last sign of life of any other run of the state db, whose slot in the pool this one may wait for, None
            where there was none.
        at_work: whether a step of it holds its lock; False where it is certain that its process is gone, None where nobody
            can tell.
        run_key: of the request it came from, None where a person started it.
        not_whole: what it found wrong with the metadir, None where it found nothing wrong.
        seen: the mark of the metadir's files when it looked (see ``files_seen``).
        shard: which of the runs it is that share the work; None for any other run, and for one that a person started.
        jobs: those that it helps with; none where it says nothing of them.
        out_of_sight: whether its disk is another machine's, so that no sign of life could be seen from here.
        pull_failed: why it could not pull what the remote has published, None where nothing failed there.
    """

    run_id: str
    phase: Phase
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    alive_at: datetime | None = None
    behind: datetime | None = None
    at_work: bool | None = None
    run_key: str | None = None
    not_whole: str | None = None
    seen: str | None = None
    shard: int | None = None
    jobs: tuple[str, ...] = ()
    out_of_sight: bool = False
    pull_failed: str | None = None

    @property
    def name(self) -> str:
        """As Dagster's UI abbreviates it."""
        return self.run_id[:8]

    @property
    def last_sign(self) -> datetime:
        """The latest moment of which something is known about this run."""
        return max(moment for moment in (self.created, self.started, self.ended, self.alive_at) if moment is not None)

    def is_alive(self, now: datetime) -> bool:
        """Whether it is to be waited for. A queued run is held by Dagster's queue and cannot die."""
        if self.phase.ended:
            return False
        if self.phase is Phase.QUEUED:
            return True
        if self.at_work is not None:
            return self.at_work
        if self.out_of_sight:
            return True  # what becomes of it, only Dagster can tell
        if self.phase is Phase.STARTING:
            return now - self.last_sign <= STARTING
        # A step that waits for the pool's slot gives no sign of life itself.
        since = self.last_sign if self.behind is None else max(self.last_sign, self.behind)
        has_begun = self.alive_at is not None and self.alive_at >= self.created
        return now - since <= (FRESH if has_begun else WARM_UP)


_PHASES = {
    dg.DagsterRunStatus.QUEUED: Phase.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED: Phase.STARTING,
    dg.DagsterRunStatus.STARTING: Phase.STARTING,
    dg.DagsterRunStatus.SUCCESS: Phase.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: Phase.FAILED,
    dg.DagsterRunStatus.CANCELED: Phase.CANCELED,
}
"""Any other status (and Dagster gains new ones) is some way of having started."""


def runs_of(
    instance: dg.DagsterInstance,
    dagster_job: str,
    metadir: MetadirConfig,
    signs: Signs | None = None,
    status: Status | None = None,
    *,
    limit: int = LATEST,
) -> list[RunView]:
    """The latest runs of a Dagster job of a metadir, newest first.

    Args:
        signs: read now unless given.
        status: what they say of the jobs, where that counts as a sign of life as well.

    Raises:
        MmmetaError: the state is in a database that cannot be asked.
    """
    signs = signs or read_signs(layout_of(metadir), utcnow)
    wanted = dg.RunsFilter(job_name=dagster_job, tags={keys.TAG_PATH: str(metadir.path)})
    records = instance.get_run_records(wanted, limit=limit)
    return [_view(record, signs, status, is_watched=_watches(instance)) for record in records]


def helpers_of(
    instance: dg.DagsterInstance, metadir: MetadirConfig, signs: Signs | None = None, status: Status | None = None
) -> list[RunView]:
    """The latest runs that share the work of a metadir, newest first; none where it has no shards."""
    most = max((metadir.shards_of(job) for job in metadir.jobs.values()), default=0)
    name = keys.work_job(metadir.name)
    return runs_of(instance, name, metadir, signs, status, limit=LATEST + 2 * most) if most else []


def _watches(instance: dg.DagsterInstance) -> bool:
    """Whether Dagster itself looks if the processes of runs live, as it does for containers and pods: then they may be on another
    host. Its default launcher cannot be asked."""
    if not instance.run_monitoring_enabled:
        return False
    try:
        return instance.run_launcher.supports_check_run_worker_health
    # Of whatever type: the package of a launcher for containers need not be installed where code is loaded.
    except Exception:
        return True


def _shard(tag: str | None) -> int | None:
    _, slash, number = (tag or "").rpartition("/")
    return int(number) if slash and number.isdecimal() else None


def _view(record: dg.RunRecord, signs: Signs, status: Status | None, *, is_watched: bool) -> RunView:
    run = record.dagster_run
    phase = _PHASES.get(run.status, Phase.STARTED)
    created = record.create_timestamp
    alive_at = None if phase.ended else _alive_at(run.run_id, signs, status)
    return RunView(
        run_id=run.run_id,
        phase=phase,
        created=created if created.tzinfo else created.replace(tzinfo=timezone.utc),
        behind=None if phase.ended else signs.latest_beat(run.run_id),
        at_work=None if phase.ended else signs.is_at_work(run.run_id),
        started=_moment(record.start_time),
        ended=_moment(record.end_time),
        alive_at=alive_at,
        run_key=run.tags.get(keys.TAG_RUN_KEY),
        not_whole=run.tags.get(keys.TAG_NOT_WHOLE),
        seen=run.tags.get(keys.TAG_SEEN),
        shard=_shard(run.tags.get(keys.TAG_SHARD)),
        jobs=tuple(filter(None, run.tags.get(keys.TAG_JOBS, "").split(", "))),
        # Between two steps on another machine only Dagster knows.
        out_of_sight=is_watched and (alive_at is None or signs.are_shared),
        pull_failed=run.tags.get(keys.TAG_PULL_FAILED),
    )


def _alive_at(run_id: str, signs: Signs, status: Status | None) -> datetime | None:
    """The run's last sign of life: its own heartbeat, or that of a job which it runs, as status.json has it."""
    beats = [signs.last_beat(run_id)]
    if status is not None:
        beats += [job.heartbeat for job in status.jobs.values() if job.run_id == run_id]
    return max((beat for beat in beats if beat is not None), default=None)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc)
