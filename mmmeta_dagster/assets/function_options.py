"""What ``@mmmeta_asset`` may be given, typed so that editors and type checkers know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from mmmeta.errors import JobError, near_misses
from mmmeta.project.rules import FunctionRules

if TYPE_CHECKING:
    from mmmeta_dagster.translator import DagsterMmmetaTranslator


class AssetOptions(FunctionRules, total=False):
    """All that ``@mmmeta_asset`` takes beside the metadir."""

    name: str | None
    where: Mapping[str, Any] | None
    deps: Iterable[Any]
    description: str | None
    metadata: Mapping[str, Any] | None
    automation_condition: Any
    translator: DagsterMmmetaTranslator
    retry_policy: dg.RetryPolicy | None
    pool: str | None
    op_tags: Mapping[str, Any] | None
    code_version: str | None


RULES = tuple(FunctionRules.__annotations__)
OPTIONS = tuple(AssetOptions.__annotations__)

_OTHERWISE = {
    "group_name": "Write group=",
    "key_prefix": 'Write key="prefix/name"',
    "partitions_def": 'Write partitions={"by": a metadata key, "every": "day", "start": a date}, or only by',
    "backfill_policy": "It follows from partitions=",
    "required_resource_keys": "A resource is a parameter of the function, with its annotation",
    "resource_defs": "A resource is a parameter of the function, with its annotation",
    "config_schema": "Give the function a parameter config, annotated with a subclass of JobOptions",
    "io_manager_key": "What the function returns is not stored, so there is no IO manager",
    "automation": "Write automation_condition=",
    "freshness_policy": 'Write freshness="1d"',
    "check_specs": "The checks of a job come by themselves; see checks: of the metadir",
}
"""What Dagster's own decorators take by another name, and what to write here."""


def check_options(job_name: str, rules: Mapping[str, Any]) -> None:
    """Raise JobError for a rule that there is not."""
    for rule in sorted(set(rules) - set(RULES)):
        near = near_misses(rule, OPTIONS) or f" It takes {', '.join(OPTIONS)}"
        hint = f" {_OTHERWISE[rule]}" if rule in _OTHERWISE else near
        raise JobError(f"job {job_name!r}: @mmmeta_asset does not take {rule!r}.{hint}")
