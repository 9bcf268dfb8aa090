"""Freshness policies: from ``freshness``, or from the lag of the checks where it is said."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from small_archive import Archive

from mmmeta.errors import ProjectError
from mmmeta.project import MetadirConfig, load_project
from mmmeta_dagster import build_definitions, mmmeta_asset

JOBS = "jobs: {look: {command: {run: [ls]}}, slow: {command: {run: [ls]}%s}}"


def windows(archive: Archive, metadir: str = "", slow: str = "") -> dict[str, float | None]:
    """Asset → seconds within which it has to be new."""
    archive.configure(f"version: 1\nmetadirs:\n  archive:\n    path: ./client\n    {metadir}\n    {JOBS % slow}\n")
    definitions = build_definitions(metadirs=load_project(archive.project).metadirs)
    return {spec.key.path[-1]: window(spec.freshness_policy) for spec in definitions.resolve_all_asset_specs()}


def window(policy: Any) -> float | None:
    return None if policy is None else policy.fail_window.to_timedelta().total_seconds()


@pytest.mark.parametrize(
    ("metadir", "slow", "expected"),
    [
        ("", "", [None, None, None]),  # nobody said how often the remote publishes
        ("checks: {severity: error}", "", [None, None, None]),
        ("checks: false", "", [None, None, None]),
        ("checks: {lag: 6h}", "", [21600, 21600, 21600]),
        ("checks: {lag: 1s}", "", [None, None, None]),  # shorter than what Dagster takes
        ("freshness: 2d", "", [172800, 172800, 172800]),
        ("freshness: 2d", ", freshness: 7d", [172800, 172800, 604800]),
        ("freshness: 2d", ", freshness: false", [172800, 172800, None]),
        ("", ", freshness: 90", [None, None, 90]),
        ("freshness: false\n    checks: {lag: 6h}", "", [None, None, None]),
        ("freshness: 1h\n    checks: {lag: 6h}", "", [3600, 3600, 3600]),
    ],
)
def test_what_is_said_is_a_policy(
    empty_archive: Archive, metadir: str, slow: str, expected: list[float | None]
) -> None:
    found = windows(empty_archive, metadir, slow)
    assert [found["state_db"], found["look"], found["slow"]] == expected
    assert found["metadata_db"] is None  # arrives; the sensor tells when


@pytest.mark.parametrize(
    ("value", "reason"),
    [("59s", "at least a minute"), ("true", "needs a time, as in 1d, or false"), ("soon", "freshness:")],
)
def test_what_cannot_be_is_named(empty_archive: Archive, value: str, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason):
        windows(empty_archive, slow=f", freshness: {value}")
    with pytest.raises(ProjectError, match=reason):
        windows(empty_archive, metadir=f"freshness: {value}")


def test_a_job_made_in_python_has_one(archive: Archive) -> None:
    metadir: MetadirConfig = archive.config

    @mmmeta_asset(metadir=metadir, freshness="1h")
    def read(file: Any) -> None: ...

    (spec,) = read.specs
    assert window(spec.freshness_policy) == 3600


def test_the_policy_changes_nothing_about_runs(archive: Archive, instance: dg.DagsterInstance) -> None:
    archive.configure(archive.project.read_text().replace("sensor:", "freshness: 1h\n    sensor:"))
    assert archive.definitions.resolve_job_def("archive_import").execute_in_process(instance=instance).success
