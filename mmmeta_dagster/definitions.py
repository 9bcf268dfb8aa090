"""The code location: ``dagster dev -m mmmeta_dagster.definitions``, or through ``workspace.yaml``.

What is in it comes from the project file (``MMMETA_PROJECT``, else ``mmmeta.yaml`` in the current directory); without
one from ``MMMETA``: one metadir named ``mmmeta``, without jobs.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from mmmeta.project import MetadirConfig
from mmmeta_dagster.location import build_definitions, find_metadirs, warn_of_missing

metadirs: Mapping[str, MetadirConfig] = find_metadirs()
warn_of_missing(metadirs)
defs: dg.Definitions = build_definitions(metadirs=metadirs)
