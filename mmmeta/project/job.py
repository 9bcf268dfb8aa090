"""A job as people define it: which files, what to do with them, by which rules.

``job_config`` makes one in Python, with plain errors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from mmmeta import filters
from mmmeta.config.validation import InnerError, reason_of
from mmmeta.errors import JobError, near_misses
from mmmeta.project.actions import LARGEST_DOCUMENT, PROTOCOLS, CallAction, CommandAction, DownloadAction, LoadAction
from mmmeta.project.base import Model
from mmmeta.project.dagster.fields import AssetPath, AutomationText, Group, Kinds, Owner, TagKey, TagText
from mmmeta.project.dagster.freshness import Freshness
from mmmeta.project.dagster.partitions import PartitionsConfig
from mmmeta.project.dagster.run_tags import RunTags
from mmmeta.project.fields import (
    Count,
    Duration,
    EmptyIsList,
    EmptyIsMapping,
    Lease,
    OncePer,
    OrderBy,
    RerunOn,
    Shards,
    Share,
    Size,
    Timeout,
    Where,
    check_name,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mmmeta.project.rules import Rules

RESERVED_JOBS = ("metadata_db", "state_db", "synced", "generate", "update", "import", "checks")
"""Names that Dagster assets and jobs of mmmeta's own have."""

ACTIONS = ("download", "load", "call", "command")
"""The keys of a job that say what it does; one of them."""


ROWS_AT_ONCE = 1_000
"""Files that are claimed at once where each is a row of a table and nothing else; where documents are read as well, or
something is called, so many would take too long in one worker's hands."""


class Limit(Model):
    """How much one run does at most; the rest waits for the next."""

    files: Annotated[Count | None, Field(description="at most so many files a run")] = None
    bytes: Annotated[Size | None, Field(description="at most so much a run: 500MB, 10GB")] = None

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if self.files is None and self.bytes is None:
            raise ValueError("a limit needs files, bytes or both: {files: 1000, bytes: 10GB}")
        return self


class JobConfig(Model):
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
    rerun_on: Annotated[
        RerunOn,
        Field(description="what makes a done file due again; the metadata that it writes for load, unless given"),
    ] = "content"
    once_per: Annotated[
        OncePer | None,
        Field(description="a key: files with an equal value of it are one document, and one of them is done"),
    ] = None
    attempts: Annotated[Count, Field(description="tries before a file is dead and waits for a person")] = 5
    backoff: Annotated[Duration, Field(description="wait before the second try; longer before the next ones")] = 60.0
    lease: Annotated[Lease, Field(description="how long a worker may hold a file without a sign of life")] = 600.0
    timeout: Annotated[Timeout | None, Field(description="longest time for one file")] = None
    on_delete: Annotated[
        Literal["ignore", "action"], Field(description="what to do with a file that was deleted after it was done")
    ] = "ignore"
    batch_size: Annotated[
        Count,
        Field(
            description="files claimed at once; unless given 1,000 for load without content, workers x 100 for download"
        ),
    ] = 100
    workers: Annotated[Count, Field(description="files that are worked on at the same time")] = 1
    shards: Annotated[
        Shards | None,
        Field(
            description="Dagster runs that share this job's work beside the import; as the metadir has it unless given"
        ),
    ] = None
    limit: Annotated[Limit | None, Field(description="how much one run does at most")] = None
    order_by: Annotated[OrderBy | None, Field(description="metadata key to go by; -key for the largest first")] = None
    index: Annotated[bool, Field(description="make indexes over the keys that where selects on")] = True
    fail_run_above: Annotated[Share | None, Field(description="share of failed files that fails the run itself")] = None
    tags: Annotated[dict[TagKey, TagText], EmptyIsMapping, Field(description="Dagster tags of the asset")] = {}
    run_tags: Annotated[
        RunTags, Field(description="Dagster tags of the runs that are for this job: dagster/max_runtime, ...")
    ] = {}
    owners: Annotated[list[Owner], EmptyIsList, Field(description="Dagster owners")] = []
    key: Annotated[AssetPath | None, Field(description="Dagster asset key: part/part; metadir/job unless given")] = None
    group: Annotated[Group | None, Field(description="Dagster asset group; the metadir's name unless given")] = None
    kinds: Annotated[
        Kinds, EmptyIsList, Field(description="Dagster kinds, at most three; by the action unless given")
    ] = []
    automation: Annotated[
        AutomationText | None,
        Field(description="Dagster's automation condition instead of sensor and import: eager, a cron schedule, ..."),
    ] = None
    partitions: Annotated[
        PartitionsConfig | None, Field(description="Dagster's partitions: windows of time, or values of a coarse key")
    ] = None

    freshness: Annotated[
        Freshness | None,
        Field(description="Dagster's freshness policy; as the metadir has it unless given, false for none"),
    ] = None

    _beside: str | None = PrivateAttr(default=None)

    if TYPE_CHECKING:

        def __init__(self, *, name: str, where: Mapping[str, Any] = ..., **rules: Unpack[Rules]) -> None: ...

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> JobConfig:
        folder = (info.context or {}).get("folder")
        self._beside = None if folder is None else str(folder)
        check_name(self.name, "job")
        actions = [word for word in ACTIONS if getattr(self, word) is not None]
        if len(actions) > 1:
            reason = f"{self.name!r} has {len(actions)} actions, {' and '.join(actions)}. Make a job of each"
            raise InnerError(reason, (actions[1],))
        if not actions and (info.context or {}).get("needs_action"):
            raise ValueError(f"{self.name!r} has nothing to do. Give it one of download:, load:, call: and command:")
        if self.load is not None and self.reruns_by_default:
            # The model is frozen for everybody else.
            keys = self.load.written_keys
            object.__setattr__(self, "rerun_on", "metadata" if keys is None else keys)
        if self.shards and self.automation is not None:
            reason = "a job with automation is run by its condition alone, which knows no shards. Leave one of them out"
            raise InnerError(reason, ("shards",))
        if "batch_size" not in self.model_fields_set:
            if self.download is not None:
                # At the end of a batch threads wait for the last of its documents, and for the ledger.
                object.__setattr__(self, "batch_size", self.batch_size * self.workers)
            elif self.load is not None and self.load.content is None:
                object.__setattr__(self, "batch_size", ROWS_AT_ONCE)
        return self

    @property
    def reruns_by_default(self) -> bool:
        """Whether ``rerun_on`` was not given and follows from the action."""
        return "rerun_on" not in self.model_fields_set

    @property
    def beside(self) -> str | None:
        """Folder of the project file that this stands in, where the module of a ``call`` may be; None for a job made in
        Python."""
        return self._beside

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
        """What makes a done file due again: ``its content changes``, ``title or pages changes``, ``a person says so``."""
        if isinstance(self.rerun_on, list):
            return "what it writes changes" if self.reruns_by_default else f"{' or '.join(self.rerun_on)} changes"
        words = {"content": "its content changes", "metadata": "its metadata changes", "never": "a person says so"}
        return words[self.rerun_on]

    def fingerprint(self, selection: Any = None) -> str:
        """Hexadecimal text that changes when the job would select, try or do something else.

        Selection, action and the rules about which file is due take part; how the work is cut up (``workers``,
        ``batch_size``, ``lease``, ``shards``), how its files are found (``index``), how it is shown (``tags``, ``owners``,
        ``automation``, ``partitions``, ``freshness``), how Dagster runs it (``run_tags``) and a database's password do not.

        Args:
            selection: of the same job with another selection, in its stored form.
        """
        definition = {
            "where": filters.to_json(self.condition) if selection is None else selection,
            # What follows from the action is said by it, so that older jobs stay what they were.
            "rerun_on": "content"
            if self.reruns_by_default
            else sorted(set(self.rerun_on))
            if isinstance(self.rerun_on, list)
            else self.rerun_on,
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
        if self.download is not None and self.download.content_type is not None:
            definition["content_type"] = self.download.content_type
        if self.download is not None and self.download.max != LARGEST_DOCUMENT:
            definition["max"] = self.download.max
        if self.command is not None:
            definition["command"] = [self.command.folder, *self.command.run]
            if self.command.environment:
                definition["environment"] = sorted(self.command.environment)
        if self.once_per is not None:
            definition["once_per"] = self.once_per
        if self.on_delete != "ignore":
            definition["on_delete"] = self.on_delete
        if self.timeout is not None:
            definition["timeout"] = self.timeout
        return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:32]


def job_config(name: str, /, where: Mapping[str, Any] | None = None, **rules: Unpack[Rules]) -> JobConfig:
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
