"""Columns of the state db and of tables that jobs load, as Dagster's UI lists them beside an asset."""

from __future__ import annotations

from typing import Any

from mmmeta import Metadir

MOST = 200
"""Columns that are listed; the list is stored with every event, and nobody reads a longer one."""


def column_schema(metadir: Metadir) -> dict[str, Any]:
    return {}
