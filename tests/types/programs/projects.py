# pyright: strict
"""Project files read and made in Python: every name of ``mmmeta.project``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from mmmeta import JobConfig, Metadir, MetadirConfig, Project, find_project, load_project
from mmmeta.project import (
    RESERVED_JOBS,
    CallAction,
    CommandAction,
    DownloadAction,
    Limit,
    LoadAction,
    Schedules,
    SensorConfig,
    SyncConfig,
    Variables,
    check_names,
    job_config,
    json_schema,
    metadir_schema,
    project_problem,
    schema_text,
)

path = find_project()
assert_type(path, Path | None)
project = load_project("mmmeta.yaml")
assert_type(project, Project)
archive = project.metadirs["archive"]
assert_type(archive, MetadirConfig)
job = archive.jobs["download_contracts"]
assert_type(job, JobConfig)
assert_type(job.action, DownloadAction | LoadAction | CallAction | CommandAction | None)
assert_type(job.limit, Limit | None)
assert_type(job.backoff, float)
assert_type(archive.schedules, Schedules)
assert_type(archive.sensor.interval, int)
assert_type(archive.sync, SyncConfig)
assert_type(archive.sync.pull, str | None)

with Metadir.from_config(archive) as m:
    assert_type(m, Metadir)
    m.job(job).run()
    m.job("download_contracts").run()

extract = job_config("extract", {"extension": "pdf"}, attempts=3, backoff="5m", once_per="content_hash")
assert_type(extract, JobConfig)
given: dict[str, Any] = {"attempts": 3}
assert_type(job_config("by_words", **given), JobConfig)

made = MetadirConfig(
    name="archive",
    path="/data/archive",
    state=Path("/data/state.db"),
    schedules={"import": "0 3 * * *", "timezone": "Europe/Berlin"},
    checks={"severity": "error", "lag": "6h"},
    sensor=SensorConfig(interval=60),
    sync=SyncConfig(pull="s3://bucket/archive"),
    freshness="1d",
    jobs={
        "fetch": {"download": {"to": "./downloads"}},
        "extract": extract,
        "table": JobConfig(
            name="table",
            where={"document_type": "contract"},
            load={"to": "sqlite:///documents.db", "table": "documents"},
            partitions={"by": "retrieved_at", "every": "day", "start": "2024-01-01"},
            lease="10m",
            kinds=["sqlite"],
            owners=("team:documents",),
        ),
    },
)
quiet = MetadirConfig(name="quiet", path=Path("/data/quiet"), checks=False, sensor={"enabled": False})
check_names({"archive": made, "quiet": quiet})
assert_type(project_problem(path, ("metadirs", "archive", "path"), "is not there").reason, str)
assert_type(json_schema(), dict[str, Any])
assert_type(metadir_schema(), dict[str, Any])
assert_type(schema_text(), str)
print("import" in RESERVED_JOBS)
assert_type(Variables().fill("{{ env.NAME }}"), Any)
