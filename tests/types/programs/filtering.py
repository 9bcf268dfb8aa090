# pyright: strict
"""The filter language in a program: every name of ``mmmeta.filters``."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from mmmeta.filters import (
    OPERATORS,
    Ago,
    All,
    AnyOf,
    Compare,
    Condition,
    Kind,
    Not,
    Scalar,
    Value,
    compare,
    condition_keys,
    describe,
    format_duration,
    format_size,
    from_json,
    grows_with_time,
    kinds_in_words,
    kinds_taken,
    parse,
    parse_duration,
    parse_size,
    parse_text,
    to_json,
    to_where,
    walk,
)

condition = parse({"document_type": "contract", "retrieved_at": {">=": {"ago": "7d"}}})
assert_type(condition, Condition)
typed = parse_text(["document_type=contract", "pages>10"])
both: Condition = All((condition, Not(typed)))
either: Condition = AnyOf((both, compare("pages", ">", 10)))
assert_type(describe(either), str)
assert_type(to_where(either), dict[str, Any])
again: Condition = from_json(to_json(either))
for part in walk(again):
    assert_type(part, Compare)
    value: Value = part.value
    print(part.key, part.op, part.op in OPERATORS, kinds_in_words(kinds_taken(part)))
    if isinstance(value, Ago):
        print(grows_with_time(part))
for key in condition_keys(again):
    assert_type(key, str)
scalar: Scalar = 3
print(scalar, format_duration(parse_duration("7d")), format_size(parse_size("10GB")))
print(Kind.DATE.value)
