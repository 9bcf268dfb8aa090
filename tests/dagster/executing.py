"""Runs a Dagster job of an archive in this process, and reads what the run says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from small_archive import Archive


def execute(
    archive: Archive, instance: dg.DagsterInstance, job: str = "archive_import", **options: Any
) -> dg.ExecuteInProcessResult:
    """One run of a Dagster job of the archive."""
    definition = archive.definitions.resolve_job_def(job)
    return definition.execute_in_process(instance=instance, raise_on_error=False, **options)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
    """What the materialization of an asset says, or the observation of one that brought nothing new."""
    observations = result.asset_observations_for_node(f"archive__{asset}")
    (event,) = result.asset_materializations_for_node(f"archive__{asset}") or observations
    return {name: value.value for name, value in event.metadata.items()}


def observed(instance: dg.DagsterInstance, asset: str) -> Mapping[str, Any]:
    """What the last observation of an asset says, also of a run that failed: such a run's result has none."""
    (record,) = instance.fetch_observations(dg.AssetKey(["archive", asset]), limit=1).records
    assert record.asset_observation is not None
    return {name: value.value for name, value in record.asset_observation.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult, asset: str) -> dg.Failure | Any:
    """The failure of an asset, as the run recorded it."""
    (event,) = [event for event in result.all_node_events if event.is_step_failure and asset in (event.step_key or "")]
    return event.step_failure_data
