"""mmmeta: every document that a remote publishes reaches each job of each client exactly as often as needed.

``from mmmeta import mmmeta`` and ``m = mmmeta("./path")`` are where to begin; the README has the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmmeta.errors import MmmetaError, Problem
    from mmmeta.files.file import File
    from mmmeta.files.files import Files
    from mmmeta.jobs.job import Failure, Job, Plan, RunReport
    from mmmeta.metadata.generate.report import GenerateReport
    from mmmeta.metadir import Inspection, Metadir, mmmeta
    from mmmeta.project import JobConfig, MetadirConfig, Project, find_project, load_project
    from mmmeta.state.status import JobStatus, Status, read_status
    from mmmeta.state.update import UpdateReport
    from mmmeta.store.remote import Publication, read_publication
    from mmmeta.store.store import Store

__version__ = "0.5.0"

_MODULES = {
    "Failure": "jobs.job",
    "File": "files.file",
    "Files": "files.files",
    "GenerateReport": "metadata.generate.report",
    "Inspection": "metadir",
    "Job": "jobs.job",
    "JobConfig": "project",
    "JobStatus": "state.status",
    "Metadir": "metadir",
    "MetadirConfig": "project",
    "MmmetaError": "errors",
    "Plan": "jobs.job",
    "Problem": "errors",
    "Project": "project",
    "Publication": "store.remote",
    "RunReport": "jobs.job",
    "Status": "state.status",
    "Store": "store.store",
    "UpdateReport": "state.update",
    "find_project": "project",
    "load_project": "project",
    "mmmeta": "metadir",
    "read_publication": "store.remote",
    "read_status": "state.status",
}

__all__ = [
    "Failure",
    "File",
    "Files",
    "GenerateReport",
    "Inspection",
    "Job",
    "JobConfig",
    "JobStatus",
    "Metadir",
    "MetadirConfig",
    "MmmetaError",
    "Plan",
    "Problem",
    "Project",
    "Publication",
    "RunReport",
    "Status",
    "Store",
    "UpdateReport",
    "__version__",
    "find_project",
    "load_project",
    "mmmeta",
    "read_publication",
    "read_status",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import mmmeta`` costs next to nothing."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mmmeta.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
