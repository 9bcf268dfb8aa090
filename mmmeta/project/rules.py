"""What a program may say of a job or a metadir, typed: the words of the project file, and the values that each of them takes.

The models are typed as what they hold, seconds for "5m"; editors and type checkers of those who write Python need to know
what may be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import os
    from typing import TypeAlias

    from mmmeta.project.actions import CallAction, CommandAction, DownloadAction, LoadAction
    from mmmeta.project.checks import ChecksConfig
    from mmmeta.project.job import JobConfig, Limit
    from mmmeta.project.models import Schedules, SensorConfig
    from mmmeta.project.syncing import SyncConfig

    Words: TypeAlias = Mapping[str, Any]
    Names: TypeAlias = list[str] | tuple[str, ...]
    Kinds: TypeAlias = Names | AbstractSet[str]
    Folder: TypeAlias = str | os.PathLike[str]


class FunctionRules(TypedDict, total=False):
    """What a job can have whose function is given in Python."""

    rerun_on: Literal["content", "metadata", "never"] | Names
    attempts: int
    backoff: float | str
    lease: float | str
    timeout: float | str | None
    on_delete: Literal["ignore", "action"]
    batch_size: int
    workers: int
    shards: int | None
    limit: Limit | Words | None
    order_by: str | None
    fail_run_above: float | None
    key: str | None
    group: str | None
    kinds: Kinds
    tags: Words
    run_tags: Words
    owners: Names
    partitions: Words | None
    freshness: float | str | None


class Rules(FunctionRules, total=False):
    """All that a job of the project file can have beside its name and ``where``."""

    download: DownloadAction | Words | None
    load: LoadAction | Words | None
    call: CallAction | Words | None
    command: CommandAction | Words | None
    once_per: str | None
    index: bool
    automation: str | None


class MetadirRules(TypedDict, total=False):
    """All that a metadir of the project file can have beside its path."""

    files_root: Folder | None
    state: Folder | None
    generate: bool
    sync: SyncConfig | Words
    sensor: SensorConfig | Words
    schedules: Schedules | Words
    shards: int
    run_tags: Words
    checks: ChecksConfig | Words | bool
    freshness: float | str | None
    jobs: Mapping[str, JobConfig | Words]
