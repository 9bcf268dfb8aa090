"""``freshness`` of the project file as Dagster's policy, which the UI shows where its instance has freshness enabled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mmmeta.project import JobConfig, MetadirConfig

try:
    from dagster import FreshnessPolicy
except ImportError:  # 1.11 has it here
    from dagster.preview.freshness import FreshnessPolicy


def freshness_policy(metadir: MetadirConfig, job: JobConfig | None = None) -> Any:
    """The policy of the state db, or of a job; None where nobody said within which time it shall be new."""
    seconds = metadir.freshness_of(job)
    return None if seconds is None else FreshnessPolicy.time_window(fail_window=timedelta(seconds=seconds))
