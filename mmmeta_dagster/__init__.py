"""mmmeta in Dagster: every job of a metadir an asset, a sensor that keeps it imported, schedules, a resource.

``mmmeta_dagster.definitions`` is the code location of a project file; the factories here build the same piece by piece.
"""

from __future__ import annotations

from mmmeta import __version__
from mmmeta.errors import pip_line

try:
    import dagster as _dagster  # first, so that what is missing is said
except ModuleNotFoundError as _error:
    if _error.name != "dagster":
        raise
    raise ModuleNotFoundError(
        f"mmmeta_dagster needs Dagster, which is not installed here. Install it: {pip_line('mmmeta[dagster]')}",
        name="dagster",
    ) from _error

from mmmeta_dagster.assets.build import build_metadir_assets
from mmmeta_dagster.assets.decorator import UnboundAsset, mmmeta_asset
from mmmeta_dagster.checks.build import build_checks
from mmmeta_dagster.component.component import MetadirComponent
from mmmeta_dagster.jobs import build_import_job, build_jobs, build_work_job
from mmmeta_dagster.location import build_definitions
from mmmeta_dagster.options import JobOptions
from mmmeta_dagster.resources import MetadirResource
from mmmeta_dagster.schedules import build_schedules
from mmmeta_dagster.sensor.build import build_remote_sensor
from mmmeta_dagster.translator import DagsterMmmetaTranslator, MetadirAsset

# As Dagster's own libraries do; it has the class from a package that it shares with them.
_dagster.DagsterLibraryRegistry.register("mmmeta_dagster", __version__, is_dagster_package=False)  # type: ignore[attr-defined]

__all__ = [
    "DagsterMmmetaTranslator",
    "JobOptions",
    "MetadirAsset",
    "MetadirComponent",
    "MetadirResource",
    "UnboundAsset",
    "__version__",
    "build_checks",
    "build_definitions",
    "build_import_job",
    "build_jobs",
    "build_metadir_assets",
    "build_remote_sensor",
    "build_schedules",
    "build_work_job",
    "mmmeta_asset",
]
