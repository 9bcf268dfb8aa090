"""Work that is due here, whatever the remote does: a retry, a rest left by a limit, an ended lease, a job that is new or changed,
a selection that nobody has evaluated lately. Also how a job stands, in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mmmeta.state.status import JobStatus
from mmmeta_dagster.runs import FRESH
from mmmeta_dagster.sensor.situation import JobWanted, Situation
from mmmeta_dagster.shown.wording import clock_text, files, retries

LOOK_AGAIN = timedelta(hours=1)
"""How often a selection that files enter merely because time passes is evaluated when nothing else happens."""

GATHER_RETRIES = timedelta(minutes=1)
"""How long the retries of a job are gathered once the first one is due. Files that failed together fall due one after the
other (their pauses are jittered); each would be a run of its own."""


def due_jobs(situation: Situation, now: datetime) -> Iterator[tuple[str, str]]:
    """The jobs that have something to do, and what."""
    merged = situation.merged
    if merged is None:
        return
    for name, wanted in situation.jobs.items():
        why = _due(wanted, merged.jobs.get(name), merged.state_revision, situation, now)
        if why is not None:
            yield name, why


def _due(
    wanted: JobWanted, seen: JobStatus | None, state_revision: int, situation: Situation, now: datetime
) -> str | None:
    if seen is None:
        return "the job is new"
    if seen.fingerprint != wanted.fingerprint:
        return "the job was changed"
    if seen.pending:  # what is due beyond that are retries
        return f"{files(max(seen.due, seen.pending))} due"
    if seen.earliest_due is not None and _gathered_until(seen) <= now:
        return f"{retries(seen.due_later)} due again since {clock_text(seen.earliest_due)}"
    if seen.claimed and (why := _abandoned(seen, situation, now)) is not None:
        return f"{files(seen.claimed)} claimed by {why}"
    if seen.evaluated < state_revision:
        return "files were merged or saved since its selection was evaluated"
    if wanted.grows_with_time and (seen.evaluated_at is None or now - seen.evaluated_at >= LOOK_AGAIN):
        return "files may have entered the selection as time passed"
    return None


def _gathered_until(seen: JobStatus) -> datetime:
    """When to ask for a job's retries: a while after the first one is due, or at once where it is the only one."""
    assert seen.earliest_due is not None
    return seen.earliest_due + (GATHER_RETRIES if seen.due_later > 1 else timedelta())


def _abandoned(seen: JobStatus, situation: Situation, now: datetime) -> str | None:
    """By whom files are claimed that nobody works on any more, None where somebody may."""
    run = next((run for run in (*situation.runs, *situation.helpers) if run.run_id == seen.run_id), None)
    if run is not None and run.phase.ended:
        return f"run {run.name}, which is over"
    if run is not None and run.at_work is not None:
        return None if run.at_work else f"run {run.name}, whose process is gone"
    if seen.lease_until is None or seen.lease_until <= now:
        return "a worker whose lease ended"
    # Where any worker is known to live they may be its own, and it is silent because a file holds its threads up.
    if not situation.somebody_works and (seen.heartbeat is None or now - seen.heartbeat > FRESH):
        return "a worker that gave no sign of life" + (f" since {clock_text(seen.heartbeat)}" if seen.heartbeat else "")
    return None


def standing(seen: JobStatus, now: datetime) -> str:
    """How the files of a job stand, and what comes next."""
    words = [f"{seen.done} done"]
    if seen.claimed:
        words.append(f"{seen.claimed} claimed" + (f" until {clock_text(seen.lease_until)}" if seen.lease_until else ""))
    if seen.failed:
        words.append(f"{seen.failed} failed")
    if seen.postponed:
        words.append(f"{seen.postponed} waiting for web servers")
    if seen.earliest_due is not None and _gathered_until(seen) > now:
        words.append(f"next retry at {clock_text(_gathered_until(seen))}")
    if seen.dead:
        words.append(f"{seen.dead} dead, waiting for a person")
    return ", ".join(words)
