"""``freshness``: within which time Dagster expects an asset to be materialized again; false for no such expectation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from mmmeta import filters
from mmmeta.project.fields import DURATION_SCHEMA

SHORTEST = 60.0
"""Seconds. Dagster takes no shorter window."""


def _window(value: Any) -> float | Literal[False]:
    if isinstance(value, str) and value.strip().lower() == "false":  # out of an environment variable
        value = False
    if value is False:
        return False
    if value is True:
        raise ValueError("needs a time, as in 1d, or false")
    seconds = filters.parse_duration(value)
    if seconds < SHORTEST:
        raise ValueError("needs at least a minute: Dagster takes no shorter time")
    return seconds


Freshness = Annotated[
    float | Literal[False],
    BeforeValidator(_window),
    WithJsonSchema({"anyOf": [*DURATION_SCHEMA["anyOf"], {"const": False}]}),
]
