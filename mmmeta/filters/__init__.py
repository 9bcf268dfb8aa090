"""The filter language, without SQL: conditions as a tree (``conditions``), as people type them and in words (``text``), as
mappings (``mappings``), and what kinds of values they take (``kinds``). Its names, and those for the durations and sizes that stand in filters, are imported from here.
"""

from __future__ import annotations

from mmmeta.filters.conditions import (
    OPERATORS,
    Ago,
    All,
    AnyOf,
    Compare,
    Condition,
    Not,
    Scalar,
    Value,
    compare,
    condition_keys,
    from_json,
    grows_with_time,
    to_json,
    walk,
)
from mmmeta.filters.kinds import Kind, kinds_in_words, kinds_taken
from mmmeta.filters.mappings import parse, to_where
from mmmeta.filters.text import describe, parse_text
from mmmeta.quantities import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "OPERATORS",
    "Ago",
    "All",
    "AnyOf",
    "Compare",
    "Condition",
    "Kind",
    "Not",
    "Scalar",
    "Value",
    "compare",
    "condition_keys",
    "describe",
    "format_duration",
    "format_size",
    "from_json",
    "grows_with_time",
    "kinds_in_words",
    "kinds_taken",
    "parse",
    "parse_duration",
    "parse_size",
    "parse_text",
    "to_json",
    "to_where",
    "walk",
]
