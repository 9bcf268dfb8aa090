"""What ``load:`` of a project file says about the table's columns: which keys they hold, and the document's own content.

Checked here as far as the names alone can tell; what the table and the metadata say about them is found out when the job
runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from mmmeta.config.validation import InnerError
from mmmeta.config.yaml_file import KeyPath
from mmmeta.project.base import Model
from mmmeta.project.fields import Size
from mmmeta.target.names import DISTURBING, NAME_BYTES, SYSTEM_NAMES

LARGEST = 1_000_000_000
"""Bytes. SQLite and PostgreSQL hold no larger value."""


def _column(name: object) -> str:
    """A name that every database takes as it is."""
    if not isinstance(name, str):
        raise ValueError(f"{name!r} cannot be the name of a column. Quote it if it looks like something else")
    if not name.strip() or re.search(r"[\x00-\x1f\x7f]", name):
        raise ValueError("a column's name cannot be empty or have control characters in it")
    if len(name.encode()) > NAME_BYTES:
        raise ValueError(
            f"{name!r} is too long for a column: at most {NAME_BYTES} bytes. Give the key a shorter one: {{column: key}}"
        )
    if name.lower() in SYSTEM_NAMES or name.lower().startswith("_mmmeta"):
        raise ValueError(f"the column name {name!r} is taken by PostgreSQL or mmmeta. Choose another: {{column: key}}")
    for part in DISTURBING:
        if part in name:
            raise ValueError(f"{name!r} cannot be the name of a column: {part} stands in it. Choose another")
    return name


def _key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise ValueError(f"needs a metadata key, not {key!r}. Quote it if it looks like something else")
    if key.startswith("__"):
        raise ValueError(f"{key!r}: names that begin with two underscores belong to mmmeta, not to the metadata")
    return key


def _columns(value: object) -> dict[str, str]:
    """Column → key, in order, from any of the ways to write it."""
    pairs: list[tuple[KeyPath, object, object]] = []
    if isinstance(value, Mapping):
        pairs = [((column,), column, key) for column, key in value.items()]
    elif isinstance(value, (list, tuple)):
        for place, entry in enumerate(value):
            if isinstance(entry, Mapping):
                pairs += [((place, column), column, key) for column, key in entry.items()]
            else:
                pairs.append(((place,), entry, entry))
    else:
        raise ValueError("needs a list of metadata keys, some renamed as {column: key}: [title, {published: date}]")
    columns: dict[str, str] = {}
    taken: dict[str, str] = {}
    for place_, column, key in pairs:
        try:
            name, key_ = _column(column), _key(key)
        except ValueError as error:
            raise InnerError(str(error), place_) from None
        # No database but PostgreSQL tells upper from lower case in names.
        if name.lower() in taken:
            both = f"{taken[name.lower()]!r} and {key_!r}"
            raise InnerError(f"the column {name!r} would hold {both}. Give one of them another name", place_)
        taken[name.lower()] = columns[name] = key_
    return columns


_NAME_SCHEMA = {"type": "string", "minLength": 1}
_RENAMES_SCHEMA = {"type": "object", "additionalProperties": _NAME_SCHEMA}
_COLUMNS_SCHEMA = {
    "anyOf": [{"type": "array", "items": {"anyOf": [_NAME_SCHEMA, _RENAMES_SCHEMA]}}, _RENAMES_SCHEMA],
}

ColumnName = Annotated[str, BeforeValidator(_column), WithJsonSchema(_NAME_SCHEMA)]
LoadColumns = Annotated[dict[str, str], BeforeValidator(_columns), WithJsonSchema(_COLUMNS_SCHEMA)]


def _possible(size: int) -> int:
    if size > LARGEST:
        raise ValueError("no database takes a value of more than 1 GB. Give at most 1GB")
    return size


class LoadContent(Model):
    """The document itself, in a column of its own."""

    column: Annotated[ColumnName, Field(description="column for the document's own content")]
    as_: Annotated[
        Literal["text", "bytes"], Field(alias="as", description="text (the document must be UTF-8), or bytes")
    ] = "text"
    max: Annotated[Size, AfterValidator(_possible), Field(description="larger documents fail: 500kB, 10MB")] = (
        10_000_000
    )

    def identity(self) -> list[Any]:
        """What a job's fingerprint is made of."""
        return [self.column, self.as_, self.max]
