"""The project file ``mmmeta.yaml``: which metadirs a client has, and the jobs of each.

``reading`` finds and reads it, ``models`` and ``job`` say what can stand in it. The names below are imported when they are
asked for: loading the models takes a tenth of a second, and nobody without a project file shall wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmmeta.project.actions import CallAction, CommandAction, DownloadAction, LoadAction
    from mmmeta.project.job import RESERVED_JOBS, JobConfig, Limit, job_config
    from mmmeta.project.models import MetadirConfig, Project, Schedules, SensorConfig, check_names
    from mmmeta.project.reading import find_project, load_project, project_problem
    from mmmeta.project.schema import json_schema, metadir_schema, schema_text
    from mmmeta.project.syncing import SyncConfig
    from mmmeta.project.variables import Variables

_MODULES = {
    "RESERVED_JOBS": "job",
    "CallAction": "actions",
    "CommandAction": "actions",
    "DownloadAction": "actions",
    "JobConfig": "job",
    "Limit": "job",
    "LoadAction": "actions",
    "MetadirConfig": "models",
    "Project": "models",
    "Schedules": "models",
    "SensorConfig": "models",
    "SyncConfig": "syncing",
    "Variables": "variables",
    "check_names": "models",
    "find_project": "reading",
    "job_config": "job",
    "json_schema": "schema",
    "load_project": "reading",
    "metadir_schema": "schema",
    "project_problem": "reading",
    "schema_text": "schema",
}

__all__ = [
    "RESERVED_JOBS",
    "CallAction",
    "CommandAction",
    "DownloadAction",
    "JobConfig",
    "Limit",
    "LoadAction",
    "MetadirConfig",
    "Project",
    "Schedules",
    "SensorConfig",
    "SyncConfig",
    "Variables",
    "check_names",
    "find_project",
    "job_config",
    "json_schema",
    "load_project",
    "metadir_schema",
    "project_problem",
    "schema_text",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
