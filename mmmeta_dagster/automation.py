"""A job's ``automation`` as one of Dagster's conditions. The project file's part is checked by ``mmmeta``; here it meets
the Dagster that is installed."""

from __future__ import annotations

from typing import Any

import dagster as dg

from mmmeta.errors import near_misses
from mmmeta.project import JobConfig, MetadirConfig, project_problem
from mmmeta.project.dagster.automation import AND, NOT, OR, Automation, parse_automation

DagsterCondition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]

_CONDITIONS = sorted(
    name
    for name, member in vars(dg.AutomationCondition).items()
    if isinstance(member, staticmethod) and not name.startswith("_")
)
"""Conditions that this Dagster has, by the names of their constructors."""


def automation_condition(metadir: MetadirConfig, job: JobConfig) -> DagsterCondition | None:
    """Dagster's condition for a job's ``automation``; None without one.

    Raises:
        ProjectError: Dagster has no such condition, or the condition does not take what it is given. Names file and
            line, where the metadir stands in a project file.
    """
    if job.automation is None:
        return None
    try:
        condition: DagsterCondition = _build(parse_automation(job.automation))
    # Dagster raises errors of many types for arguments that it does not take.
    except Exception as error:
        key = ("metadirs", metadir.name, "jobs", job.name, "automation")
        raise project_problem(metadir.project_file, key, " ".join(str(error).split()).rstrip(".")) from None
    return condition


def _build(part: Automation) -> Any:
    arguments: list[Any] = [_build(value) if isinstance(value, Automation) else value for value in part.arguments]
    options: dict[str, Any] = {
        name: _build(value) if isinstance(value, Automation) else value for name, value in part.options
    }
    if part.name == AND:
        return arguments[0] & arguments[1]
    if part.name == OR:
        return arguments[0] | arguments[1]
    if part.name == NOT:
        return ~arguments[0]
    if part.name not in _CONDITIONS:
        hint = near_misses(part.name, _CONDITIONS) or f" There are {', '.join(_CONDITIONS)}"
        raise ValueError(f"Dagster {dg.__version__} has no automation condition {part.name!r}.{hint}")
    return getattr(dg.AutomationCondition, part.name)(*arguments, **options)
