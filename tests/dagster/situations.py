"""Situations, runs and cursors for the tests of the sensor's decision, and what a decision has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from mmmeta.state.status import JobStatus, Status
from mmmeta_dagster.runs import Phase, RunView
from mmmeta_dagster.sensor.decision import Decision, decide
from mmmeta_dagster.sensor.situation import Cursor, JobWanted, Situation

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
OLD = "2026-05-04T10:00:00+00:00"
NEW = "2026-05-04T11:59:00+00:00"
SECOND = timedelta(seconds=1)


def seen(**changes: object) -> JobStatus:
    """A job that has done all its files, and was evaluated over all of them (no state revision here is above 9)."""
    return replace(JobStatus("f1", done=12, evaluated=9), **changes)  # type: ignore[arg-type]


def status(
    published: str | None,
    metadata_id: str | None = None,
    revision: int | None = None,
    digest: str | None = None,
    state_revision: int = 0,
    jobs: Mapping[str, JobStatus] | None = None,
    metadata_file: str | None = None,
) -> Status:
    """What status.json says."""
    return Status(
        "state",
        metadata_id,
        revision,
        digest,
        published,
        state_revision,
        NOW,
        dict(jobs or {}),
        metadata_file=metadata_file,
    )


def situation(
    published: str | None = OLD, job: JobStatus | None = None, merged: Status | str | None = "merged", **changes: object
) -> Situation:
    """A metadir of which everything is merged and done, unless told otherwise."""
    jobs = {"download": job or seen()}
    found = status(OLD, "id", 7, "d7", 3, jobs) if merged == "merged" else merged
    base = Situation("archive", published, found, jobs={"download": JobWanted("f1")}, seen="s1")  # type: ignore[arg-type]
    return replace(base, **changes)  # type: ignore[arg-type]


def run(phase: Phase, age: float, **changes: object) -> RunView:
    """A run that was made ``age`` seconds ago, and began and ended at once if its phase says so."""
    created = NOW - age * SECOND
    started = created if phase not in (Phase.QUEUED, Phase.STARTING) else None
    ended = created if phase.ended else None
    base = RunView("0123456789abcdef", phase, created, started, ended, run_key="k")
    return replace(base, **changes)  # type: ignore[arg-type]


def asked(where: Situation, attempt: int = 1, ago: float = 10) -> Cursor:
    """The cursor after the situation was asked for."""
    return Cursor(where.mark, attempt, NOW - ago * SECOND, "k", asks=attempt)


def ask(where: Situation, cursor: Cursor | None = None, now: datetime = NOW) -> Decision:
    """The decision, which has to be an ask."""
    decision = decide(where, cursor or Cursor(), now)
    assert decision.run_key is not None, decision.reason
    assert decision.reason.endswith(".")
    return decision


def skip(where: Situation, cursor: Cursor | None = None, now: datetime = NOW) -> Decision:
    """The decision, which has to be a skip with a reason."""
    decision = decide(where, cursor or Cursor(), now)
    assert decision.run_key is None, decision.reason
    assert len(decision.reason) > 20
    return decision
