"""Columns of the state db and of tables that jobs load, as Dagster's UI lists them beside an asset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.errors import MmmetaError
from mmmeta.project.actions import LoadAction
from mmmeta.target.view import view_table
from mmmeta_dagster import keys

MOST = 200
"""Columns that are listed; the list is stored with every event, and nobody reads a longer one."""

COUNTED = 200_000
"""Files done by a load up to which the rows of its table are counted; counting reads all of them."""

UNTYPED = "any"


def of_state_db(metadir: Metadir) -> dict[str, Any]:
    """The keys that files have, with their usual types."""
    unique = metadir.config.metadata.unique
    columns = [
        dg.TableColumn(key, type=types, constraints=_unique() if key == unique else None)
        for key, types in metadir.files.key_types.items()
    ]
    return _metadata(columns, "keys")


def of_table(context: dg.AssetExecutionContext, metadir: Metadir, load: LoadAction, done: int) -> dict[str, Any]:
    """The columns and rows of a table that a job has loaded ``done`` files into; nothing where it cannot be looked at.

    SQLite's columns have no type: they are shown with that of the metadata key which they hold.
    """
    if not done:
        return {}  # looking would create the database
    try:
        table = view_table(load.to, load.table, count=done <= COUNTED)
    except MmmetaError as error:
        context.log.warning(f"The columns of table {load.table} are not shown: {error}")
        return {}
    if table is None:
        return {}
    types, sources = metadir.files.key_types, load.columns or {}
    columns = [
        dg.TableColumn(
            column.name,
            type=column.type or types.get(sources.get(column.name, column.name), UNTYPED),
            constraints=None if column.nullable else dg.TableColumnConstraints(nullable=False),
        )
        for column in table.columns
    ]
    rows = {} if table.rows is None else {keys.META_FILES: table.rows}
    return {**rows, **_metadata(columns, "columns")}


def _unique() -> dg.TableColumnConstraints:
    return dg.TableColumnConstraints(nullable=False, unique=True)


def _metadata(columns: Sequence[dg.TableColumn], what: str) -> dict[str, Any]:
    if not columns:
        return {}
    left_out = len(columns) - MOST
    note = dg.TableConstraints(other=[f"{left_out:,} more {what} are not listed"]) if left_out > 0 else None
    return {keys.META_COLUMNS: dg.TableSchema(list(columns[:MOST]), constraints=note)}
