"""Which kinds of values a comparison takes: what is of another kind can never be meant by it, and shall be named, not lost."""

from __future__ import annotations

from datetime import date
from enum import Enum

from mmmeta.clock import moment
from mmmeta.filters.conditions import Ago, Compare, Scalar

_ORDERED = ("<", "<=", ">", ">=", "between")
_PRESENT = ("!=", "notin")


class Kind(Enum):
    """A kind of values; ``value`` says it as a person would, with its article."""

    DATE = "a date"
    NUMBER = "a number"
    TEXT = "a text"
    BOOL = "true or false"


def kinds_taken(comparison: Compare) -> tuple[Kind, ...]:
    """The kinds of values that a comparison can be true of; none where every kind will do.

    That is so for ``!=`` and ``notin``, which mean whatever is something else, and where only null is asked for.
    """
    if comparison.op in _PRESENT:
        return ()
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    ordered = comparison.op in _ORDERED
    found = {_kind(value, ordered=ordered) for value in values if value is not None}
    return tuple(kind for kind in Kind if kind in found)


def kinds_in_words(kinds: tuple[Kind, ...]) -> str:
    """What a value of another kind is: ``is no date``, ``is neither a number nor a text``."""
    if kinds == (Kind.BOOL,):
        return "is neither true nor false"
    first, *others = (kind.value for kind in kinds)
    if not others:
        return f"is {first.replace('a ', 'no ', 1)}"
    return f"is neither {first} nor {' nor '.join(others)}"


def _kind(value: Scalar, *, ordered: bool) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int | float):
        return Kind.NUMBER
    # A date that is written as text is meant as one where it is before or after something.
    if isinstance(value, date | Ago) or (ordered and moment(value) is not None):
        return Kind.DATE
    return Kind.TEXT
