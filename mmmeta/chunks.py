"""Long lists a part at a time, as ``itertools.batched`` of Python 3.12 gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

PER_STATEMENT = 500
"""Values bound in one SQL statement: SQLite before 3.32 takes 999 of them."""


def in_chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """All values in their order, ``size`` at a time; the last chunk may be shorter, and none is empty."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
