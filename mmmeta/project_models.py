"""What a project file can say: metadirs, their jobs, and the rules of each, as checked, frozen models.

``project`` reads them from ``mmmeta.yaml``; a program may make them itself, and ``job_config`` does it with plain
errors. Relative paths are taken from the folder in the validation context, the current one without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from mmmeta import filters
from mmmeta.config.validation import InnerError, reason_of
from mmmeta.errors import JobError, near_misses
from mmmeta.layout import METADIR
from mmmeta.project_actions import PROTOCOLS, CallAction, CommandAction, DownloadAction, LoadAction
from mmmeta.project_checks import Checks, ChecksConfig
from mmmeta.project_fields import (
    AssetPath,
    Automation,
    BasePath,
    Count,
    Cron,
    Duration,
    EmptyIsList,
    EmptyIsMapping,
    FilesRoot,
    Group,
    Kinds,
    Lease,
    OrderBy,
    Owner,
    RemoteBase,
    RerunOn,
    Share,
    Size,
    StatePath,
    TagKey,
    TagText,
    Timeout,
    Where,
    WholeSeconds,
    check_name,
)
from mmmeta.project_partitions import PartitionsConfig

RESERVED_JOBS = ("metadata_db", "state_db", "synced", "generate", "update", "import", "checks")
"""Names that Dagster assets and jobs of mmmeta's own have."""

ACTIONS = ("download", "load", "call", "command")
"""The keys of a job that say what it does; one of them."""


class _Model(BaseModel):
    """Unknown keys are errors, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_in_file: ClassVar[frozenset[str]] = frozenset()


class Limit(_Model):
    """How much one run does at most; the rest waits for the next."""

    files: Annotated[Count | None, Field(description="at most so many files a run")] = None
    bytes: Annotated[Size | None, Field(description="at most so much a run: 500MB, 10GB")] = None

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if self.files is None and self.bytes is None:
            raise ValueError("a limit needs files, bytes or both: {files: 1000, bytes: 10GB}")
        return self


class JobConfig(_Model):
    """A job: which files, what to do with them, by which rules.

    A job of a project file has exactly one action; one made in Python may have none and gets its function when it
    runs. Durations are seconds.
    """

    not_in_file: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str
    where: Annotated[Where, Field(description="which files: key: value, key: [values], key: {operator: value}")] = {}
    download: Annotated[DownloadAction | None, Field(description="fetch each document into a folder")] = None
    load: Annotated[LoadAction | None, Field(description="write the metadata into an SQL database")] = None
    call: Annotated[CallAction | None, Field(description="call a Python function with each file")] = None
    command: Annotated[CommandAction | None, Field(description="run a program with each file")] = None
    rerun_on: Annotated[RerunOn, Field(description="what makes a done file due again")] = "content"
    attempts: Annotated[Count, Field(description="tries before a file is dead and waits for a person")] = 5
    backoff: Annotated[Duration, Field(description="wait before the second try; longer before the next ones")] = 60.0
    lease: Annotated[Lease, Field(description="how long a worker may hold a file without a sign of life")] = 600.0
    timeout: Annotated[Timeout | None, Field(description="longest time for one file")] = None
    on_delete: Annotated[
        Literal["ignore", "action"], Field(description="what to do with a file that was deleted after it was done")
    ] = "ignore"
    batch_size: Annotated[Count, Field(description="files that are claimed at once")] = 100
    workers: Annotated[Count, Field(description="files that are worked on at the same time")] = 1
    limit: Annotated[Limit | None, Field(description="how much one run does at most")] = None
    order_by: Annotated[OrderBy | None, Field(description="metadata key to go by; -key for the largest first")] = None
    index: Annotated[bool, Field(description="make indexes over the keys that where selects on")] = True
    fail_run_above: Annotated[Share | None, Field(description="share of failed files that fails the run itself")] = None
    tags: Annotated[dict[TagKey, TagText], EmptyIsMapping, Field(description="Dagster tags")] = {}
    owners: Annotated[list[Owner], EmptyIsList, Field(description="Dagster owners")] = []
    key: Annotated[AssetPath | None, Field(description="Dagster asset key: part/part; metadir/job unless given")] = None
    group: Annotated[Group | None, Field(description="Dagster asset group; the metadir's name unless given")] = None
    kinds: Annotated[
        Kinds, EmptyIsList, Field(description="Dagster kinds, at most three; by the action unless given")
    ] = []
    automation: Annotated[
        Automation | None,
        Field(description="Dagster's automation condition instead of sensor and import: eager, a cron schedule, ..."),
    ] = None
    partitions: Annotated[
        PartitionsConfig | None, Field(description="Dagster's partitions: windows of time, or values of a coarse key")
    ] = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> JobConfig:
        check_name(self.name, "job")
        actions = [word for word in ACTIONS if getattr(self, word) is not None]
        if len(actions) > 1:
            reason = f"{self.name!r} has {len(actions)} actions, {' and '.join(actions)}. Make a job of each"
            raise InnerError(reason, (actions[1],))
        if not actions and (info.context or {}).get("needs_action"):
            raise ValueError(f"{self.name!r} has nothing to do. Give it one of download:, load:, call: and command:")
        return self

    @property
    def action(self) -> DownloadAction | LoadAction | CallAction | CommandAction | None:
        """The one action, whichever it is."""
        return self.download or self.load or self.call or self.command

    @cached_property
    def condition(self) -> filters.Condition:
        """``where``, parsed."""
        return filters.parse(self.where)

    @property
    def rerun_words(self) -> str:
        """What makes a done file due again, in words that follow "again when"."""
        if isinstance(self.rerun_on, list):
            return f"{' or '.join(self.rerun_on)} changes"
        words = {"content": "its content changes", "metadata": "its metadata changes", "never": "a person says so"}
        return words[self.rerun_on]

    def fingerprint(self, selection: Any = None) -> str:
        """Hexadecimal text that changes when the job would select, try or do something else.

        Selection, action and the rules about which file is due take part; how the work is cut up (``workers``,
        ``batch_size``, ``lease``), how its files are found (``index``), how it is shown (``tags``, ``owners``,
        ``automation``, ``partitions``) and a database's password do not.

        Args:
            selection: of the same job with another selection, in its stored form.
        """
        definition = {
            "where": filters.to_json(self.condition) if selection is None else selection,
            "rerun_on": sorted(set(self.rerun_on)) if isinstance(self.rerun_on, list) else self.rerun_on,
            "attempts": self.attempts,
            "backoff": float(self.backoff),
            "limit": None if self.limit is None else [self.limit.files, self.limit.bytes],
            "order_by": self.order_by,
            "download": None if self.download is None else [self.download.to, self.download.name],
            "load": None if self.load is None else self.load.identity(),
            "call": None if self.call is None else [self.call.function, self.call.batch],
        }
        if self.download is not None and self.download.protocols != PROTOCOLS:
            definition["protocols"] = sorted(set(self.download.protocols))
        if self.command is not None:
            definition["command"] = [self.command.folder, *self.command.run]
        if self.on_delete != "ignore":
            definition["on_delete"] = self.on_delete
        if self.timeout is not None:
            definition["timeout"] = self.timeout
        return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


class SensorConfig(_Model):
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


class Schedules(_Model):
    """Cron schedules, in Dagster's time zone."""

    generate: Annotated[Cron | None, Field(description="when to look for new metadata files, at a server")] = None
    import_: Annotated[Cron | None, Field(alias="import", description="when to update and run every job")] = None
    checks: Annotated[Cron | None, Field(description="when to run the asset checks, instead of with every run")] = None
    retry: Annotated[Cron | None, Field(description="when to run every job if a failed file is due again")] = None


def _reserved(value: object) -> None:
    if value is not None:
        raise ValueError("syncing is not in this version. Sync the metadir yourself and leave this key out")


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
        elif isinstance(entry, _Model) and getattr(entry, "name", key) != key:
            raise ValueError(f"the {what} {getattr(entry, 'name', None)!r} stands under another name, {key!r}")
        result[key] = entry
    return result


class MetadirConfig(_Model):
    """A metadir and what is done with it."""

    not_in_file: ClassVar[frozenset[str]] = frozenset({"name", "sync"})

    name: str
    path: Annotated[BasePath, Field(description="the folder that holds _mmmeta")]
    files_root: Annotated[FilesRoot | None, Field(description="folder with the metadata files; path, if not given")] = (
        None
    )
    state: Annotated[StatePath | None, Field(description="the state db: a path", repr=False)] = None
    generate: Annotated[bool, Field(description="true at a server: metadata can be generated here")] = False
    sync: Annotated[None, BeforeValidator(_reserved)] = None
    sensor: Annotated[SensorConfig, EmptyIsMapping, Field(description="the Dagster sensor")] = SensorConfig()
    schedules: Annotated[Schedules, EmptyIsMapping, Field(description="when runs start by the clock")] = Schedules()
    checks: Annotated[Checks, Field(description="Dagster's asset checks; false for none")] = ChecksConfig()
    jobs: Annotated[dict[str, JobConfig], BeforeValidator(_name_jobs), Field(description="jobs by name")] = {}
    _project_file: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> MetadirConfig:
        self._project_file = (info.context or {}).get("project_file")
        check_name(self.name, "metadir")
        for job in self.jobs:
            if job in RESERVED_JOBS:  # in Python, where nothing is named after a job, m.job("import") is fine
                raise InnerError(
                    f"the name {job!r} is taken by mmmeta itself. Choose another name for the job", ("jobs", job)
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
        return Path(self.state) if self.state else self.path / METADIR / "local" / "state.db"

    def command(self, words: str) -> str:
        """A command line about this metadir that works when it is copied, in whatever folder: ``mmmeta … status``."""
        if self._project_file is not None:
            # Jobs and state db come along; the name, because a project file may have several metadirs.
            return f"mmmeta --project {shlex.quote(str(self._project_file))} --metadir {self.name} {words}"
        state = f"MMMETA_STATE={shlex.quote(str(self.state))} " if self.state else ""
        return f"{state}mmmeta --metadir {shlex.quote(str(self.path))} {words}"


class Project(_Model):
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
            other = states.setdefault(os.path.realpath(metadir.state_path), name)
            if other != name:
                reason = f"{other!r} and {name!r} have the same state db. Give one of them another state: or path:"
                raise InnerError(reason, ("metadirs", name))
        return self


def check_names(metadirs: Mapping[str, MetadirConfig]) -> None:
    """Dagster jobs are called ``metadir_job``, ops ``metadir__job`` and ``metadir__job__checks``: no two may come out the
    same."""
    taken: dict[str, tuple[str, str]] = {}
    for name, metadir in metadirs.items():
        for job in (*RESERVED_JOBS, *metadir.jobs):
            for full in (f"{name}_{job}", f"{name}__{job}", f"{name}__{job}__checks"):
                other, other_job = taken.setdefault(full, (name, job))
                if (other, other_job) != (name, job):
                    both = f"{other_job!r} of {other!r} and {job!r} of {name!r}"
                    own = job in metadir.jobs or other_job not in metadirs[other].jobs
                    blame = (name, job) if own else (other, other_job)
                    below = ("metadirs", blame[0], "jobs", blame[1])
                    raise InnerError(f"{both} would both be {full} in Dagster. Rename one of them", below)


def job_config(name: str, /, where: Mapping[str, Any] | None = None, **rules: Any) -> JobConfig:
    """A job made in Python: ``job_config("extract", {"extension": "pdf"}, attempts=3, backoff="5m")``.

    It takes the rules of the project file by the same names; relative paths are taken from the current directory.

    Raises:
        JobError: a rule is unknown or its value not possible; the message names job and rule.
    """
    known = [rule for rule in JobConfig.model_fields if rule not in ("name", "where")]
    for rule in rules:
        if rule not in known:
            if rule == "name":
                raise JobError(f"Job {name!r}: 'name' is not a rule. The name is the first argument")
            hint = near_misses(rule, [*known, "where"]) or f" There are {', '.join(known)}."
            raise JobError(f"Job {name!r}: {rule!r} is not a rule.{hint}")
    try:
        return JobConfig.model_validate({"name": name, "where": {} if where is None else where, **rules})
    except ValidationError as error:
        raise JobError(f"Job {name!r}: {reason_of(error)}") from None
