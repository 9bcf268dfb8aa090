"""What a project file can say: metadirs, their sensors, schedules and jobs, as checked, frozen models.

``reading`` reads them from ``mmmeta.yaml``; a program may make them itself. Relative paths are taken from the folder in the
validation context, the current one without it. A job is the subject of ``job``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import parse_qsl

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from mmmeta.config.validation import InnerError
from mmmeta.config.yaml_file import KeyPath
from mmmeta.layout import METADIR, SHARED_SCHEMA, is_shared
from mmmeta.masking import shown
from mmmeta.project.base import Model
from mmmeta.project.checks import Checks, ChecksConfig
from mmmeta.project.dagster.fields import Cron, TimeZone
from mmmeta.project.dagster.freshness import SHORTEST, Freshness
from mmmeta.project.dagster.run_tags import RunTags
from mmmeta.project.download_targets import check_download_targets, kept_from_remotes, why_no_target
from mmmeta.project.fields import (
    BasePath,
    Count,
    EmptyIsMapping,
    FilesRoot,
    RemoteBase,
    Shards,
    StatePath,
    WholeSeconds,
    check_name,
)
from mmmeta.project.job import RESERVED_JOBS, JobConfig
from mmmeta.project.syncing import SyncConfig
from mmmeta.target.identity import table_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mmmeta.project.rules import MetadirRules

SHARED_WORK = "work"
"""The name that no job may have where ``shards`` are given: of the Dagster job ``<metadir>_work``."""


class SensorConfig(Model):
    """The Dagster sensor that watches what was synced."""

    enabled: Annotated[bool, Field(description="start it running")] = True
    interval: Annotated[WholeSeconds, Field(description="seconds between two looks")] = 30
    attempts: Annotated[Count, Field(description="runs it asks for before it waits for something new")] = 20
    remote: Annotated[
        RemoteBase | None,
        Field(
            description="the remote's base path, as fsspec URL or path: its store is read too, to say what was published "
            "and is not synced yet",
            repr=False,
        ),
    ] = None


class Schedules(Model):
    """Cron schedules."""

    timezone: Annotated[TimeZone | None, Field(description="of the schedules: Europe/Berlin; UTC unless given")] = None

    generate: Annotated[Cron | None, Field(description="when to look for new metadata files, at a server")] = None
    import_: Annotated[Cron | None, Field(alias="import", description="when to update and run every job")] = None
    checks: Annotated[Cron | None, Field(description="when to run the asset checks, instead of with every run")] = None
    retry: Annotated[Cron | None, Field(description="when to run every job if a failed file is due again")] = None


def _name_jobs(value: Any) -> Any:
    return _named(value, "job")


def _name_metadirs(value: Any) -> Any:
    return _named(value, "metadir")


def _named(entries: Any, what: str) -> Any:
    """Give each entry of a mapping its key as its name."""
    if not isinstance(entries, Mapping):
        return {} if entries is None else entries
    result: dict[Any, Any] = {}
    for key, entry in entries.items():
        if isinstance(entry, Mapping):
            if "name" in entry:
                raise InnerError(f"a {what}'s name is the key above it, {key!r}. Leave this out", (key, "name"))
            entry = {**entry, "name": key}
        elif isinstance(entry, Model) and getattr(entry, "name", key) != key:
            raise ValueError(f"the {what} {getattr(entry, 'name', None)!r} stands under another name, {key!r}")
        result[key] = entry
    return result


class MetadirConfig(Model):
    """A metadir and what is done with it."""

    not_in_file: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str
    path: Annotated[BasePath, Field(description="the folder that holds _mmmeta")]
    files_root: Annotated[FilesRoot | None, Field(description="folder with the metadata files; path, if not given")] = (
        None
    )
    state: Annotated[
        StatePath | None,
        Field(description="the state db: a path, or the URL of a PostgreSQL that machines share", repr=False),
    ] = None
    generate: Annotated[bool, Field(description="true at a server: metadata can be generated here")] = False
    sync: Annotated[
        SyncConfig, EmptyIsMapping, Field(description="where mmmeta itself pulls it from, or pushes it to")
    ] = SyncConfig()
    sensor: Annotated[SensorConfig, EmptyIsMapping, Field(description="the Dagster sensor")] = SensorConfig()
    schedules: Annotated[Schedules, EmptyIsMapping, Field(description="when runs start by the clock")] = Schedules()
    shards: Annotated[
        Shards,
        Field(
            description="Dagster runs that share the jobs' work at the same time, beside the import; 0: it works alone"
        ),
    ] = 0
    run_tags: Annotated[
        RunTags,
        Field(description="Dagster tags of all runs of this metadir: dagster/priority, dagster-k8s/config, ..."),
    ] = {}
    checks: Annotated[Checks, Field(description="what counts as unhealthy; false for no asset checks")] = ChecksConfig()
    freshness: Annotated[
        Freshness | None,
        Field(description="Dagster's freshness policy of state_db and jobs; the lag of checks where that is said"),
    ] = None
    jobs: Annotated[dict[str, JobConfig], BeforeValidator(_name_jobs), Field(description="jobs by name")] = {}
    _project_file: Path | None = PrivateAttr(default=None)

    if TYPE_CHECKING:

        def __init__(self, *, name: str, path: str | os.PathLike[str], **rules: Unpack[MetadirRules]) -> None: ...

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> MetadirConfig:
        self._project_file = (info.context or {}).get("project_file")
        check_name(self.name, "metadir")
        for job in self.jobs:
            if job in RESERVED_JOBS:  # in Python, where nothing is named after a job, m.job("import") is fine
                raise InnerError(
                    f"the name {job!r} is taken by mmmeta itself. Choose another name for the job", ("jobs", job)
                )
        jobs: dict[KeyPath, JobConfig] = {("jobs", name): job for name, job in self.jobs.items()}
        check_download_targets(jobs, states=[self.state_path], project_file=self._project_file)
        if self.sync.documents is not None and self.files_root is not None:
            kept = kept_from_remotes(self.jobs.values(), [self.state_path], self._project_file)
            reason = why_no_target(Path(self.files_root), kept)
            if reason is not None:
                raise InnerError(
                    f"{reason}. Give the documents of sync a folder of their own: ./documents", ("files_root",)
                )
        if self.schedules.generate is not None and not self.generate:
            reason = "nothing can be generated without generate: true. Set it at the server, or leave the schedule out"
            raise InnerError(reason, ("schedules", "generate"))
        if self.schedules.checks is not None and not self.checks.enabled:
            raise InnerError("there are no checks to run: they are switched off", ("schedules", "checks"))
        return self

    @property
    def project_file(self) -> Path | None:
        """The project file that this stands in, absolute; None for one that was made in Python."""
        return self._project_file

    @property
    def state_path(self) -> Path:
        """The state db's file, the usual one unless ``state`` names another."""
        if self.state and not is_shared(self.state):
            return Path(self.state)
        return self.path / METADIR / "local" / "state.db"

    @property
    def state_place(self) -> str:
        """What no two metadirs may have in common: the file, links followed, or the schema of a database, however the URL is
        spelled."""
        if self.state is None or not is_shared(self.state):
            return os.path.realpath(self.state_path)
        schema = dict(parse_qsl(self.state.partition("?")[2])).get("schema", SHARED_SCHEMA)
        return table_name(self.state, schema)

    def freshness_of(self, job: JobConfig | None = None) -> float | None:
        """Within how many seconds the state db, or a job, is expected to be materialized again; None where nobody said.

        ``checks: lag`` says it too, where it is given: its default would call every remote late that rests for a day.
        """
        said: float | None = None
        if self.checks.enabled and "lag" in self.checks.model_fields_set and self.checks.lag >= SHORTEST:
            said = self.checks.lag
        for own in (self.freshness, None if job is None else job.freshness):
            if own is not None:
                said = own or None
        return said

    def shards_of(self, job: JobConfig) -> int:
        """How many runs may share a job's work beside the import; 0 where it works alone, or a condition runs the job."""
        if job.automation is not None:
            return 0
        return self.shards if job.shards is None else job.shards

    @property
    def is_sharded(self) -> bool:
        """Whether any job is shared by several runs."""
        return any(self.shards_of(job) for job in self.jobs.values())

    def command(self, words: str) -> str:
        """A command line about this metadir that works when it is copied, in whatever folder: ``mmmeta … status``."""
        if self._project_file is not None:
            # Jobs and state db come along; the name, because a project file may have several metadirs.
            return f"mmmeta --project {shlex.quote(str(self._project_file))} --metadir {self.name} {words}"
        state = f"MMMETA_STATE={shlex.quote(shown(str(self.state)))} " if self.state else ""
        return f"{state}mmmeta --metadir {shlex.quote(str(self.path))} {words}"


class Project(Model):
    """A project file: which metadirs there are, and the jobs of each."""

    not_in_file: ClassVar[frozenset[str]] = frozenset({"path"})

    path: Annotated[Path, Field(description="the file itself, absolute")]
    version: Annotated[int, Field(description="version of the project file's format")] = 1
    metadirs: Annotated[dict[str, MetadirConfig], BeforeValidator(_name_metadirs), Field(description="by name")]

    @model_validator(mode="after")
    def _check(self) -> Project:
        if self.version != 1:
            reason = f"this mmmeta knows version 1, not {self.version}. Set version: 1"
            raise InnerError(reason, ("version",))
        if not self.metadirs:
            raise InnerError("there is no metadir in it. Add one: archive: {path: ./archive}", ("metadirs",))
        check_names(self.metadirs)
        states: dict[str, str] = {}
        for name, metadir in self.metadirs.items():
            other = states.setdefault(metadir.state_place, name)
            if other != name:
                reason = f"{other!r} and {name!r} have the same state db. Give one of them another state: or path:"
                raise InnerError(reason, ("metadirs", name))
        jobs: dict[KeyPath, JobConfig] = {
            ("metadirs", name, "jobs", job): config
            for name, metadir in self.metadirs.items()
            for job, config in metadir.jobs.items()
        }
        check_download_targets(
            jobs, states=[metadir.state_path for metadir in self.metadirs.values()], project_file=self.path
        )
        return self


def check_names(metadirs: Mapping[str, MetadirConfig]) -> None:
    """Dagster jobs are called ``metadir_job``, ops ``metadir__job`` and ``metadir__job__checks``: no two may come out the
    same."""
    taken: dict[str, tuple[str, str]] = {}
    for name, metadir in metadirs.items():
        if metadir.is_sharded and SHARED_WORK in metadir.jobs:
            reason = f"with shards, {name}_{SHARED_WORK} is what the runs do that share the work. Choose another name for the job"
            raise InnerError(reason, ("metadirs", name, "jobs", SHARED_WORK))
        for job in (*RESERVED_JOBS, *([SHARED_WORK] if metadir.is_sharded else ()), *metadir.jobs):
            for full in (f"{name}_{job}", f"{name}__{job}", f"{name}__{job}__checks"):
                other, other_job = taken.setdefault(full, (name, job))
                if (other, other_job) != (name, job):
                    both = f"{other_job!r} of {other!r} and {job!r} of {name!r}"
                    own = job in metadir.jobs or other_job not in metadirs[other].jobs
                    blame = (name, job) if own else (other, other_job)
                    below = ("metadirs", blame[0], "jobs", blame[1])
                    raise InnerError(f"{both} would both be {full} in Dagster. Rename one of them", below)
