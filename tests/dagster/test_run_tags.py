"""``run_tags`` and the schedules' ``timezone``: from the project file to Dagster's runs, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
from executing import execute
from small_archive import Archive

from mmmeta.errors import JobError, ProjectError
from mmmeta.project import job_config, json_schema, load_project
from mmmeta_dagster import keys

TAGGED = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    run_tags: {dagster/priority: -1, team: documents}
    schedules: {import: "0 3 * * *", retry: "@hourly", timezone: Europe/Berlin}
    jobs:
      look:
        where: {document_type: letter}
        call: {function: "dagster_test_actions:look"}
        run_tags:
          dagster/priority: 5
          dagster/max_runtime: 3600
          dagster-k8s/config: {container_config: {resources: {limits: {memory: 2Gi}}}}
      nightly:
        call: {function: "dagster_test_actions:look"}
        automation: on_cron("0 3 * * *")
        run_tags: {dagster/max_runtime: 60}
      daily:
        call: {function: "dagster_test_actions:look"}
        automation: on_cron("0 4 * * *")
"""


@pytest.mark.parametrize("partitions", ["", "partitions: {by: document_type}"])
def test_run_tags_are_on_the_runs_that_they_are_for(
    archive: Archive, instance: dg.DagsterInstance, partitions: str
) -> None:
    """The metadir's on all of them, a job's on its own, where they come first."""
    archive.configure(TAGGED.replace("where: {document_type: letter}", partitions or "where: {document_type: letter}"))
    if partitions:
        instance.add_dynamic_partitions("archive/look/document_type", ["letter"])
    single = execute(archive, instance, "archive_look", **({"partition_key": "letter"} if partitions else {}))
    tags = single.dagster_run.tags
    assert (tags["dagster/priority"], tags["dagster/max_runtime"], tags["team"]) == ("5", "3600", "documents")
    limits = json.loads(tags["dagster-k8s/config"])["container_config"]["resources"]["limits"]
    assert limits == {"memory": "2Gi"}
    assert tags[keys.TAG_METADIR] == "archive"
    for job in ("archive_import", "archive_update", "archive_checks"):
        tags = execute(archive, instance, job).dagster_run.tags
        assert (tags["dagster/priority"], tags["team"]) == ("-1", "documents")
        assert "dagster/max_runtime" not in tags


def test_conditions_give_their_runs_the_same_tags(archive: Archive) -> None:
    """By one sensor, and one for each job that has tags of its own."""
    archive.configure(TAGGED)
    definitions = archive.definitions
    dg.Definitions.validate_loadable(definitions)
    common: Any = definitions.resolve_sensor_def("archive_automation")
    own: Any = definitions.resolve_sensor_def("archive_nightly_automation")
    assert common.run_tags == {"dagster/priority": "-1", "team": "documents"}
    assert own.run_tags == {"dagster/priority": "-1", "team": "documents", "dagster/max_runtime": "60"}


def test_schedules_have_a_time_zone(archive: Archive) -> None:
    """All of them; UTC, which is Dagster's own, where none is given."""
    archive.configure(TAGGED)
    zones = {one.name: one.execution_timezone for one in archive.definitions.schedules or () if hasattr(one, "name")}
    assert zones == {"archive_import_schedule": "Europe/Berlin", "archive_retry_schedule": "Europe/Berlin"}
    archive.configure(TAGGED.replace(", timezone: Europe/Berlin", ""))
    assert {one.execution_timezone for one in archive.definitions.schedules or () if hasattr(one, "name")} <= {
        None,
        "UTC",
    }


@pytest.mark.parametrize(
    ("before", "after", "key", "reason"),
    [
        (
            "max_runtime: 3600",
            "max_runtime: 1h",
            'jobs.look.run_tags["dagster/max_runtime"]',
            "'1h' is no number of seconds",
        ),
        ("max_runtime: 3600", "max_runtime: 0", 'jobs.look.run_tags["dagster/max_runtime"]', "no number of seconds"),
        ("max_runtime: 3600", "max_runtime:", 'jobs.look.run_tags["dagster/max_runtime"]', "is empty"),
        ("priority: 5", "priority: high", 'jobs.look.run_tags["dagster/priority"]', "'high' is no whole number"),
        ("priority: -1", "priority: 1.5", 'run_tags["dagster/priority"]', "1.5 is no whole number"),
        ("team: documents", "mmmeta/metadir: x", 'run_tags["mmmeta/metadir"]', "is set by mmmeta or Dagster itself"),
        (
            "team: documents",
            "dagster/partition: x",
            'run_tags["dagster/partition"]',
            "is set by mmmeta or Dagster itself",
        ),
        ("team: documents", "a b: x", "run_tags", "cannot be a Dagster tag"),
        ("team: documents", "since: 2026-01-01", "run_tags.since", "Quote a date"),
        ("{container_config: {resources: {limits: {memory: 2Gi}}}}", "big", "k8s/config", "needs a mapping"),
        ("Europe/Berlin", "Berlin", "schedules.timezone", "'Berlin' is no time zone"),
    ],
)
def test_what_dagster_would_take_without_a_word_is_named(
    archive: Archive, before: str, after: str, key: str, reason: str
) -> None:
    """With file, line and key."""
    assert before in TAGGED
    archive.configure(TAGGED.replace(before, after))
    with pytest.raises(ProjectError) as caught:
        load_project(archive.project)
    assert f"{archive.project}:" in str(caught.value)
    assert key in str(caught.value)
    assert reason in str(caught.value)


def test_run_tags_make_no_file_due_again_and_stand_in_the_schema() -> None:
    """They are about how Dagster runs a job, and not about what it does."""
    assert job_config("a", run_tags={"team": "x"}).fingerprint() == job_config("a").fingerprint()
    with pytest.raises(JobError, match="no number of seconds"):
        job_config("a", run_tags={"dagster/max_runtime": "soon"})
    definitions = json_schema()["$defs"]
    assert definitions["JobConfig"]["properties"]["run_tags"]["type"] == "object"
    assert "timezone" in definitions["Schedules"]["properties"]
